"""Walking through the content of a YAML file beside its model: what each place of it may hold."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bandbridge.base.errors import UserError
from bandbridge.base.model_types import Note
from bandbridge.base.user_paths import expanded
from bandbridge.base.wording import dotted

Path = tuple[str | int, ...]

SCALARS: Mapping[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


@dataclass(frozen=True)
class Form:
    """One type of what a place may hold.

    Attributes:
        name: JSON's of it, or 'choice' for one of a few texts, or 'any'.
        model: of a mapping with known keys; None otherwise.
        entries: the type of the values of another mapping, or of a list; None otherwise.
        choices: the texts of a choice.
        notes: by the keys of JSON schema, see `model_types.Note`; `minItems` and `maxItems` are its least and largest
            length.
    """

    name: str
    notes: Mapping[str, Any]
    model: type[BaseModel] | None = None
    entries: Any = None
    choices: tuple[Any, ...] = ()


def forms(annotation: Any, notes: Mapping[str, Any] | None = None) -> tuple[Form, ...]:
    """The types that an annotation of a model allows."""
    notes = notes or {}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return forms(arguments[0], {**notes, **_notes(arguments[1:])})
    if origin in (Union, UnionType):
        return tuple(form for argument in arguments for form in forms(argument, notes))
    if origin is Literal:
        return (Form("choice", notes, choices=arguments),)
    if origin in (dict, list):
        return (Form("object" if origin is dict else "array", notes, entries=arguments[-1]),)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (Form("object", notes, model=annotation),)
    return (Form(SCALARS.get(annotation, "any"), notes),)


def _notes(metadata: Any) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, Note):
            notes[item.key] = item.value
        elif isinstance(item, FieldInfo):
            notes |= _notes(item.metadata)
        for bound, name in (("min_length", "minItems"), ("max_length", "maxItems")):
            if hasattr(item, bound):
                notes[name] = getattr(item, bound)
    return notes


@cache
def keys_of(model: type[BaseModel]) -> dict[str, tuple[Form, ...]]:
    """What each key of a model may hold."""
    return {name: forms(field.annotation, _notes(field.metadata)) for name, field in model.model_fields.items()}


def below(places: tuple[Form, ...], value: Any, step: str | int) -> tuple[Form, ...]:
    """What an entry of `value` may hold, of which `places` may be; nothing where no model describes it."""
    form = form_of(places, value)
    if form is None:
        return ()
    if form.model is not None:
        return keys_of(form.model).get(str(step), ())
    return () if form.entries is None else forms(form.entries)


def form_of(places: tuple[Form, ...], value: Any) -> Form | None:
    """Which of the types a mapping or list is one of."""
    kind = "object" if isinstance(value, Mapping) else "array" if isinstance(value, list) else None
    return next((form for form in places if form.name == kind), None)


# value, what may stand in its place, the steps to it -> the value to put there
Change = Callable[[Any, tuple[Form, ...], Path], Any]


def rewritten(content: Any, model: type[BaseModel], change: Change) -> Any:
    """A copy of `content` in which every value that is neither list nor mapping has gone through `change`."""
    return _rewritten(content, (Form("object", {}, model=model),), change, ())


def _rewritten(value: Any, places: tuple[Form, ...], change: Change, path: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _rewritten(item, below(places, value, key), change, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, below(places, value, n), change, (*path, n)) for n, item in enumerate(value)]
    return change(value, places, path)


def with_paths(content: Any, model: type[BaseModel], under: str = "") -> tuple[Any, list[str]]:
    """`content` with its paths expanded (`model_types.UserPath`), and a sentence for each that cannot be.

    An `Address` is a path only after `file:`. `under` is the key that `content` stands under, for the sentences.
    """
    faults: list[str] = []

    def change(value: Any, places: tuple[Form, ...], path: Path) -> Any:
        kind = next((form.notes["format"] for form in places if form.name == "string" and "format" in form.notes), None)
        scheme = "file:" if kind == "address" else ""
        if kind is None or not isinstance(value, str) or not value.startswith(scheme):
            return value
        try:
            return scheme + expanded(value.removeprefix(scheme), dotted(path, under))
        except UserError as error:
            faults.append(str(error))
            return value

    return rewritten(content, model, change), faults


def with_texts(content: Any, texts: Any, model: type[BaseModel]) -> Any:
    """`content` with the text that stands in the file wherever the model asks for text alone.

    So a band may be called 8 or 010 without quotes. `texts` is what `yaml_files.Document` has beside it.
    """

    def change(value: Any, places: tuple[Form, ...], path: Path) -> Any:
        of_a_value = {form.name for form in places} - {"null", "object", "array"}
        if value is None or isinstance(value, str) or of_a_value != {"string"}:
            return value
        text = texts
        for step in path:
            text = text[step]
        return text

    return rewritten(content, model, change)


def steps(content: Any, model: type[BaseModel], path: Path) -> Iterator[tuple[Any, tuple[Form, ...]]]:
    """The values on the way to a place, the content first, each with what may stand there; those that exist."""
    value: Any = content
    places: tuple[Form, ...] = (Form("object", {}, model=model),)
    yield value, places
    for step in path:
        places = below(places, value, step)
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
        yield value, places
