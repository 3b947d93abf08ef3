"""What is installed: a wheel with all of the package's data, and an environment made with a Python that works."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import PathDistribution
from pathlib import Path
from zipfile import ZipFile

import pytest

import bandbridge

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / "workflow"
# Of a clone alone: what Snakemake runs.
NOT_INSTALLED = {"bandbridge", "rules", "scripts", "snakemake_executor_plugin_slurm_bandbridge"}


# --- the wheel --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; make setup installs it")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", ROOT]
    built = subprocess.run([*command, "--wheel-dir", folder], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]


def test_every_module_and_every_file_of_data_is_in_the_wheel(wheel: Path):
    expected = {"bandbridge/config.yaml": ROOT / "config.yaml"}
    expected |= {str(path.relative_to(WORKFLOW)): path for path in files(WORKFLOW / "bandbridge")}
    for folder in WORKFLOW.iterdir():
        if folder.is_dir() and folder.name not in NOT_INSTALLED:
            expected |= {f"bandbridge/data/{path.relative_to(WORKFLOW)}": path for path in files(folder)}
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert names == set(expected)
        assert [name for name in names if archive.read(name) != expected[name].read_bytes()] == []


def test_the_wheel_states_what_the_package_needs_and_its_one_version(wheel: Path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (folder,) = {name.split("/")[0] for name in ZipFile(wheel).namelist() if ".dist-info/" in name}
    with ZipFile(wheel) as archive:
        archive.extractall(wheel.parent / "metadata", [name for name in archive.namelist() if folder in name])
    metadata = PathDistribution(wheel.parent / "metadata" / folder)
    stated = [text for text in metadata.requires or [] if "extra ==" not in text]
    assert sorted(text.replace(" ", "").lower() for text in stated) == sorted(
        text.replace("_", "-").lower() for text in project["dependencies"]
    )
    assert metadata.version == bandbridge.__version__


def test_the_package_of_the_wheel_finds_its_data(wheel: Path, tmp_path: Path):
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    program = """
import yaml
from bandbridge.base import locations
from bandbridge.reporting.page import run as report_run
from bandbridge.catalogue.datasets import load_dataset, load_nomenclature
from bandbridge.config.checks import validate
from bandbridge.ops.config_reference import CONFIG
from bandbridge.config.resources import clip_architectures

config = validate(yaml.safe_load(CONFIG.read_text()), source="config.yaml")
print(locations.WORKFLOW)
print(load_dataset("digits").title, len(load_nomenclature("bigearthnet-19").classes), config["run"])
print("demo-vit" in clip_architectures(), "radford2021learning" in report_run.references())
print(repr(report_run.git_commit()))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    completed = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert completed.stderr == ""
    assert completed.stdout.splitlines() == [
        str(tmp_path / "installed" / "bandbridge" / "data"),
        "Handwritten digits (scikit-learn) 19 demo",
        "True True",
        "''",
    ]


# --- the Python of an environment -------------------------------------------------------------------------------------


# A version that needs no compiler.
WORKS = "sys.version_info = (3, 13, 1)"


def find_python(*folders: Path, python: str = "") -> subprocess.CompletedProcess[str]:
    """envs/find_python.sh, where nothing but these folders and the programs it calls are on the PATH."""
    environment = {"PATH": os.pathsep.join(map(str, folders))} | ({"PYTHON": python} if python else {})
    command = ["/bin/sh", ROOT / "envs" / "find_python.sh"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def program(path: Path, *lines: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def disguised(path: Path, change: str) -> Path:
    """This Python, in which `change` is run before what it reads from standard input."""
    code = f"import sys; {change}; sys.argv.pop(0); exec(sys.stdin.read())"
    return program(path, f'exec {sys.executable} -c "{code}" "$@"')


def test_the_newest_python_that_runs_is_taken(tmp_path: Path):
    program(tmp_path / "bin" / "python3.13", "echo 'pyenv: python3.13: command not found' >&2", "exit 127")
    working = disguised(tmp_path / "bin" / "python3.12", WORKS)
    disguised(tmp_path / "bin" / "python3.11", WORKS)
    completed = find_python(tmp_path / "bin")
    assert (completed.stdout.strip(), completed.stderr) == (str(working), "")


def test_a_python_that_is_named_is_the_only_one_tried(tmp_path: Path):
    working = disguised(tmp_path / "bin" / "python3.11", WORKS)
    assert find_python(tmp_path / "bin", python=str(working)).stdout.strip() == str(working)
    completed = find_python(tmp_path / "bin", python="python3.12")
    assert completed.returncode == 1
    assert "python3.12 was not found" in completed.stderr
    assert "python3.11" not in completed.stderr.splitlines()[1]


def test_where_no_python_works_the_error_says_why_and_what_is_needed(tmp_path: Path):
    broken = program(tmp_path / "bin" / "python3.13", "exit 127")
    other = program(tmp_path / "bin" / "python3", "echo is Python 3.9")
    completed = find_python(tmp_path / "bin")
    assert completed.returncode == 1
    assert completed.stdout == ""
    for sentence in (
        "BandBridge needs Python 3.11, 3.12, 3.13 or 3.14, with venv",
        "python3.14 was not found",
        f"{broken} does not run",
        f"{other} is Python 3.9",
        "make setup PYTHON=/path/to/python3.13",
    ):
        assert sentence in completed.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sys.version_info = (3, 10, 4)", "is Python 3.10"),
        ("sys.version_info = (3, 15, 0)", "is Python 3.15"),
        (
            "sys.version_info = (3, 12, 1); sys.prefix = sys.base_prefix; sys.modules['ensurepip'] = None",
            "has no venv; on Debian: apt install python3.12-venv",
        ),
        ("sys.version_info = (3, 14, 0)", "needs a C compiler and Python.h"),
    ],
)
def test_a_python_that_cannot_be_used_says_why(tmp_path: Path, change: str, said: str):
    """There is no compiler and no uv on the PATH."""
    python = disguised(tmp_path / "bin" / "python", change)
    completed = find_python(tmp_path / "bin", python=str(python))
    assert completed.returncode == 1
    assert f"{python} {said}" in completed.stderr
    usable = disguised(tmp_path / "bin" / "python", WORKS)
    assert find_python(tmp_path / "bin", python=str(usable)).stdout.strip() == str(usable)
