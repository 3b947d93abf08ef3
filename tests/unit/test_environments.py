"""The conda environments and the lock file name the same versions."""

import re
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
