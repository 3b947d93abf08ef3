"""Tables of scores, one row per model: zero-shot, linear and k-NN probes, few-shot, and further metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bandbridge.base.paths import zero_shot
from bandbridge.catalogue.published import Figure, published_note
from bandbridge.reporting.tables.model import (
    SIGNIFICANT,
    STAR,
    Cell,
    Column,
    Line,
    Table,
    main_metric,
    metric_name,
    scaled,
    score_cell,
    with_best,
)
from bandbridge.reporting.tables.quotes import (
    figures_of,
    published_cell,
    quoted_encoders,
    quotes_by_place,
    shown_figures,
)
from bandbridge.reporting.tables.view import View, grouped, headline, left_out_counts, sample_counts

DETAILS = {
    "top5_accuracy": "top-5",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "micro_map": "micro mAP",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "ece": "ECE",
}
SIGNIFICANCE = (
    f"{STAR} p < {SIGNIFICANT:g} for the gain over zero-shot CLIP (two-sided, paired half-samples, each test by "
    "itself)."
)


@dataclass(frozen=True)
class Scores:
    """A column, the rows that it shows, and their tested gains: encoder -> (gain, p), as fractions."""

    column: Column
    task: str
    dataset: str
    nomenclature: str
    metric: str
    rows: pd.DataFrame
    tested: Mapping[str, tuple[float | None, float | None]]
    modality: str = ""


def classification_table(view: View, published: bool = True, notes: Sequence[str] = ()) -> Table:
    """Zero-shot scores: one row per model, one column per data set, nomenclature and prompt set.

    Args:
        view: the data, and how to display it.
        published: whether to add published figures.
        notes: what the run leaves out, in sentences.
    """
    return model_table(
        "classification",
        "Zero-shot classification, in %, with intervals and, signed, the gain over zero-shot CLIP in points.",
        view,
        zero_shot_scores(view),
        published,
        notes,
    )


def linear_probe_table(view: View, published: bool = True) -> Table:
    """Linear and k-NN probes on frozen embeddings: one row per model, columns per data set and nomenclature."""
    scores = [*probe_scores(view, "linear-probe"), *probe_scores(view, "knn", label="k-NN ")]
    both = len({part.task for part in scores}) > 1
    datasets = [part.dataset for part in scores]
    scores.sort(key=lambda part: datasets.index(part.dataset))
    return model_table(
        "linear_probe",
        f"Linear probe{' and k-NN' if both else ''} on frozen embeddings, in %, with intervals and, signed, "
        "the gain over zero-shot CLIP's embeddings in points.",
        view,
        scores,
        published,
    )


def few_shot_table(view: View) -> Table:
    """Linear probes fitted on k samples per class: one row per model, one column per data set and k."""
    groups = grouped(view.task("few-shot"), "dataset", "nomenclature", "metric")
    scores = []
    for dataset, nomenclature, metric in sorted_by_k(list(groups)):
        base, _, k = metric.partition("@")
        key = "/".join(filter(None, [dataset, nomenclature, metric]))
        detail = ", ".join(filter(None, [metric_name(base), nomenclature]))
        column = Column(view.titles[dataset], f"k = {k}", key, detail, decimals=view.decimals)
        chosen = groups[dataset, nomenclature, metric]
        scores.append(Scores(column, "few-shot", dataset, nomenclature, metric, chosen, {}))
    caption = (
        "Linear probe on k samples per class, in %: the mean and the interval over repeated draws and, signed, the "
        "gain over zero-shot CLIP's embeddings in points."
    )
    return model_table("few_shot", caption, view, scores, published=False)


def details_table(view: View) -> Table:
    """Further metrics of zero-shot classification: top-5, balanced accuracy, micro averages, F1, ECE."""
    rows = view.task("zero-shot")
    headlines = {
        dataset: main_metric(dataset, group["metric"]) for (dataset,), group in grouped(rows, "dataset").items()
    }
    beside = rows["metric"] != rows["dataset"].map(headlines)
    rows = rows[(rows["split"] == "test") & rows["metric"].isin(DETAILS) & beside]
    measured = set(rows["metric"])
    columns = tuple(
        Column("", label, metric, smaller_is_better=metric == "ece", decimals=view.decimals)
        for metric, label in DETAILS.items()
        if metric in measured
    )
    lines = lines_of_models(view, rows, columns)
    return Table(
        "details",
        "Zero-shot classification by other metrics than the headline, in %, on the test splits: accuracy of the "
        "likeliest class and within the five likeliest, balanced accuracy (the mean of the classes' accuracies), "
        "micro-averaged precision, F1 at the thresholds that are best on validation data, expected calibration error.",
        ("Model", "Data set", "Classes", "Prompts"),
        columns if lines else (),
        tuple(lines),
    )


def zero_shot_scores(view: View) -> list[Scores]:
    """One column per data set, nomenclature and prompt set."""
    every = view.task("zero-shot")
    rows = headline(every, "zero-shot")
    gains = every[every["metric"].str.contains("_gain", regex=False)]
    same = ("dataset", "nomenclature", "prompts")
    tested = grouped(gains, *same)
    parts = []
    for (dataset, nomenclature, prompts, metric), chosen in grouped(rows, *same, "metric").items():
        key = "/".join(filter(None, [dataset, nomenclature, prompts, metric]))
        detail = ", ".join(filter(None, [nomenclature, prompts]))
        column = Column(view.titles[dataset], metric_name(metric), key, detail, decimals=view.decimals)
        of_column = tested_gains(tested.get((dataset, nomenclature, prompts), gains.iloc[:0]), f"{metric}_gain")
        parts.append(Scores(column, "zero-shot", dataset, nomenclature, metric, chosen, of_column))
    return parts


def probe_scores(view: View, task: str, label: str = "") -> list[Scores]:
    """One column per data set and nomenclature of a probe."""
    rows = headline(view.task(task), task)
    parts = []
    for (dataset, nomenclature, metric), chosen in grouped(rows, "dataset", "nomenclature", "metric").items():
        key = "/".join(filter(None, [dataset, nomenclature, metric, "knn" if task == "knn" else ""]))
        column = Column(
            view.titles[dataset], f"{label}{metric_name(metric)}", key, nomenclature, decimals=view.decimals
        )
        parts.append(Scores(column, task, dataset, nomenclature, metric, chosen, {}))
    return parts


def tested_gains(rows: pd.DataFrame, metric: str) -> dict[str, tuple[float | None, float | None]]:
    """Encoder -> (gain, p) of `<metric>` and `<metric>_p` rows, as fractions."""
    values = {name: rows[rows["metric"] == name].set_index("encoder")["value"] for name in (metric, f"{metric}_p")}
    gains, ps = values[metric].to_dict(), values[f"{metric}_p"].to_dict()
    return {str(encoder): (gain, ps.get(encoder)) for encoder, gain in gains.items()}


def sorted_by_k(keys: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Keys that end in 'metric@k', sorted by k among those with the same beginning."""
    first = {key[:-1]: index for index, key in reversed(list(enumerate(keys)))}
    return sorted(keys, key=lambda key: (first[key[:-1]], int(key[-1].partition("@")[2] or 0)))


