"""A sentence for every place where the content of a YAML file breaks its model."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from bandbridge.base import wording
from bandbridge.base.model_forms import Form, Path, form_of, steps
from bandbridge.base.model_types import BrokenRuleError, without_tags

KEY = "[key]"  # pydantic's last step to what is wrong with a key itself
RELATIONS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def model_faults(content: Any, model: type[BaseModel], under: str = "") -> Iterator[str]:
    """A sentence for every place where `content` breaks `model`: where, what was found, what is allowed.

    Args:
        under: the key that `content` stands under, for the sentences.
    """
    try:
        model.model_validate(content)
    except ValidationError as error:
        details = error.errors(include_url=False)
    else:
        return
    located = [(_path_of(item), item) for item in details]
    lacking: dict[Path, list[str]] = {}
    for path, item in located:
        if item["type"] == "missing":
            lacking.setdefault(path[:-1], []).append(str(path[-1]))
    for path, item in sorted(located, key=lambda entry: [str(step) for step in entry[0]]):
        if item["type"] != "missing":
            yield _sentence(content, model, path, item, under)
        elif names := lacking.pop(path[:-1], []):
            # All that a section lacks at once, in the place of the first.
            yield _missing(content, model, path[:-1], names, under)


def _path_of(item: Mapping[str, Any]) -> Path:
    location = item["loc"]
    if item["type"] in ("missing", "extra_forbidden"):  # the last step is a key, whatever it looks like
        return (*without_tags(location[:-1]), location[-1])
    return without_tags(location)


def _missing(content: Any, model: type[BaseModel], path: Path, names: list[str], under: str) -> str:
    fields = _section(content, model, path).model_fields
    about = {name: (fields[name].description or "" if name in fields else "") for name in names}
    return wording.missing_keys(wording.dotted(path, under), about)


def _section(content: Any, model: type[BaseModel], path: Path) -> type[BaseModel]:
    *_, (value, places) = steps(content, model, path)
    form = form_of(places, value)
    return model if form is None or form.model is None else form.model


def _sentence(content: Any, model: type[BaseModel], path: Path, item: Mapping[str, Any], under: str) -> str:
    kind, value, about = item["type"], item["input"], item.get("ctx", {})
    if isinstance(broken := about.get("error"), BrokenRuleError):
        kind, about = broken.rule, broken.about
    of_a_key = path[-1:] == (KEY,) and kind != "extra_forbidden"
    path = path[:-1] if of_a_key else path
    key = wording.dotted(path, under)
    *_, (_, places) = steps(content, model, path)
    match kind:
        case "extra_forbidden":
            section = _section(content, model, path[:-1])
            entry = getattr(section, "entry", "a known key")
            return wording.unknown_key(wording.dotted(path[:-1], under), str(path[-1]), [*section.model_fields], entry)
        case "missing":
            return _missing(content, model, path, about["names"], under)
        case "literal_error":
            return wording.not_among(key, value, _choices(places))
        case "not_among":
            return wording.not_among(key, value, about["choices"])
        case "listed_twice":
            return wording.listed_twice(key, value)
        case "string_pattern_mismatch":
            # Of a key that is no name, the key is what is wrong.
            notes: dict[str, Any] = {} if of_a_key else _notes(places)
            allowed, pattern = notes.get("x-allowed"), about["pattern"]
            return wording.wrong_characters(key, value, allowed or wording.NAME_ALLOWED, "" if allowed else pattern)
        case "string_too_short" | "too_short" | "too_few":
            return wording.too_few(key, value, about["min_length"], _is_exact(places, value))
        case "string_too_long" | "too_long":
            return wording.too_many(key, value, about["max_length"], _is_exact(places, value))
        case _ if kind in RELATIONS:
            relation, bound = RELATIONS[kind]
            return wording.out_of_range(key, value, relation, about[bound])
        case _:
            return wording.wrong_type(key, value, _types(places))


def _choices(places: tuple[Form, ...]) -> list[Any]:
    choices: list[Any] = []
    for form in places:
        other = None if form.name == "null" else wording.TYPE_NAMES.get(form.name)
        choices += form.choices if form.name == "choice" else [other]
    return choices


def _types(places: tuple[Form, ...]) -> list[str]:
    names = [name for form in places for name in ([f"'{text}'" for text in form.choices] or [form.name])]
    return list(dict.fromkeys(names))


def _notes(places: tuple[Form, ...]) -> dict[str, Any]:
    return {key: value for form in places for key, value in form.notes.items()}


def _is_exact(places: tuple[Form, ...], value: Any) -> bool:
    """Whether a list may have one length only."""
    form = form_of(places, value)
    return form is not None and "minItems" in form.notes and form.notes["minItems"] == form.notes.get("maxItems")
