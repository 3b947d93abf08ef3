"""The beginning of the report: two sentences, the key figures, what was run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bandbridge.base.alphas import alpha_name
from bandbridge.base.paths import zero_shot
from bandbridge.catalogue.text_towers import load_text_tower
from bandbridge.catalogue.titles import dataset_title, short_title
from bandbridge.config.lines import final_lines, lines, model_at, nomenclature_of, tasks
from bandbridge.config.networks import clips, locked_tower, students, uses_scratch
from bandbridge.reporting.tables.curves import Curve
from bandbridge.reporting.tables.model import SIGNIFICANT, metric_name, number, percent, rank_value
from bandbridge.reporting.tables.view import headline

OVER_ZERO_SHOT, OVER_PATCHED = "gain", "gain_over_patched"
MOST_STUDENTS = 6


@dataclass(frozen=True)
class Gain:
    """A paired difference, 0..1, with its interval and two-sided p value; None if it was not measured."""

    value: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def span(self) -> str:
        """'+1.2 to +6.1', in points; empty without an interval."""
        if self.low is None or self.high is None:
            return ""
        return f"{number(100 * self.low, signed=True)} to {number(100 * self.high, signed=True)}"

    @property
    def verdict(self) -> str:
        """The p value, and a comment if it is not significant; empty without one."""
        if self.p is None:
            return ""
        return f"p {p_text(self.p)}" if self.p < SIGNIFICANT else f"p {p_text(self.p)}: chance could do as much"


@dataclass(frozen=True)
class KeyFigure:
    """A change shown in large type: from `before` to `after`, as text."""

    label: str
    before: str
    after: str
    change: str
    interval: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Scores:
    """Headline scores (0..1) of a task's data set with the task's prompts, by encoder, and the gains among them."""

    title: str
    metric: str
    values: Mapping[str, float]
    gains: Mapping[tuple[str, str], Gain] = field(default_factory=dict)

    def gain(self, kind: str, after: str, before: str) -> Gain:
        """The measured gain of an encoder; the difference of the two scores if none was measured."""
        return self.gains.get((kind, after)) or Gain(self.values[after] - self.values[before])


def task_scores(metrics: pd.DataFrame, task: Mapping[str, Any]) -> Scores | None:
    """The scores of a task; None if the run has none."""
    rows = headline(metrics, "zero-shot")
    rows = rows[of_task(rows, task)]
    if rows.empty:
        return None
    metric, split = rows["metric"].iloc[0], rows["split"].iloc[0]
    of_split = metrics[(metrics["task"] == "zero-shot") & (metrics["split"] == split) & (metrics["class"] == "")]
    scored = of_split[of_task(of_split, task)].drop_duplicates(["encoder", "metric"]).set_index(["encoder", "metric"])
    gains = {}
    for kind in (OVER_ZERO_SHOT, OVER_PATCHED):
        name = f"{metric}_{kind}"
        for encoder in scored.index[scored.index.get_level_values("metric") == name].get_level_values("encoder"):
            row = scored.loc[(encoder, name)]
            ends = (_defined(row["ci_low"]), _defined(row["ci_high"]))
            p = _defined(scored["value"].get((encoder, f"{name}_p")))
            gains[kind, str(encoder)] = Gain(row["value"], *ends, p)
    once = rows.drop_duplicates("encoder")
    values = dict(zip(map(str, once["encoder"]), once["value"], strict=True))
    return Scores(short_title(task["dataset"]), metric_name(metric), values, gains)


def of_task(rows: pd.DataFrame, task: Mapping[str, Any]) -> "pd.Series[bool]":
    """Which rows are of a task's data set, nomenclature and prompts."""
    same: pd.Series[bool] = (rows["dataset"] == task["dataset"]) & (rows["prompts"] == task["prompts"])
    return same & (rows["nomenclature"] == nomenclature_of(task))


