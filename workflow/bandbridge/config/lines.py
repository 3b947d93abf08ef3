"""The tasks of a run, and the PAINT lines that lead to the models patched on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bandbridge.base.paths import EncoderName
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.config.networks import clips


def tasks(config: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    """The tasks of a role, 'patching' or 'supported', in their order; empty for none."""
    role_tasks = config["tasks"][role]
    return [] if not role_tasks else [role_tasks] if isinstance(role_tasks, Mapping) else list(role_tasks)


def all_tasks(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every task of a run, and the one that students are aligned on."""
    aligned_on = config["align"].get("task")
    return [*tasks(config, "patching"), *tasks(config, "supported"), *([aligned_on] if aligned_on else [])]


def nomenclature_of(task: Mapping[str, Any]) -> str:
    """The nomenclature of a task: the one it names, else its data set's first."""
    return str(task.get("nomenclature") or load_dataset(task["dataset"]).nomenclature)


def align_task(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The task that students are aligned on: `align.task`, else the first patching task."""
    return config["align"].get("task") or tasks(config, "patching")[0]


@dataclass(frozen=True)
class Line:
    """A PAINT line: the models between its start and the result of a fine-tuning.

    Attributes:
        name: its models are the encoders <name>@<alpha>.
        clip: id of the CLIP whose text encoder and preprocessing it has.
        patching: the tasks that it is to improve.
        kept: the tasks that must not suffer.
        start: the line at whose chosen model it starts; None where it starts at the CLIP itself.
        parts: lines whose task vectors, each multiplied by its own chosen alpha, add up to this one's; empty for a
            line that has a fine-tuning of its own.
    """

    name: str
    clip: str
    patching: tuple[Mapping[str, Any], ...]
    kept: tuple[Mapping[str, Any], ...]
    start: str | None = None
    parts: tuple[str, ...] = ()

    @property
    def datasets(self) -> list[str]:
        """Its patching tasks' data sets."""
        return [task["dataset"] for task in self.patching]

    @property
    def tag(self) -> str:
        """Its data sets as a part of paths."""
        return "+".join(self.datasets)


def lines(config: Mapping[str, Any]) -> dict[str, Line]:
    """Every PAINT line of a run by name; one per CLIP for one patching task, or several patched jointly.

    Sequentially, each further task has a line that starts at the model chosen on the line before, whose tasks are kept
    from then on. In parallel, each task has a line of its own, and one more leads to the sum of their task vectors
    (Ilharco et al. 2022, section 5).
    """
    patching, kept = tuple(tasks(config, "patching")), tuple(tasks(config, "supported"))
    mode = config["paint"].get("several", "jointly") if len(patching) > 1 else "jointly"
    created = []
    for clip in clips(config):
        names = [clip]
        if mode == "sequentially":
            names += [
                f"{clip}-after-{'-'.join(task['dataset'] for task in patching[:n])}" for n in range(1, len(patching))
            ]
            for number, (name, task) in enumerate(zip(names, patching, strict=True)):
                start = names[number - 1] if number else None
                created.append(Line(name, clip, (task,), (*kept, *patching[:number]), start))
            continue
        parts = [f"{clip}-on-{task['dataset']}" for task in patching] if mode == "in_parallel" else []
        created += [Line(name, clip, (task,), kept) for name, task in zip(parts, patching, strict=False)]
        created.append(Line(clip, clip, patching, kept, parts=tuple(parts)))
    return {line.name: line for line in created}


def patched_models(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The models of a run that published figures may be of: OpenAI's CLIPs, each patched on one task alone.

    Returns:
        Per model its `line`, its `clip` (the backbone's name), `dataset` and `nomenclature` (the patching task), and
        whether it `teaches` the students of its CLIP.
    """
    sources, final = clips(config), final_lines(config)
    return [
        {
            "line": line.name,
            "clip": line.clip,
            "dataset": line.datasets[0],
            "nomenclature": nomenclature_of(line.patching[0]),
            "teaches": final[line.clip] == line.name,
        }
        for line in lines(config).values()
        if sources[line.clip][1] == "openai" and line.start is None and len(line.patching) == 1 and not line.parts
    ]


def final_lines(config: Mapping[str, Any]) -> dict[str, str]:
    """CLIP -> the line whose chosen model is its patched model."""
    return {line.clip: line.name for line in lines(config).values()}


def model_at(line: Line, alpha: float) -> str:
    """The name of a line's model among the encoders; the zero-shot model has one name on all lines of a CLIP."""
    name = line.clip if line.start is None and not alpha else line.name
    return str(EncoderName(name, alpha))
