"""A clone with a small real scene in it, and the workflow run in it as its users run it."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from bandbridge.catalogue import merged

ROOT = Path(__file__).parents[2]
SCENE = ROOT / "tests" / "data" / "scene_crop"

# The demo, small: the same stages on a crop of its scene.
SMALL = yaml.safe_load((Path(__file__).parent / "small.yaml").read_text())


@dataclass
class Clone:
    """A clone of the repository in a folder of its own."""

    root: Path

    def configure(self, changes: dict[str, Any]) -> None:
        """Lay changes over the small configuration."""
        config = merged(yaml.safe_load((ROOT / "config.yaml").read_text()), SMALL)
        (self.root / "config.yaml").write_text(yaml.safe_dump(merged(config, changes), sort_keys=False))

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snakemake", *arguments]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True)

    def jobs(self, *arguments: str) -> list[str]:
        """The rules a dry run would run, one entry a job, sorted; `all` left out."""
        called = self.snakemake("--dry-run", "--quiet", "progress", *arguments)
        assert called.returncode == 0, called.stdout + called.stderr
        return sorted(rules_in(called.stdout))

    def run(self, *arguments: str) -> list[str]:
        """The rules that ran, one entry a job, sorted; `all` left out."""
        called = self.snakemake("--cores", "2", *arguments)
        assert called.returncode == 0, called.stdout + called.stderr
        return sorted(rules_in(called.stdout + called.stderr))


def rules_in(text: str) -> list[str]:
    kinds = ("rule ", "localrule ", "checkpoint ", "localcheckpoint ")
    names = [line.split(" ", 1)[1].rstrip(":") for line in text.splitlines() if line.startswith(kinds)]
    return [name for name in names if name != "all"]


def make_clone(folder: Path) -> Clone:
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    # The scene is brought as a user would bring one: a data set file, and the files where archives are looked for.
    shutil.copy(Path(__file__).parent / "scene_crop.yaml", folder / "workflow" / "datasets")
    shutil.copytree(SCENE, folder / "data" / "archives" / "scene_crop")
    clone = Clone(folder)
    clone.configure({})
    return clone


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_clone(tmp_path)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose small run has ended. Tests change its configuration, and only read its files."""
    clone = make_clone(tmp_path_factory.mktemp("finished"))
    clone.run()
    return clone
