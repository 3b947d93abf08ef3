"""Which changes of the code a script's results follow."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bandbridge.base import code_version

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("__pycache__"))


def version(workflow: Path, *arguments: str) -> str:
    code = "import sys; from bandbridge.base.code_version import code_version; print(code_version(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    completed = subprocess.run(command, env={"PYTHONPATH": str(workflow)}, capture_output=True, text=True, check=True)
    return completed.stdout


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("scripts/score_knn.py", True),
        ("bandbridge/metrics/knn.py", True),
        ("bandbridge/scoring/zero_shot.py", True),  # imported by what the script imports
        ("bandbridge/metrics/gap.py", False),
        ("bandbridge/training/loop.py", False),
        ("bandbridge/base/progress.py", False),  # which says how far a job is
        ("scripts/score_gap.py", False),
    ],
)
def test_a_script_s_version_follows_the_modules_it_imports(copy: Path, edited: str, changes: bool):
    before = version(copy, "score_knn")
    with (copy / edited).open("a") as file:
        file.write("# Another version.\n")
    assert (version(copy, "score_knn") != before) is changes


def test_files_of_facts_count_where_they_are_named(copy: Path):
    before = version(copy, "tables"), version(copy, "tables", "published")
    (copy / "published" / "another.yaml").write_text("name: another\n")
    assert version(copy, "tables") == before[0]
    assert version(copy, "tables", "published") != before[1]


def parsed(path: Path) -> set[str]:
    """What a file imports of the package, as Python's own parser has it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    below = {name.removeprefix("bandbridge.") for name in names if name.startswith("bandbridge.")}
    return {name for name in below if name in code_version._files() and name not in code_version.NEUTRAL}


def test_what_a_file_imports_is_what_python_finds_in_it():
    files = [*(ROOT / "workflow" / "bandbridge").rglob("*.py"), *(ROOT / "workflow" / "scripts").glob("*.py")]
    assert len(files) > 100
    for path in files:
        assert code_version._imported(path) == parsed(path), path
