"""The report's opening, made from the run's figures: two sentences, the key figures, what was run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bandbridge.settings import students, task_nomenclature, uses_scratch
from bandbridge.tables import Curve, dataset_title, headline, metric_name, number, short_title


@dataclass(frozen=True)
class KeyFigure:
    """A change worth a large numeral: from `before` to `after`, as they are shown."""

    label: str
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class Scores:
    """Headline scores (0..1) of a task's data set with the task's own prompts, by encoder."""

    title: str
    metric: str
    values: Mapping[str, float]


def task_scores(config: Mapping[str, Any], metrics: pd.DataFrame, role: str) -> Scores | None:
    """The scores of the 'patching' or the 'supported' task; None where the run has no such task."""
    task = config["tasks"][role]
    if not task:
        return None
    rows = headline(metrics, "zero-shot")
    rows = rows[(rows["dataset"] == task["dataset"]) & (rows["prompts"] == task["prompts"])]
    rows = rows[rows["nomenclature"] == task_nomenclature(config, role)]
    return Scores(
        short_title(task["dataset"]),
        metric_name(rows["metric"].iloc[0]),
        rows.drop_duplicates("encoder").set_index("encoder")["value"].to_dict(),
    )


def summary(config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve]) -> str:
    """Two sentences: what patching did to both tasks, and what the best aligned student makes of it."""
    patching, supported = (task_scores(config, metrics, role) for role in ("patching", "supported"))
    if not curves or patching is None:
        return "No model was patched in this run."
    before, after = _ends(curves[0])
    first = f"Patching with α = {curves[0].selected:g} {_changed(patching, before, after)}"
    first += f"; it {_changed(supported, before, after)}." if supported else "; no supported task was watched."
    return f"{first} {_student_sentence(config, patching, curves[0])}"


def _ends(curve: Curve) -> tuple[str, str]:
    """The encoders that a summary compares: zero-shot and patched."""
    return f"{curve.clip}@0", f"{curve.clip}@{curve.selected:g}"


def _aligned(config: Mapping[str, Any], patching: Scores, curve: Curve) -> dict[str, float]:
    """Scores of the students that were aligned to the model of a curve."""
    of_clip = [encoder for encoder, (_, clip) in students(config).items() if clip == curve.clip]
    return {encoder: patching.values[encoder] for encoder in of_clip if encoder in patching.values}


def _student_sentence(config: Mapping[str, Any], patching: Scores, curve: Curve) -> str:
    aligned = _aligned(config, patching, curve)
    if not aligned:
        return "No student was aligned."
    best = max(aligned, key=aligned.__getitem__)
    change = 100 * (aligned[best] - patching.values[_ends(curve)[1]])
    relation = f"{number(abs(change))} points {'above' if change > 0 else 'below'}"
    if number(change) == number(0):
        relation = "level with"
    which = f"The student {best}" if len(aligned) == 1 else f"The best of {len(aligned)} students, {best},"
    bands = len(config["align"]["students"][students(config)[best][0]]["bands"])
    return (
        f"{which} sees {bands} bands, was aligned to the patched model and "
        f"reaches {percent(aligned[best])} {patching.metric}, {relation} it."
    )


def _changed(scores: Scores, before: str, after: str) -> str:
    start, end = scores.values[before], scores.values[after]
    what = f"{scores.metric} on {scores.title}"
    if number(100 * (end - start)) == number(0):
        return f"left {what} at {percent(end)}"
    return f"{'raised' if end > start else 'lowered'} {what} from {percent(start)} to {percent(end)}"


def percent(value: float) -> str:
    """'38.0 %' of 0.38, with a space that does not break."""
    return f"{number(100 * value)}\N{NO-BREAK SPACE}%"


def key_figures(config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve]) -> list[KeyFigure]:
    """The summary's changes as numerals: both tasks from zero-shot to patched, and patched to each aligned student."""
    figures = []
    for curve in curves[:1]:
        before, after = _ends(curve)
        for role in ("patching", "supported"):
            if scores := task_scores(config, metrics, role):
                label = f"{role.capitalize()} task, zero-shot to patched: {scores.metric} on {scores.title}, %"
                figures.append(_key_figure(label, scores.values[before], scores.values[after]))
        patching = task_scores(config, metrics, "patching")
        if patching:
            for student, score in _aligned(config, patching, curve).items():
                label = f"Patched RGB model to aligned student {student}: {patching.metric} on {patching.title}, %"
                figures.append(_key_figure(label, patching.values[after], score))
    return figures


def _key_figure(label: str, before: float, after: float) -> KeyFigure:
    change = number(100 * (after - before), signed=True)
    return KeyFigure(label, number(100 * before), number(100 * after), f"{change} points")


def what_was_run(config: Mapping[str, Any]) -> str:
    """The run in a sentence or two, from the configuration alone."""
    finetune, align = config["finetune"], config["align"]
    start = "trained from scratch" if uses_scratch(config) else f"weights: {config['clip']['pretrained']}"
    text = (
        f"{config['clip']['name']} ({start}) was fine-tuned on RGB composites of "
        f"{dataset_title(config['tasks']['patching']['dataset'])} for {_epochs(finetune)} under its frozen text head, "
        f"and its image encoder interpolated at {len(config['paint']['alphas'])} values of α between zero-shot (0) and "
        "fine-tuned (1)."
    )
    students = [f"{name} ({student['backbone']})" for name, student in align["students"].items()]
    if students:
        text += (
            f" {'A multispectral student' if len(students) == 1 else 'Multispectral students'}, {', '.join(students)}, "
            f"then learned for {_epochs(align)} to place a sample's bands where the patched model places its composite."
        )
    return text


def _epochs(recipe: Mapping[str, Any]) -> str:
    return "one epoch" if recipe["epochs"] == 1 else f"{recipe['epochs']:,} epochs"


def scratch_note(config: Mapping[str, Any]) -> str:
    """What must be known of a CLIP that was not pretrained; empty for one that was."""
    if not uses_scratch(config):
        return ""
    return (
        "The CLIP of this run was trained from scratch, in minutes, on the images of "
        f"{dataset_title(config['clip']['scratch']['dataset'])}, paired with captions made of their class names. It "
        "stands in for OpenAI's weights; nothing else differs from a run that starts from those. The figures show that "
        "the workflow does what it should, not how good the method is."
    )
