"""The conda environments and the lock file name the same versions."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = (re.match(r"([A-Za-z0-9_.-]+)==([^ ;]+)", line) for line in lines)
    return {pin[1].lower().replace("_", "-"): pin[2] for pin in pins if pin}


@pytest.mark.parametrize("environment", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_pins_the_locked_versions(environment: Path):
    *_, requirements = yaml.safe_load(environment.read_text())["dependencies"]
    pins = dict(requirement.lower().replace("_", "-").split("==") for requirement in requirements["pip"])
    assert pins == {name: locked()[name] for name in pins}


def test_every_direct_dependency_is_locked():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = {re.split(r"[=<>]", line)[0].lower().replace("_", "-") for line in lines if line and line[0] != "#"}
    assert names <= set(locked())


def test_the_lock_names_no_address():
    assert "://" not in (ROOT / "requirements.lock").read_text()


# What a module is imported as -> the package that brings it, where they differ. TorchGeo is an extra of the user's.
PACKAGES = {"yaml": "pyyaml", "PIL": "pillow", "sklearn": "scikit-learn", "open_clip": "open-clip-torch"}
PACKAGES |= {"google_crc32c": "google-crc32c"}
EXTRAS = {"torchgeo"}


def imported(path: Path) -> set[str]:
    """Dotted names of what a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def packages_behind(script: Path) -> set[str]:
    """Packages that a script needs, by itself or by way of our own modules."""
    found, left, seen = set(), [script], set()
    while left:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in imported(path):
            top = name.split(".")[0]
            if top == "bandbridge":
                module = ROOT / "workflow" / Path(*name.split("."))
                left += [file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file()]
            elif top not in sys.stdlib_module_names | EXTRAS:
                found.add(PACKAGES.get(top, top).lower().replace("_", "-"))
    return found


@pytest.mark.parametrize("rules", sorted((ROOT / "workflow" / "rules").glob("*.smk")), ids=lambda path: path.stem)
def test_a_script_s_environment_has_all_that_it_imports(rules: Path):
    for environment, script in re.findall(r"envs/(\w+)\.yaml.*?scripts/(\w+)\.py", rules.read_text(), re.DOTALL):
        *_, requirements = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())["dependencies"]
        there = {requirement.split("==")[0].lower().replace("_", "-") for requirement in requirements["pip"]}
        lacking = packages_behind(ROOT / "workflow" / "scripts" / f"{script}.py") - there
        assert not lacking, f"{script}.py runs in envs/{environment}.yaml, which lacks {lacking}"
