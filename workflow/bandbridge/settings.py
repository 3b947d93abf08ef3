"""What the workflow asks of a valid configuration."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bandbridge.catalogue import load_dataset, load_templates


def uses_scratch(config: Mapping[str, Any]) -> bool:
    """Whether the CLIP to start from is trained here rather than loaded."""
    return any(source == "scratch" for _, source in clips(config).values())


def absent_checkpoints(config: Mapping[str, Any]) -> list[str]:
    """A sentence for each student's checkpoint that is not there, so that a run finds out before its first job."""
    return [
        f"align.students.{name}.pretrained: {student['pretrained']} is not there; put the checkpoint there, "
        "or set it to null to start from random weights."
        for name, student in config["align"]["students"].items()
        if student["pretrained"] and not Path(student["pretrained"]).is_file()
    ]


def clip_id(name: str) -> str:
    """A CLIP's name in paths and tables: its architecture's name, safe in a path."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-")


def clips(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The CLIPs of a run: id -> name of the architecture, and where its weights come from."""
    names, pretrained = config["clip"]["name"], config["clip"]["pretrained"]
    names = [names] if isinstance(names, str) else list(names)
    sources = [pretrained] * len(names) if isinstance(pretrained, str) else list(pretrained)
    return {clip_id(name): (name, source) for name, source in zip(names, sources, strict=False)}


def students(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Every student that is aligned: its name among the encoders -> its name in the configuration, its teacher's id."""
    teachers = list(clips(config))
    return {
        name if len(teachers) == 1 else f"{name}-{clip}": (name, clip)
        for clip in teachers
        for name in config["align"]["students"]
    }


def templates(config: Mapping[str, Any], prompts: str) -> tuple[str, ...]:
    """The templates of a prompt set: the config's own, or those of `workflow/prompts/`."""
    return tuple(config["prompts"].get(prompts) or load_templates(prompts))


def tasks(config: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    """The tasks of a role, 'patching' or 'supported': none, one, or several in their order."""
    given = config["tasks"][role]
    return [] if not given else [given] if isinstance(given, Mapping) else list(given)


def task_nomenclature(config: Mapping[str, Any], role: str) -> str:
    """The nomenclature of a task: the one it names, else its data set's first."""
    task = config["tasks"][role]
    return str(task.get("nomenclature") or load_dataset(task["dataset"]).nomenclature)


def scored_nomenclatures(config: Mapping[str, Any], dataset: str) -> tuple[str, ...]:
    """What a data set is scored in: what `evaluate.nomenclatures` lists, else its first, and the tasks' own."""
    names = list(config["evaluate"]["nomenclatures"].get(dataset) or [load_dataset(dataset).nomenclature])
    for role, task in config["tasks"].items():
        if task and task["dataset"] == dataset and task_nomenclature(config, role) not in names:
            names.append(task_nomenclature(config, role))
    return tuple(names)


def align_recipe(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """How a student is aligned: the values of `align`, with the student's own `recipe` laid over them."""
    common = {key: value for key, value in config["align"].items() if key != "students"}
    return {**common, **config["align"]["students"][student].get("recipe", {})}


def student_facts(config: Mapping[str, Any], student: str) -> dict[str, Any]:
    """What a student is, as the configuration states it; without how it is aligned."""
    return {key: value for key, value in config["align"]["students"][student].items() if key != "recipe"}


def evaluated(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Data set -> prompt sets to score it with: what `evaluate.datasets` lists and the tasks' own, in that order."""
    sets = {name: list(prompts) for name, prompts in config["evaluate"]["datasets"].items()}
    for task in config["tasks"].values():
        if task and task["prompts"] not in sets.setdefault(task["dataset"], []):
            sets[task["dataset"]].append(task["prompts"])
    return {name: tuple(prompts) for name, prompts in sets.items() if prompts}
