"""Published figures: in the cells of the run's own models, and for models of others as rows of their own."""

from collections.abc import Hashable, Iterable, Mapping, Sequence

from bandbridge.base.paths import zero_shot
from bandbridge.catalogue.published import Figure, figures, marks_of, same_backbone
from bandbridge.reporting.tables.model import Cell, Quote
from bandbridge.reporting.tables.view import View, line_of

Place = tuple[Figure, Hashable]


def quoted_encoders(view: View, figure: Figure) -> list[str]:
    """The encoders in the view that a figure is of: the same role, backbone and patching task.

    A student must also have the network, the number of bands and the kind of first weights that are known of the
    figure's, which is not of a student of Sentinel-1 or RGB. No encoder for a model of others.
    """
    role = figure.model.lower()
    models = [model for model in view.patched if figure.clip and same_backbone(model["clip"], figure.clip)]
    if figure.patched_on:
        models = [model for model in models if (model["dataset"], model["nomenclature"]) == figure.patched_on]
    in_role = [encoder for encoder in view.names if role in view.roles[encoder]]
    if role == "zero-shot":
        return [encoder for encoder in in_role if encoder in {zero_shot(model["clip"]) for model in models}]
    if role == "patched":
        return [encoder for encoder in in_role if line_of(encoder) in {model["line"] for model in models}]
    teachers = {model["clip"] for model in models if model["teaches"]}
    return [
        encoder
        for encoder in in_role
        if view.clips[encoder] in teachers and _is_of_student(figure, view.students.get(encoder, {}))
    ]


def _is_of_student(figure: Figure, student: Mapping[str, str]) -> bool:
    """Whether a figure may be of a student with these facts, as from `ablation_facts`; one that is unknown may hold."""
    # '13 bands', or the names of a few.
    bands = student.get("Bands", "").removesuffix(" bands")
    count = int(bands) if bands.isdigit() else len(bands.split())
    return (
        student.get("Backbone", figure.network).startswith(figure.network)
        and (not bands or figure.bands in (None, count))
        and not (figure.pretrained and student.get("Pretrained") == "none")
    )


def figures_of(view: View, tasks: Iterable[str]) -> list[Figure]:
    """The published figures of these tasks that a run of these models may show."""
    return [figure for task in dict.fromkeys(tasks) for figure in figures(task, view.patched)]


def quotes_by_place(places: Sequence[Place], marks: Mapping[str, str]) -> dict[Hashable, tuple[Quote, ...]]:
    """Place in a table -> the quotes in its cell."""
    quotes: dict[Hashable, tuple[Quote, ...]] = {}
    for figure, place in places:
        quote = Quote(figure.value, figure.gain, marks[figure.provenance], figure.provenance)
        quotes[place] = (*quotes.get(place, ()), quote)
    return quotes


def shown_figures(places: Sequence[Place], others: Sequence[Figure]) -> tuple[list[Figure], dict[str, str]]:
    """The distinct figures of a table, and the mark of each provenance."""
    shown = list(dict.fromkeys([*(figure for figure, _ in places), *others]))
    return shown, marks_of(shown)


def published_cell(figure: Figure) -> Cell:
    """A published figure in a row of its own: a score, or only a gain."""
    return Cell(figure.value, gain=figure.gain)
