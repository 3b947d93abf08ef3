"""A digest of the package's files that a script's results depend on."""

import hashlib
import re
from functools import cache
from pathlib import Path

from bandbridge.base.locations import WORKFLOW

# Statements that import of this package. Parsing a hundred files would take most of the time of planning.
_FROM = r"from[ \t]+(bandbridge[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)"
_IMPORTS = re.compile(rf"^[ \t]*(?:{_FROM}|import[ \t]+(bandbridge[^\n]*))", re.MULTILINE)
_NAMES = re.compile(r"[\w.]+")

PACKAGE = WORKFLOW / "bandbridge"
# They decide how a job runs; no result depends on them.
NEUTRAL = {"base.errors", "base.locations", "base.progress", "base.script"}


@cache  # asked for each job
def code_version(script: str, *data: str) -> str:
    """Digest of a script of workflow/scripts and of the package's modules that it imports, directly or indirectly.

    It is a parameter of jobs that take seconds, so that no table or figure of an earlier version of the code is kept;
    long jobs (conversion, training, encoding) are repeated only on request.

    Args:
        script: its name without suffix.
        data: folders of workflow/ whose files it reads.
    """
    path = WORKFLOW / "scripts" / f"{script}.py"
    digest = hashlib.sha256(path.read_bytes())
    for module in sorted(_closure(_imported(path))):
        digest.update(f"\0{module}\0".encode() + _content(_files()[module]))
    for folder in data:
        for file in sorted((WORKFLOW / folder).glob("*")):
            digest.update(f"\0{folder}/{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _closure(modules: frozenset[str]) -> set[str]:
    reached: set[str] = set()
    pending = set(modules)
    while pending:
        module = pending.pop()
        reached.add(module)
        pending |= _imported(_files()[module]) - reached
    return reached


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _files() -> dict[str, Path]:
    """Dotted name below the package -> file."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
    }


@cache
def _imported(path: Path) -> frozenset[str]:
    """The package's modules that a file imports, at its top or inside functions."""
    names: set[str] = set()
    for module, imported, modules in _IMPORTS.findall(_content(path).decode()):
        names |= {module, *(f"{module}.{name}" for name in _NAMES.findall(imported)), *_NAMES.findall(modules)}
    below = {name.removeprefix("bandbridge.") for name in names if name.startswith("bandbridge.")}
    return frozenset(name for name in below if name in _files() and name not in NEUTRAL)
