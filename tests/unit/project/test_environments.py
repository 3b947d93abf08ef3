"""The conda environments and the lock file name the same versions, and the lock file has all that is needed."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from bandbridge.ops import doctor

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
DIRECT = [Requirement(text) for text in [*PROJECT["dependencies"], *chain.from_iterable(EXTRAS)]]
DIRECT = [requirement for requirement in DIRECT if requirement.name != PROJECT["name"]]  # extras of its own


def locked(lock: str = (ROOT / "requirements.lock").read_text()) -> dict[str, str]:
    lines = lock.splitlines()
    pins = (re.match(r"([A-Za-z0-9_.-]+)==([^ ;\\]+)", line) for line in lines)
    return {pin[1].lower().replace("_", "-"): pin[2] for pin in pins if pin}


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


@pytest.mark.parametrize("environment", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_environment_pins_the_locked_versions(environment: Path):
    *_, requirements = yaml.safe_load(environment.read_text())["dependencies"]
    pins = dict(requirement.lower().replace("_", "-").split("==") for requirement in requirements["pip"])
    assert pins == {name: locked()[name] for name in pins}


def test_every_direct_dependency_is_locked():
    versions = locked()
    assert {plain(requirement.name) for requirement in DIRECT} <= set(versions)
    assert [wanted for wanted in DIRECT if versions[plain(wanted.name)] not in wanted.specifier] == []


def test_the_lock_is_complete():
    """`make setup` resolves nothing: what a locked package needs, also with extras, is locked in a fitting version."""
    versions = locked()
    waiting = [(plain(requirement.name), extra) for requirement in DIRECT for extra in ["", *requirement.extras]]
    seen = set()
    while waiting:
        package, extra = waiting.pop()
        if (package, extra) in seen:
            continue
        seen.add((package, extra))
        try:
            needed = [Requirement(text) for text in metadata.requires(package) or []]
        except metadata.PackageNotFoundError:  # for another system or another Python
            continue
        for requirement in needed:
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                name = plain(requirement.name)
                assert name in versions, f"{package} needs {requirement}"
                assert versions[name] in requirement.specifier, f"{package} needs {requirement}"
                waiting += [(name, wanted) for wanted in ["", *requirement.extras]]
    assert ("coverage", "toml") in seen
    assert len(seen) > 150


def test_every_locked_package_has_one_version_and_its_hashes():
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text().strip())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert len(blocks) == len(locked())


def test_the_same_versions_of_python_are_named_everywhere():
    minors = range(doctor.PYTHONS[0][1], doctor.PYTHONS[1][1] + 1)
    versions = [f"3.{minor}" for minor in minors]
    assert PROJECT["requires-python"] == f">={versions[0]},<3.{minors[-1] + 1}"
    assert [text.split(" :: ")[-1] for text in PROJECT["classifiers"]] == versions
    script = (ROOT / "envs" / "find_python.sh").read_text()
    assert f'VERSIONS="{" ".join(reversed(versions))}"' in script
    assert f"Python {', '.join(versions[:-1])} or {versions[-1]}, with venv" in script
    for environment in (ROOT / "envs").glob("*.yaml"):
        assert f"python={versions[0]}" in yaml.safe_load(environment.read_text())["dependencies"]


@pytest.mark.slow
def test_what_is_left_out_for_cpus_is_needed_by_pytorch_alone():
    """By what the installed packages state that they need."""
    command = ["awk", "-f", "envs/without_cuda.awk", "requirements.lock"]
    rest = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kept = set(locked(rest))
    left_out = set(locked()) - kept
    assert {"torch", "torchvision", "triton", "cuda-toolkit", "nvidia-cublas"} < left_out
    for package in kept:
        try:
            needed = [Requirement(text).name for text in metadata.requires(package) or [] if "extra ==" not in text]
        except metadata.PackageNotFoundError:  # for another system or another Python
            continue
        assert not set(map(plain, needed)) & left_out - {"torch", "torchvision"}, package
    # And of what is left, all that the lock said.
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert [line for line in lines if line in set(rest.splitlines())] == rest.splitlines()


def test_the_lock_names_no_address():
    assert "://" not in (ROOT / "requirements.lock").read_text()


# What a module is imported as -> the package that brings it, where they differ. TorchGeo is an extra of the user's.
PACKAGES = {"yaml": "pyyaml", "PIL": "pillow", "sklearn": "scikit-learn", "open_clip": "open-clip-torch"}
PACKAGES |= {"google_crc32c": "google-crc32c", "vl_convert": "vl-convert-python"}
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
    packages, left, seen = set(), [script], set()
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
                packages.add(PACKAGES.get(top, top).lower().replace("_", "-"))
    return packages


@pytest.mark.slow
@pytest.mark.parametrize("rules", sorted((ROOT / "workflow" / "rules").glob("*.smk")), ids=lambda path: path.stem)
def test_a_script_s_environment_has_all_that_it_imports(rules: Path):
    for environment, script in re.findall(r"envs/(\w+)\.yaml.*?scripts/(\w+)\.py", rules.read_text(), re.DOTALL):
        *_, requirements = yaml.safe_load((ROOT / "envs" / f"{environment}.yaml").read_text())["dependencies"]
        installed = {requirement.split("==")[0].lower().replace("_", "-") for requirement in requirements["pip"]}
        lacking = packages_behind(ROOT / "workflow" / "scripts" / f"{script}.py") - installed
        assert not lacking, f"{script}.py runs in envs/{environment}.yaml, which lacks {lacking}"