def score_cells(scores: Scores, encoders: Sequence[str], only_tested: bool = False) -> list[Cell]:
    """One cell per encoder: its score, its interval, its tested gain, or its gain over zero-shot CLIP of the same line.

    With `only_tested`, a gain that was not tested is left out.
    """
    by_encoder = {str(row["encoder"]): row for row in scores.rows.to_dict("records")}
    bases = {row["clip"]: row["value"] for encoder, row in by_encoder.items() if encoder == zero_shot(row["clip"])}
    # With a single CLIP, encoders without a line are compared with it as well.
    only_base = next(iter(bases.values())) if len(bases) == 1 else None
    cells = []
    for encoder in encoders:
        if encoder not in by_encoder:
            cells.append(Cell())
            continue
        row = by_encoder[encoder]
        gain, p = scores.tested.get(encoder, (None, None))
        base = bases.get(row["clip"], only_base)
        if gain is None and base is not None and not only_tested and encoder != zero_shot(row["clip"]):
            gain = row["value"] - base
        cells.append(replace(score_cell(row), gain=scaled(gain), p=p))
    return cells


def lines_of_models(view: View, rows: pd.DataFrame, columns: Sequence[Column], *further: str) -> list[Line]:
    """One row per model, data set, class list and prompt set, and what `further` columns of `rows` tell apart.

    The best is bold among those with the same data set, class list and prompts.
    """
    rows = rows[rows["metric"].isin([column.key for column in columns])]
    keys = ("dataset", "nomenclature", "prompts")
    lines: list[Line] = []
    for together in grouped(rows, *keys).values():
        models = []
        for (dataset, *others), scored in grouped(together, *keys, *further).items():
            of_encoder = grouped(scored, "encoder")
            for encoder, name in view.of(scored).items():
                cells = {row["metric"]: score_cell(row) for row in of_encoder[encoder,].to_dict("records")}
                models.append(((name, view.titles[dataset], *others), cells))
        grid = [with_best([cells.get(column.key, Cell()) for _, cells in models], column) for column in columns]
        lines += [Line(texts, tuple(cells[index] for cells in grid)) for index, (texts, _) in enumerate(models)]
    return lines


