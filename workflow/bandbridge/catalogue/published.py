"""Published figures, the data of workflow/published/, shown beside a run's own and marked as such."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue.datasets import read_yaml

MARKS = ("†", "‡", "§", "¶")
DIFFERENT = "Published figures are not of this run: their splits, prompts and settings may differ from this run's."


@dataclass(frozen=True)
class Figure:
    """One published number: as printed, in percent (a cosine as it is).

    Attributes:
        model: what was scored, in words.
        clip: the backbone; empty where the source names none.
        value, gain: the score, or its gain in points over zero-shot CLIP; one of them may be None.
        source, where: the publication, and where in it, or that another publication quotes it.
    """

    task: str
    dataset: str
    nomenclature: str
    modality: str
    metric: str
    model: str
    clip: str
    value: float | None
    gain: float | None
    source: str
    where: str

    @property
    def name(self) -> str:
        """'Patched, ViT-B-32 ‡'."""
        what = f"{self.model}, {self.clip}" if self.clip else self.model
        return f"{what} {self.mark}"

    @property
    def mark(self) -> str:
        """The mark that refers to its source, one for each of workflow/published/."""
        origins = list(dict.fromkeys(figure.origin for figure in all_figures()))
        return MARKS[origins.index(self.origin) % len(MARKS)]

    @property
    def origin(self) -> str:
        """'Zavras et al. 2025, abstract'; 'second hand' where others quote it."""
        return f"{self.source}, {self.where}"


@cache
def all_figures() -> tuple[Figure, ...]:
    """Every figure of workflow/published/*.yaml, in the order of the files."""
    return tuple(
        Figure(
            task=entry["task"],
            dataset=entry["dataset"],
            nomenclature=entry.get("nomenclature", ""),
            modality=entry.get("modality", ""),
            metric=entry["metric"],
            model=entry["model"],
            clip=entry.get("clip", ""),
            value=entry.get("value"),
            gain=entry.get("gain"),
            source=content["source"],
            where=content["where"],
        )
        for path in sorted((WORKFLOW / "published").glob("*.yaml"))
        for content in [read_yaml("published", path.stem)]
        for entry in content["figures"]
    )


def figures(task: str, clips: Iterable[str]) -> tuple[Figure, ...]:
    """The figures of a task that have no particular backbone, or one of these CLIPs."""
    backbones = {_backbone(clip) for clip in clips}
    return tuple(
        figure
        for figure in all_figures()
        if figure.task == task and (not figure.clip or _backbone(figure.clip) in backbones)
    )


def _backbone(clip: str) -> str:
    """'vit-b-32' of 'ViT-B-32-quickgelu' and of 'ViT-B/32'."""
    return clip.lower().replace("/", "-").removesuffix("-quickgelu")


def published_note(figures_in_table: Sequence[Figure]) -> str:
    """The note that explains the marks of these figures; empty for none."""
    if not figures_in_table:
        return ""
    origins = dict.fromkeys((figure.mark, figure.origin) for figure in figures_in_table)
    return f"{' '.join(f'{mark} {origin}.' for mark, origin in origins)} {DIFFERENT}"