def _defined(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


# --- the sentences ---------------------------------------------------------------------------------------------------


def summary(config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve]) -> str:
    """Two sentences: what patching did to both tasks, and how the best aligned student compares."""
    curve = main_curve(config, curves)
    patching, supported = (_roles(config, metrics, role) for role in ("patching", "supported"))
    if curve is None or not patching:
        return " ".join(filter(None, ["No model was patched in this run.", _alignment_alone(config, metrics)]))
    ends = ends_of(config, curve)
    level = f"{100 * config['evaluate']['bootstrap']['level']:g}\N{NO-BREAK SPACE}%"
    which = f" of {curve.clip}" if len(final_lines(config)) > 1 else ""
    first = f"Patching{which} with α = {alpha_name(curve.selected)} "
    first += " and ".join(_changed(scores, ends, level if scores is patching[0] else "") for scores in patching)
    kept = " and ".join(_changed(scores, ends, "") for scores in supported)
    first += f"; it {kept}." if kept else "; there is no supported task."
    line = lines(config).get(curve.clip)
    students_of = _aligned(config, patching[0], line.clip if line else curve.clip)
    return f"{first} {_student_sentence(config, patching[0], students_of, 'the patched model', ends[1])}"


def _alignment_alone(config: Mapping[str, Any], metrics: pd.DataFrame) -> str:
    """The sentence about students of an unpatched CLIP; empty if there are none."""
    clip = next(iter(clips(config)))
    named = [config["align"]["task"]] if config["align"].get("task") else []
    for task in (*named, *tasks(config, "patching"), *tasks(config, "supported")):
        scores = task_scores(metrics, task)
        if scores and zero_shot(clip) in scores.values and _aligned(config, scores, clip):
            return _student_sentence(config, scores, _aligned(config, scores, clip), clip, zero_shot(clip))
    return ""


def main_curve(config: Mapping[str, Any], curves: Sequence[Curve]) -> Curve | None:
    """The curve of the first CLIP's patched model: the last one if tasks are patched one after another."""
    final = set(final_lines(config).values())
    return next((curve for curve in curves if curve.clip in final), curves[0] if curves else None)


def ends_of(config: Mapping[str, Any], curve: Curve) -> tuple[str, str]:
    """The encoders that a summary compares.

    Returns:
        Names of zero-shot CLIP and of the patched model.
    """
    line = lines(config).get(curve.clip)
    if line is None:
        return zero_shot(curve.clip), curve.chosen
    return zero_shot(line.clip), model_at(line, curve.selected)


def _roles(config: Mapping[str, Any], metrics: pd.DataFrame, role: str) -> list[Scores]:
    every = (task_scores(metrics, task) for task in tasks(config, role))
    return [scores for scores in every if scores is not None]


def _aligned(config: Mapping[str, Any], scores: Scores, clip: str) -> dict[str, float]:
    """Scores of the students whose teacher is a CLIP, zero-shot or patched."""
    of_clip = [encoder for encoder, (_, teacher) in students(config).items() if teacher == clip]
    return {encoder: scores.values[encoder] for encoder in of_clip if encoder in scores.values}


def _student_sentence(
    config: Mapping[str, Any], scores: Scores, aligned: Mapping[str, float], teacher: str, encoder: str
) -> str:
    """The best student against its teacher, named `teacher` in the sentence and `encoder` in the metrics."""
    if not aligned:
        return "No student was aligned."
    best = max(aligned, key=lambda student: rank_value(aligned[student]))
    gain = scores.gain(OVER_PATCHED, best, encoder)
    points = 100 * gain.value
    relation = f"{number(abs(points))} points {'above' if points > 0 else 'below'} it"
    if number(points) == number(0):
        relation = "level with it"
    which = f"The student {best}" if len(aligned) == 1 else f"The best of {len(aligned)} students, {best},"
    bands = len(config["align"]["students"][students(config)[best][0]]["bands"])
    return (
        f"{which} takes {bands} bands, was aligned to {teacher} and "
        f"reaches {percent(aligned[best])} {scores.metric}, {relation}{_aside(gain, change=False)}."
    )


def _changed(scores: Scores, ends: tuple[str, str], level: str) -> str:
    """The change of a task's score, with its interval; `level` is the interval's, stated once in the summary."""
    before, after = ends
    start, end = scores.values[before], scores.values[after]
    gain = scores.gain(OVER_ZERO_SHOT, after, before)
    what = f"{scores.metric} on {scores.title}"
    if number(100 * (end - start)) == number(0):
        return f"left {what} at {percent(end)}"
    text = f"{'raised' if end > start else 'lowered'} {what} from {percent(start)} to {percent(end)}"
    return text + _aside(gain, level)


def _aside(gain: Gain, level: str = "", change: bool = True) -> str:
    """' (+3.7 points, 95 % interval +1.2 to +6.1)'; empty if the difference was not measured."""
    if not gain.span:
        return ""
    parts = [f"{number(100 * gain.value, signed=True)} points"] if change else []
    parts.append(f"{f'{level} ' if level else ''}interval {gain.span}")
    if gain.p is not None and gain.p >= SIGNIFICANT:
        parts.append("which chance could do")
    return f" ({', '.join(parts)})"


