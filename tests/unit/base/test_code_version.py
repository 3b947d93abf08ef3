"""Which changes of the code a script's results follow."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(ROOT / "workflow", tmp_path / "workflow", ignore=shutil.ignore_patterns("__pycache__"))


def version(workflow: Path, *arguments: str) -> str:
    code = "import sys; from bandbridge.base.code_version import code_version; print(code_version(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    called = subprocess.run(command, env={"PYTHONPATH": str(workflow)}, capture_output=True, text=True, check=True)
    return called.stdout


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
