"""Clones of the repository with a small real scene in them, in which the workflow is run as its users run it."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snakemake_starts
import yaml
from warm_jobs import warm_jobs

from bandbridge.catalogue.datasets import merged

ROOT = Path(__file__).parents[2]
SCENE = ROOT / "tests" / "data" / "scene_crop"

TARGETS = {"all", "fetch"}

# The demo, small: the same stages on a crop of its scene.
SMALL = yaml.safe_load((Path(__file__).parent / "small.yaml").read_text())

# Of the scores, zero-shot classification and retrieval alone.
FEW_SCORES = {**dict.fromkeys(["linear_probe", "words", "text_retrieval", "knn"]), "gap": False}

# What makes it smaller still, for scripts that run it again and again: few steps, two alphas, one score per encoder.
FEW_STEPS = {
    "prompts": {"mine": None},
    "finetune": {"batch_size": 64, "precision": "float32"},
    "paint": {"alphas": [0, 1], "select": {"criterion": "fixed", "alpha": 1}},
    "align": {"batch_size": 64, "precision": "float32"},
    "evaluate": {"datasets": {"scene_crop": ["plain"]}, **FEW_SCORES},
}


@dataclass
class Clone:
    """A clone of the repository in its own folder.

    Where it is `warm`, the jobs of its runs are forks of a process that has imported PyTorch and the like; otherwise
    they start as a user's do.
    """

    root: Path
    warm: bool = False

    def configure(self, changes: dict[str, Any]) -> None:
        """Override values of the small configuration."""
        config = merged(yaml.safe_load((ROOT / "config.yaml").read_text()), SMALL)
        (self.root / "config.yaml").write_text(yaml.safe_dump(merged(config, changes), sort_keys=False))

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which the clone's package is imported, as after an installation in place."""
        return os.environ | {"PYTHONPATH": str(self.root / "workflow")}

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment
        if self.warm and "--dry-run" not in arguments and hasattr(os, "pidfd_open"):
            environment = warm_jobs.added_to(environment)
        return snakemake_starts.snakemake(*arguments, cwd=self.root, env=environment)

    def jobs(self, *arguments: str) -> list[str]:
        """The rules that a dry run would run, one entry per job, sorted; without the targets."""
        completed = self.snakemake(*arguments, "--dry-run")
        assert completed.returncode == 0, completed.stdout + completed.stderr
        table = re.search(r"^Job stats:\n.*?\n-.*?\n(.*?)^total ", completed.stdout, re.MULTILINE | re.DOTALL)
        rows = [line.split() for line in table[1].splitlines()] if table else []
        return sorted(rule for rule, count in rows for _ in range(int(count)) if rule not in TARGETS)

    def run(self, *arguments: str) -> list[str]:
        """The rules that ran, one entry per job, sorted; without the targets."""
        # A second process that draws would take as long to start as it saves.
        completed = self.snakemake(*arguments, "--cores", "2", "--set-threads", "report=1")
        assert completed.returncode == 0, completed.stdout + completed.stderr
        ran = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", completed.stdout + completed.stderr, re.MULTILINE)
        return sorted(rule for rule in ran if rule not in TARGETS)

    def copy(self, folder: Path) -> "Clone":
        """A copy; its results are links to files that a run replaces and never changes."""

        def copied(source: str, target: str) -> None:
            copy = os.link if Path(source).is_relative_to(self.root / "results") else shutil.copy2
            copy(source, target)

        return Clone(shutil.copytree(self.root, folder, copy_function=copied), self.warm)


def make_clone(folder: Path, warm: bool = False) -> Clone:
    for name in ("workflow", "envs", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "slurm").symlink_to("profiles/slurm")
    # The scene is brought as a user would bring one: a data set file, and the files where archives are looked for.
    shutil.copy(Path(__file__).parent / "scene_crop.yaml", folder / "workflow" / "datasets")
    # A smaller network of the same name: a whole run encodes 1,797 digits at every alpha.
    shutil.copy(Path(__file__).parent / "demo-vit.json", folder / "workflow" / "clip_configs")
    shutil.copytree(SCENE, folder / "data" / "archives" / "scene_crop")
    clone = Clone(folder, warm)
    clone.configure({})
    return clone