def p_text(p: float) -> str:
    """'= 0.012', '< 0.001'."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


# --- the key figures -------------------------------------------------------------------------------------------------


def key_figures(config: Mapping[str, Any], metrics: pd.DataFrame, curves: Sequence[Curve]) -> list[KeyFigure]:
    """The summary's changes in large type: all tasks from zero-shot to patched, and patched to each aligned student.

    Of more than MOST_STUDENTS students, only those with the best scores.
    """
    curve = main_curve(config, curves)
    if curve is None:
        return []
    before, after = ends_of(config, curve)
    figures = []
    for role in ("patching", "supported"):
        for scores in _roles(config, metrics, role):
            label = f"{role.capitalize()} task, zero-shot to patched: {scores.metric} on {scores.title}, %"
            gain = scores.gain(OVER_ZERO_SHOT, after, before)
            figures.append(_key_figure(label, scores.values[before], scores.values[after], gain))
    for scores in _roles(config, metrics, "patching")[:1]:
        line = lines(config).get(curve.clip)
        aligned = _aligned(config, scores, line.clip if line else curve.clip)
        best = sorted(aligned, key=lambda student: -rank_value(aligned[student]))[:MOST_STUDENTS]
        for student in (student for student in aligned if student in best):
            label = f"Patched RGB model to aligned student {student}: {scores.metric} on {scores.title}, %"
            gain = scores.gain(OVER_PATCHED, student, after)
            figures.append(_key_figure(label, scores.values[after], aligned[student], gain))
    return figures


def _key_figure(label: str, before: float, after: float, gain: Gain) -> KeyFigure:
    change = number(100 * (after - before), signed=True)
    return KeyFigure(label, number(100 * before), number(100 * after), f"{change} points", gain.span, gain.verdict)


# --- what was run ----------------------------------------------------------------------------------------------------


def what_was_run(config: Mapping[str, Any]) -> str:
    """The run in one or two sentences, from the configuration."""
    finetune, align = config["finetune"], config["align"]
    patched_on = " and ".join(dataset_title(task["dataset"]) for task in tasks(config, "patching"))
    names = " and ".join(name for name, _ in clips(config).values())
    sources = ", ".join(dict.fromkeys(source for _, source in clips(config).values()))
    start = "trained from scratch" if uses_scratch(config) else f"weights: {sources}"
    text = (
        f"{names} ({start}) was fine-tuned on RGB composites of {patched_on} for {_epochs(finetune)} under its "
        "frozen text head, "
        f"and its image encoder interpolated at {len(config['paint']['alphas'])} values of α between zero-shot (0) and "
        "fine-tuned (1)."
    )
    learners = [f"{name} ({student['backbone']})" for name, student in align["students"].items()]
    if learners:
        listed = ", ".join(learners[:MOST_STUDENTS])
        more = len(learners) - MOST_STUDENTS
        listed += f" and {more} more" if more > 0 else ""
        text += (
            f" {'A multispectral student' if len(learners) == 1 else 'Multispectral students'}, {listed}, "
            f"then learned for {_epochs(align)} to place a sample's bands where the patched model places its composite."
        )
    return text


def _epochs(recipe: Mapping[str, Any]) -> str:
    return "one epoch" if recipe["epochs"] == 1 else f"{recipe['epochs']:,} epochs"


def _tower_note(config: Mapping[str, Any]) -> str:
    name = locked_tower(config)
    if name is None:
        return ""
    return (
        f" Its text encoder, {load_text_tower(name).title}, had been trained on sentences and was not changed, so "
        "that words mean to this CLIP what they mean to that encoder."
    )


def scratch_note(config: Mapping[str, Any]) -> str:
    """A note about a CLIP that was not pretrained; empty for a pretrained one."""
    if not uses_scratch(config):
        return ""
    return (
        "The CLIP of this run was trained from scratch, in minutes, on the images of "
        f"{dataset_title(config['clip']['scratch']['dataset'])}, paired with captions made of their class names."
        f"{_tower_note(config)} It "
        "replaces OpenAI's weights; nothing else differs from a run that starts from those. The figures show that the "
        "workflow works as intended, not how good the method is."
    )
