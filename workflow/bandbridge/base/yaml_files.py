"""YAML files read without loss: duplicate keys are errors, names stay as written, errors name file and line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bandbridge.base.errors import UserError

# Aliases of aliases can expand to more values than any memory holds.
MOST_VALUES = 1_000_000
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Document:
    """A YAML file. Keys of mappings in `content` and `texts` are the text in the file.

    Attributes:
        content: its values as YAML interprets them: `no` is false, 3.10 is 3.1.
        texts: in the same shape, every value as written, null as None.
        misread: a sentence per key whose YAML value differs from its text: 010 is 8, no is false.
    """

    content: Any
    texts: Any
    misread: tuple[str, ...] = ()


def read_document(path: Path) -> Document:
    """The content of a YAML or JSON file.

    Raises:
        UserError: the file cannot be read, is not UTF-8 or not YAML, has a key twice, or refers to itself.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    try:
        # JSON is YAML except for tabs between its values; its strings contain none.
        node = yaml.compose(text.replace("\t", " ") if path.suffix == ".json" else text, Loader=_LOADER)
        return _Reader(path).read(node)
    except yaml.MarkedYAMLError as error:
        raise UserError(_sentence(path, text, error)) from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise UserError(f"{path} nests lists or mappings too deeply to be read.") from error


def _sentence(path: Path, text: str, error: yaml.MarkedYAMLError) -> str:
    place = error.problem_mark or error.context_mark
    problem = error.problem or str(error)
    line = text.splitlines()[place.line : place.line + 1] if place else []
    hint = ""
    if line and "\t" in line[0][: len(line[0]) - len(line[0].lstrip())]:
        hint = " Indent with spaces, not with tabs."
    elif "another document" in problem:
        problem, hint = "the file holds several documents, divided by ---", " Keep one."
    elif "mapping values are not allowed" in problem:
        hint = " A text with ': ' in it needs quotes."
    where = f" (line {place.line + 1}, column {place.column + 1})" if place else ""
    return f"{path} is not YAML{where}: {problem}.{hint}"


class _Reader:
    """From YAML's nodes to `Document`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._constructor = SafeConstructor()
        self._values = 0
        self._misread: list[str] = []

    def read(self, node: Node | None) -> Document:
        if node is None:
            return Document(None, None)
        return Document(*self._both(node, ()), misread=tuple(self._misread))

    def _both(self, node: Node, above: tuple[int, ...]) -> tuple[Any, Any]:
        self._values += 1
        if self._values > MOST_VALUES:
            raise self._fault(node, f"the file's aliases expand to more than {MOST_VALUES:,} values")
        if id(node) in above:
            raise self._fault(node, "an alias refers to what it is a part of")
        above = (*above, id(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, SequenceNode):
            items = [self._both(item, above) for item in node.value]
            return [item for item, _ in items], [text for _, text in items]
        assert isinstance(node, MappingNode)
        content, texts = {}, {}
        for key, value in self._entries(node):
            content[key], texts[key] = self._both(value, above)
        return content, texts

    def _scalar(self, node: ScalarNode) -> tuple[Any, Any]:
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, OverflowError) as error:
            raise self._fault(
                node, f"'{node.value}' is not a valid YAML value ({error}); write it in quotes"
            ) from error
        return value, None if node.tag == _NULL else node.value

    def _entries(self, node: MappingNode) -> list[tuple[str, Node]]:
        """A mapping's keys and values, those of merged mappings first."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                raise self._fault(key, "a key is a list or a mapping; expected a name")
            if key.tag != _MERGE and key.value in seen:
                raise self._fault(
                    key, f"the key '{key.value}' occurs twice in one mapping, and one value would be lost; keep one"
                )
            seen.add(key.value)
            if key.tag not in (_MERGE, _TEXT):
                meaning = self._scalar(key)[0]
                if isinstance(meaning, bool) or str(meaning) != key.value:
                    self._misread.append(
                        f"line {key.start_mark.line + 1}: YAML reads the key {key.value} as {_meaning(meaning)}; if it "
                        "is a name, write it in quotes."
                    )
        self._constructor.flatten_mapping(node)
        return [(key.value, value) for key, value in node.value]

    def _fault(self, node: Node, problem: str) -> UserError:
        return UserError(f"{self._path}, line {node.start_mark.line + 1}: {problem}.")


def texts_of_keys(content: Mapping[Any, Any], where: str = "") -> tuple[dict[str, Any], list[str]]:
    """Turn the keys of a mapping, and of the mappings in it, into text.

    For content that another program has read, so that the file's text is lost: a whole number becomes its digits. Keys
    that YAML read as true, false, null, a date or a number with a point could have been written in several ways.

    Returns:
        The mapping, and a sentence per key that is not a name.
    """
    faults: list[str] = []
    return _texts(content, where, faults), faults


def _texts(value: Any, where: str, faults: list[str]) -> Any:
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, item in value.items():
            name = str(key)
            place = f"{where}.{name}" if where else name
            if not isinstance(key, str) and (isinstance(key, bool) or not isinstance(key, int)):
                faults.append(f"{place}: YAML reads this key as {_meaning(key)}; if it is a name, write it in quotes.")
            elif name in result:
                faults.append(f"{place} occurs twice, as a number and as text; keep one.")
            result[name] = _texts(item, place, faults)
        return result
    if isinstance(value, list):
        return [_texts(item, f"{where}[{number}]", faults) for number, item in enumerate(value)]
    return value


def _meaning(key: Any) -> str:
    if isinstance(key, bool):
        return "true or false (yes, no, on and off are these as well)"
    return "null" if key is None else f"the {type(key).__name__} {key}"
