"""Published figures, the data of workflow/published/, shown beside a run's own and marked as such."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue.datasets import read_yaml

MARKS = ("†", "‡", "§", "¶")
CERTAINTY = {"printed": "", "code": "read off the authors' code", "second-hand": "second hand"}
IN_WORDS = {"clip": "backbone", "patched_on": "patching task"}
INFERRED = "What is inferred is that of the authors' configuration files; the source does not state it."
DIFFERENT = "Published figures are not of this run: their splits, prompts and settings may differ from this run's."


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One published number: as printed, in percent (a cosine as it is).

    Attributes:
        model: what was scored, in words: 'Zero-shot', 'Patched', 'Aligned', or a model of others.
        clip: the backbone, with OpenAI's weights; empty for a model that is not made from CLIP here.
        patched_on: data set and nomenclature of the task that its model was patched on; None for one that is not.
        alpha: of a patched model, if the source states it.
        network: the beginning of the timm name of a student's network, if the source states it.
        bands: how many a student sees; None for any number.
        pretrained: whether a student started from trained weights; False for any start.
        inferred: those of `clip` and `patched_on` that the source does not state.
        certainty: a key of CERTAINTY.
        value, gain: the score, or its gain in points over zero-shot CLIP; one of them may be None.
        source, where: the publication, and where in it, or who quotes it.
    """

    task: str
    dataset: str
    nomenclature: str = ""
    modality: str = ""
    metric: str
    model: str
    clip: str = ""
    patched_on: tuple[str, str] | None = None
    alpha: float | None = None
    network: str = ""
    bands: int | None = None
    pretrained: bool = False
    inferred: tuple[str, ...] = ()
    certainty: str
    value: float | None = None
    gain: float | None = None
    source: str
    where: str

    @property
    def origin(self) -> str:
        """'Zavras et al. 2025, abstract', 'Zavras et al. 2025, second hand, as quoted by others'."""
        return ", ".join(filter(None, [self.source, CERTAINTY[self.certainty], self.where]))

    @property
    def provenance(self) -> str:
        """Its origin, model and what is inferred: 'Zavras et al. 2025, abstract; inferred: backbone, patching task'."""
        inferred = ", ".join(IN_WORDS[key] for key in self.inferred)
        parts = [
            self.origin,
            "" if self.alpha is None else f"at α = {self.alpha:g}",
            f"with {self.network}" if self.network else "",
            f"inferred: {inferred}" if inferred else "",
        ]
        return "; ".join(filter(None, parts))

    @property
    def column(self) -> tuple[str, ...]:
        """What is measured, whatever the model."""
        return self.task, self.dataset, self.nomenclature, self.modality, self.metric


@cache
def all_figures() -> tuple[Figure, ...]:
    """Every figure of workflow/published/*.yaml, in the order of the files."""
    return tuple(
        Figure(
            **{**entry, "patched_on": _task(entry.get("patched_on")), "inferred": tuple(entry.get("inferred", ()))},
            **{key: content[key] for key in ("certainty", "source", "where")},
        )
        for path in sorted((WORKFLOW / "published").glob("*.yaml"))
        for content in [read_yaml("published", path.stem)]
        for entry in content["figures"]
    )


def _task(stated: Mapping[str, str] | None) -> tuple[str, str] | None:
    return (stated["dataset"], stated["nomenclature"]) if stated else None


def figures(task: str, patched: Sequence[Mapping[str, Any]]) -> tuple[Figure, ...]:
    """The figures of a task for these models: with the same backbone, and patched on the same task.

    A figure of another model that the source compares with its own is included with those of the same data set and
    metric.

    Args:
        task: of metrics.csv.
        patched: a run's patched models, each with its `clip` (the backbone), `dataset` and `nomenclature` (the task).
    """
    backbones = {_backbone(model["clip"]) for model in patched}
    models = {(_backbone(model["clip"]), model["dataset"], model["nomenclature"]) for model in patched}
    of_task = [figure for figure in all_figures() if figure.task == task]
    matching = {
        figure
        for figure in of_task
        if figure.clip
        and (
            (_backbone(figure.clip), *figure.patched_on) in models
            if figure.patched_on
            else _backbone(figure.clip) in backbones
        )
    }
    columns = {figure.column for figure in matching}
    return tuple(figure for figure in of_task if figure in matching or (not figure.clip and figure.column in columns))


def same_backbone(one: str, other: str) -> bool:
    """Whether two names are of one architecture, whatever its activation."""
    return _backbone(one) == _backbone(other)


def _backbone(clip: str) -> str:
    """'vit-b-32' of 'ViT-B-32-quickgelu' and of 'ViT-B/32'."""
    return clip.lower().replace("/", "-").removesuffix("-quickgelu")


def marks_of(figures_in_table: Sequence[Figure]) -> dict[str, str]:
    """Provenance -> its mark in a table: †, ‡, §, ¶, then each twice."""
    origins = dict.fromkeys(figure.provenance for figure in figures_in_table)
    return {origin: MARKS[number % len(MARKS)] * (1 + number // len(MARKS)) for number, origin in enumerate(origins)}


def published_note(figures_in_table: Sequence[Figure]) -> str:
    """The note that explains the marks of these figures; empty for none."""
    if not figures_in_table:
        return ""
    sentences = [f"{mark} {origin}." for origin, mark in marks_of(figures_in_table).items()]
    inferred = any(figure.inferred for figure in figures_in_table)
    return " ".join([*sentences, *([INFERRED] if inferred else []), DIFFERENT])