def model_table(
    name: str, caption: str, view: View, scores: Sequence[Scores], published: bool, further: Sequence[str] = ()
) -> Table:
    """One row per model and one column per element of `scores`, with gains and published figures in their cells.

    Args:
        name: of the table.
        caption: its caption.
        view: the data, and how to display it.
        scores: the columns.
        published: whether to add published figures.
        further: sentences for the end of the note.
    """
    rows = pd.concat([part.rows for part in scores], ignore_index=True) if scores else view.metrics.iloc[:0]
    names = view.of(rows)
    grid = [with_best(score_cells(part, list(names)), part.column) for part in scores]
    figures = figures_of(view, [part.task for part in scores]) if published and names else []
    places = [
        (figure, (encoder, index))
        for index, part in enumerate(scores)
        for figure in figures
        if _belongs(figure, part)
        for encoder in quoted_encoders(view, figure)
        if encoder in set(part.rows["encoder"])
    ]
    others = [figure for figure in figures if not figure.clip and any(_belongs(figure, part) for part in scores)]
    shown, marks = shown_figures(places, others)
    quotes = quotes_by_place(places, marks)
    lines = [
        Line(
            (model,),
            tuple(replace(cells[row], quotes=quotes.get((encoder, index), ())) for index, cells in enumerate(grid)),
        )
        for row, (encoder, model) in enumerate(names.items())
    ]
    notes = [
        SIGNIFICANCE if any(cell.mark for line in lines for cell in line.cells) else "",
        sample_counts(view, rows),
        left_out_counts(view, rows),
        published_note(shown),
        *(further if lines else ()),
    ]
    return Table(
        name,
        caption,
        ("Model",),
        tuple(part.column for part in scores) if lines else (),
        (*lines, *_lines_of_others(others, scores, marks)),
        " ".join(filter(None, notes)),
    )


def _belongs(figure: Figure, part: Scores) -> bool:
    return figure.column == (part.task, part.dataset, part.nomenclature, part.modality, part.metric)


def _lines_of_others(others: Sequence[Figure], scores: Sequence[Scores], marks: Mapping[str, str]) -> list[Line]:
    lines = []
    for model, provenance in dict.fromkeys((figure.model, figure.provenance) for figure in others):
        of_model = [figure for figure in others if (figure.model, figure.provenance) == (model, provenance)]
        cells = [
            next((published_cell(figure) for figure in of_model if _belongs(figure, part)), Cell()) for part in scores
        ]
        lines.append(Line((f"{model} {marks[provenance]}",), tuple(cells), source=provenance))
    return lines
