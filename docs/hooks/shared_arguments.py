"""A Griffe extension for the documentation site: arguments that share one line of a docstring.

`first, second: (n, d)` documents two arguments at once. Griffe takes that for one argument with an odd name; this
extension makes two of it.
"""

import re
from typing import Any

from griffe import Docstring, Extension, Function, Object

SECTION = re.compile(r"^Args:\n(?:[ ].*\n?|\n)*", re.MULTILINE)
# An entry with its further lines, which are indented more.
SHARED = re.compile(
    r"^(?P<indent> +)(?P<first>\*{0,2}\w+)(?P<others>(?:, \*{0,2}\w+)+): (?P<text>.*(?:\n(?P=indent) +.*)*)",
    re.MULTILINE,
)


class SharedArguments(Extension):
    """Split the arguments of each function's docstring."""

    def on_function_instance(self, *, func: Function, **kwargs: Any) -> None:
        """Rewrite the docstring of a function before it is parsed; nothing where it has none."""
        rewrite(func)

    def on_class_instance(self, *, cls: Object, **kwargs: Any) -> None:
        """Rewrite the docstring of a class, which may document the fields of a dataclass as arguments."""
        rewrite(cls)


def rewrite(documented: Object) -> None:
    """Split the shared arguments in the docstring of an object."""
    if isinstance(documented.docstring, Docstring):
        documented.docstring.value = split_arguments(documented.docstring.value)


def split_arguments(docstring: str) -> str:
    """A docstring in which every argument has an entry; those after the first refer to it.

    >>> print(split_arguments("Args:\\n    low, high: ends of the interval."))
    Args:
        low: ends of the interval.
        high: As `low`.
    """

    def entries(entry: re.Match[str]) -> str:
        names = entry["others"].removeprefix(", ").split(", ")
        references = "".join(f"\n{entry['indent']}{name}: As `{entry['first']}`." for name in names)
        return f"{entry['indent']}{entry['first']}: {entry['text']}{references}"

    return SECTION.sub(lambda section: SHARED.sub(entries, section[0]), docstring)
