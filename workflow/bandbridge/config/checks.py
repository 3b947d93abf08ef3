"""The configuration: checked against its models and against itself before any job starts."""

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bandbridge.base.errors import UserError
from bandbridge.base.model_faults import model_faults
from bandbridge.base.model_forms import with_paths
from bandbridge.base.wording import shown
from bandbridge.base.yaml_files import Document, read_document, texts_of_keys
from bandbridge.catalogue.datasets import merged
from bandbridge.config.apply import apply_faults
from bandbridge.config.clip import clip_faults
from bandbridge.config.data import (
    dataset_faults,
    nomenclature_faults,
    option_faults,
    prompt_faults,
    task_faults,
    with_option_paths,
)
from bandbridge.config.encoders import encoder_faults, student_faults
from bandbridge.config.roots import normal_roots, root_faults
from bandbridge.config.sections.whole import Config
from bandbridge.config.seeds import seed_faults, with_numbers
from bandbridge.config.stages import paint_faults, probe_faults, recipe_faults, table_faults
from bandbridge.config.words import word_faults

__all__ = ["check_files", "read_config", "validate"]

# In these mappings a preset removes an entry of config.yaml by setting it to null.
REMOVABLE = (
    ("align", "students"),
    ("evaluate", "datasets"),
    ("evaluate", "words", "datasets"),
    ("datasets",),
    ("prompts",),
)
# Checks across sections, which the model of one section cannot make.
CHECKS: Sequence[Callable[[Mapping[str, Any]], Iterable[str]]] = (
    dataset_faults,
    prompt_faults,
    task_faults,
    clip_faults,
    nomenclature_faults,
    paint_faults,
    student_faults,
    recipe_faults,
    encoder_faults,
    probe_faults,
    table_faults,
    word_faults,
    root_faults,
    apply_faults,
    seed_faults,
)


def validate(config: Mapping[str, Any], source: str = "config.yaml") -> dict[str, Any]:
    """Check every value of a configuration.

    Args:
        config: as read, with the values of presets.
        source: what error messages call it.

    Returns:
        The configuration without removed entries, with `~`, `$SCRATCH` and `${SCRATCH}` in paths expanded. Keys are
        text: 0 and "0" are equal.

    Raises:
        UserError: one line per fault: the key, what was found, what is allowed.
    """
    if not isinstance(config, Mapping):
        raise UserError(f"{source} holds no keys; the repository's config.yaml shows what it should hold.")
    with_text_keys, faults = texts_of_keys(config)
    cleaned = with_numbers(_plain(_without_removed(with_text_keys)))
    faults = faults or list(model_faults(cleaned, Config)) or list(option_faults(cleaned))
    faults = faults or list(_invisible(cleaned, ""))
    if not faults:
        expanded, faults = with_paths(cleaned, Config)
        expanded, option_path_faults = with_option_paths(expanded)
        cleaned, faults = normal_roots(expanded), faults + option_path_faults
    if not faults:
        # Several checks may report the same faulty file.
        faults = list(dict.fromkeys(fault for check in CHECKS for fault in _faults(check, cleaned)))
    if faults:
        raise UserError("\n".join(f"{source}: {fault}" for fault in faults))
    valid: dict[str, Any] = cleaned
    return valid


def read_config(files: Iterable[Path]) -> dict[str, Any]:
    """The content of configuration files, each overriding those before it; not checked yet.

    Raises:
        UserError: a file cannot be read or holds no keys, or a key occurs twice.
    """
    config: dict[str, Any] = {}
    for file in files:
        config = merged(config, _keys_of(file, read_document(file)))
    return config


def check_files(files: Iterable[Path]) -> None:
    """Refuse configuration files that another program's YAML reader would read differently without a warning.

    Missing files are skipped: whatever reads them reports them.

    Raises:
        UserError: a file cannot be read or holds no keys, a key occurs twice, or a value is not read as it is written
            (010 as 8, no as false).
    """
    faults: list[str] = []
    for file in dict.fromkeys(files):
        if file.is_file():
            document = read_document(file)
            _keys_of(file, document)
            faults += [f"{file}, {fault}" for fault in document.misread]
    if faults:
        raise UserError("\n".join(faults))


def _keys_of(file: Path, document: Document) -> dict[str, Any]:
    if not isinstance(document.content, dict):
        raise UserError(f"{file} holds no keys; the repository's config.yaml shows what it should hold.")
    content: dict[str, Any] = document.content
    return content


def _faults(check: Callable[[Mapping[str, Any]], Iterable[str]], config: Mapping[str, Any]) -> Iterator[str]:
    try:
        yield from check(config)
    except UserError as error:
        yield from str(error).splitlines()


def _without_removed(config: Mapping[str, Any]) -> dict[str, Any]:
    def copy(value: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, Mapping):
            return value
        items = ((key, copy(item, (*path, key))) for key, item in value.items())
        return {key: item for key, item in items if not (item is None and path in REMOVABLE)}

    result: dict[str, Any] = copy(config, ())
    return result


def _invisible(value: Any, place: str) -> Iterator[str]:
    """A sentence for each text with an invisible character, as the line end of a '|' text; `report` may have them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            where = f"{place}.{shown(key)[1:-1]}" if place else key
            if not key.isprintable():
                yield f"{where} has a line end or another invisible character in its name; write it on one line."
            if where != "report":
                yield from _invisible(item, where)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _invisible(item, f"{place}[{number}]")
    elif isinstance(value, str) and not value.isprintable():
        yield f"{place} is {shown(value)}; it has a line end or another invisible character: write it on one line."


def _plain(value: Any) -> Any:
    """The value with dates as their text, which YAML reads as dates where it is unquoted, and zero without a sign."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if type(value) is datetime.date:
        return value.isoformat()
    return 0.0 if isinstance(value, float) and value == 0 else value
