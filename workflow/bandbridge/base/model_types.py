"""What the models of YAML files are made of: a section, its keys, and the types that several of them have.

A model says everything about a section once: which keys it has, their types and bounds, what they mean, the unit, the
default of those that may be left out, and what a change reruns. Checks, messages, JSON schemas and the reference page
are made of that. Nothing is converted: a number in quotes is text, 32.0 is no whole number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from bandbridge.base.wording import TEMPLATE_ALLOWED


class BrokenRuleError(ValueError):
    """What a check of our own refuses: the name of a sentence in `wording`, and its arguments besides the value."""

    def __init__(self, rule: str, **about: Any) -> None:
        super().__init__(rule)
        self.rule, self.about = rule, about


class Section(BaseModel):
    """A mapping of a YAML file with keys that are known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
    # What its keys are, in messages.
    entry: ClassVar[str] = "a known key"


def _least_of(schema: dict[str, Any], model: Any) -> None:
    schema["minProperties"] = model.least


class SomeKeys(Section):
    """A section all of whose keys may be left out, but not together."""

    model_config = ConfigDict(json_schema_extra=_least_of)
    least: ClassVar[int] = 1

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if len(self.model_fields_set) < self.least:
            raise BrokenRuleError("too_few", min_length=self.least)
        return self


@dataclass(frozen=True)
class Note:
    """More about a value than its type says: `key` of its JSON schema is `value`.

    `format: path` and `format: address` are expanded as people write paths. `x-allowed` is for messages: what a text
    with a pattern may hold.
    """

    key: str
    value: Any

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), self.key: self.value}


def key(
    description: str,
    *,
    reruns: str = "",
    unit: str = "",
    default: Any = ...,
    is_optional: bool = False,
    same_as: str = "",
) -> Any:
    """A key of a section.

    Args:
        description: what it means, as the comment beside it in config.yaml begins.
        reruns: what a change rebuilds; what the section says where empty.
        default: what an absent key stands for; without one, the key must be there.
        is_optional: the key may be absent, and then stands for nothing that could be written.
        same_as: the section that has the same keys, which are not listed again.
    """
    extra = {"x-reruns": reruns, "x-unit": unit, "x-same-as": same_as}
    stated: dict[str, Any] = {name: value for name, value in extra.items() if value}
    default = None if is_optional else default
    return Field(default, description=description, json_schema_extra=stated or None)


# --- checks that types do not make ------------------------------------------------------------------------------------


class _Unique(AfterValidator):
    """Of a list: each entry once."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {**handler(schema), "uniqueItems": True}


def _each_once(values: list[Any]) -> list[Any]:
    if any(value in values[:number] for number, value in enumerate(values)):
        raise BrokenRuleError("listed_twice")
    return values


def _agreed(value: bool) -> bool:
    if not value:
        raise BrokenRuleError("not_among", choices=[True])
    return value


# --- one of several types, chosen by that of the value ----------------------------------------------------------------

# The names of types among pydantic's steps to a value: no keys, because no key that people write begins like this.
_TAGS: Mapping[str, Any] = {
    "\0mapping": Mapping,
    "\0list": list,
    "\0text": str,
    "\0number": int | float,
}


def _tag_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    return next((tag for tag, kind in _TAGS.items() if isinstance(value, kind)), None)


MAPPING, LIST, TEXT, NUMBER = map(Tag, _TAGS)
BY_TYPE = Discriminator(_tag_of)


def without_tags(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The steps to a value, without those that only say which of several types it was taken for."""
    return tuple(step for step in location if step not in _TAGS)


# --- types ------------------------------------------------------------------------------------------------------------

UNIQUE = _Unique(_each_once)
# Upper ends are far above what runs: a number beyond them is a slip of the keyboard.
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Pixels = Annotated[int, Field(ge=1, le=16_384)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
UserPath = Annotated[str, Field(min_length=1), Note("format", "path")]
Address = Annotated[str, Field(min_length=1), Note("format", "address")]
FileName = Annotated[
    str,
    Field(min_length=1, pattern=r"^[^{}\x00-\x1f]+$"),
    Note("x-allowed", "a file's name has no braces and no line ends"),
]
Templates = Annotated[
    list[Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$"), Note("x-allowed", TEMPLATE_ALLOWED)]],
    Field(min_length=1),
]
Agreed = Annotated[bool, AfterValidator(_agreed), Note("const", True)]
