"""Paths as users write them in YAML files: ~, $SCRATCH and ${SCRATCH} are expanded, misleading ones are refused."""

import os
from string import Template

from bandbridge.base.errors import UserError
from bandbridge.base.wording import shown

# In bytes: what the file systems of Linux and macOS allow, and what leaves room for the files below a folder.
LONGEST_NAME, LONGEST_PATH = 255, 700


def expanded(text: str, key: str) -> str:
    """A path with ~ and environment variables replaced; '$$' is a dollar sign.

    Args:
        text: the path as written.
        key: of the configuration, for messages.

    Raises:
        UserError: a variable is unset or empty, there is no such user, or the path has a character that does not
            belong in a path: braces, which are Snakemake's wildcards, and invisible characters; it or a name in it is
            longer than file systems allow.
    """
    try:
        path = os.path.expanduser(Template(text).substitute(_Variables(key)))
    except ValueError:
        raise UserError(
            f"{key} is '{text}'; expected a variable's name after $, as in $SCRATCH or ${{SCRATCH}}, or $$."
        ) from None
    if path.startswith("~"):
        raise UserError(
            f"{key} is '{text}'; there is no user {path.split('/')[0][1:] or 'with a home folder'} on this machine."
        )
    where = f"{key} is {text!r}" + (f", that is {path!r}" if path != text else "")
    if any(brace in path for brace in "{}"):
        raise UserError(f"{where}; braces in a path are wildcards to Snakemake: rename the folder or file.")
    if not path.isprintable():
        raise UserError(f"{where}; a path has no line ends, tabs or other invisible characters: write it in one line.")
    if path != path.strip():
        raise UserError(f"{where}; it begins or ends with a space: delete the space.")
    if (longest := max(len(os.fsencode(name)) for name in path.split("/"))) > LONGEST_NAME:
        raise UserError(
            f"{key} is {shown(path)}; a name in it has {longest:,} bytes, and no file's name has more than "
            f"{LONGEST_NAME}: shorten it."
        )
    if (length := len(os.fsencode(path))) > LONGEST_PATH:
        raise UserError(f"{key} is {shown(path)}; it has {length:,} bytes, more than {LONGEST_PATH}: shorten it.")
    return path


class _Variables(dict[str, str]):
    """The environment, in which an unset or empty variable is a `UserError`, not a missing key."""

    def __init__(self, key: str) -> None:
        super().__init__({name: value for name, value in os.environ.items() if value})
        self._key = key

    def __missing__(self, name: str) -> str:
        state = "empty" if name in os.environ else "not set"
        raise UserError(f"{self._key} names the variable {name}, which is {state}: set it, or write the path out.")
