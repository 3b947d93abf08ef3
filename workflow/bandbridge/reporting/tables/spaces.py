"""Tables of the embedding space: retrieval across modalities, by text and by words, and the modality gap."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from bandbridge.catalogue.published import published_note
from bandbridge.reporting.tables.model import (
    Cell,
    Column,
    Line,
    Table,
    metric_name,
    modality_name,
    scaled,
    with_best,
)
from bandbridge.reporting.tables.quotes import (
    figures_of,
    published_cell,
    quoted_encoders,
    quotes_by_place,
    shown_figures,
)
from bandbridge.reporting.tables.scores import Scores, lines_of_models, model_table
from bandbridge.reporting.tables.view import View, distinct, grouped, sample_counts

RANKED = {"recall@": "Recall, %", "precision@": "Precision, %", "label_map@": "Shared labels, %"}
GAP_GROUPS = {
    ("rgb-s2", "centroid_distance"): ("RGB and bands", "centroid distance"),
    ("rgb-s2", "alignment"): ("RGB and bands", "alignment"),
    ("rgb-s2", "cosine"): ("RGB and bands", "cosine"),
    ("rgb", "uniformity"): ("Uniformity", "RGB"),
    ("s2", "uniformity"): ("Uniformity", "bands"),
    ("rgb-text", "centroid_distance"): ("RGB and text", "centroid distance"),
    ("rgb", "cosine_to_zero_shot"): ("Against zero-shot", "cosine"),
}


def retrieval_table(view: View, published: bool = True) -> Table:
    """Retrieval between an RGB composite and all bands: one row per model; columns by data set, direction, measure."""
    rows = view.task("retrieval")
    rows = rows[rows["split"] == "test"]
    measures = _ranked_columns(rows, view.decimals)
    measures.append(Column("", metric_name("median_rank"), "median_rank", smaller_is_better=True))
    groups = grouped(rows, "dataset", "modality", "metric")
    scores = []
    for dataset, modality in distinct(rows, "dataset", "modality"):
        for measure in measures:
            chosen = groups.get((dataset, modality, measure.key))
            if chosen is None:
                continue
            column = replace(
                measure,
                group=view.titles[dataset],
                label=modality_name(modality),
                detail=measure.label,
                key=f"{dataset}/{modality}/{measure.key}",
            )
            scores.append(Scores(column, "retrieval", dataset, "", measure.key, chosen, {}, modality))
    caption = (
        "Retrieval of a sample's counterpart in the other modality among the whole test split, by cosine similarity: "
        "recall in %."
    )
    if any(column.key.startswith("label_map@") for column in measures):
        caption += " mAP@k: mean average precision within the k nearest, of samples that share a label with the query."
    return model_table("retrieval", caption, view, scores, published)


def text_retrieval_table(view: View) -> Table:
    """Retrieval of images by the names of classes: one row per model, data set, class list and prompt set."""
    rows = view.task("text-retrieval")
    rows = rows[rows["split"] == "test"]
    columns = _ranked_columns(rows, view.decimals)
    if "map" in set(rows["metric"]):
        columns.append(Column("", "mAP, %", "map", decimals=view.decimals))
    directed = rows.assign(modality=rows["modality"].map(modality_name))
    lines = lines_of_models(view, directed, columns, "modality")
    caption = (
        "Retrieval of images by text: each class's prompts are a query, and the images of the test split that carry "
        "the class are relevant. Recall is their share within the k nearest; means over classes."
    )
    headings = ("Model", "Data set", "Classes", "Prompts", "Query → gallery")
    return Table(
        "text_retrieval", caption, headings, tuple(columns) if lines else (), tuple(lines), sample_counts(view, rows)
    )


def words_table(view: View, words: Mapping[str, Mapping[str, Sequence[str]]]) -> Table:
    """Retrieval of images by words that are not class names: one row per word, one column per model.

    Args:
        view: the data, and how to display it.
        words: data set -> class -> the words that stand for it, `evaluate.words.datasets` of the configuration.
    """
    means = view.task("words")
    names, datasets = view.of(means), [dataset for (dataset,) in distinct(means, "dataset")]
    every = view.metrics[(view.metrics["task"] == "words") & view.metrics["dataset"].isin(datasets)]
    values, carriers, group = {}, {}, ""
    for row in every.to_dict("records"):
        metric, _, k = row["metric"].partition("@")
        values[row["dataset"], row["class"], row["encoder"], metric] = row["value"]
        carriers[row["dataset"], row["class"]] = row["n"]
        group = f"Precision among the {k} nearest, %"
    columns = [Column("", "Share of images, %", "share", decimals=view.decimals)]
    columns += [Column(group, name, encoder, decimals=view.decimals) for encoder, name in names.items()]

    def line(texts: tuple[str, ...], share: Cell, dataset: str, word: str, metric: str) -> Line:
        of_models = [values.get((dataset, word, encoder, metric)) for encoder in names]
        cells = [
            Cell(None if value is None or pd.isna(value) else float(value) if metric == "lift" else scaled(value))
            for value in of_models
        ]
        return Line(texts, (share, *with_best(cells, columns[-1])))

    lines: list[Line] = []
    for dataset in datasets:
        title, total = view.titles[dataset], carriers[dataset, ""]
        of_words = [
            line((title, name, word), Cell(scaled(carriers[dataset, word] / total)), dataset, word, "precision")
            for name, listed in words.get(dataset, {}).items()
            for word in listed
            if (dataset, word) in carriers
        ]
        shares = [share for of_word in of_words if (share := of_word.cells[0].value)]
        mean = Cell(statistics.fmean(shares)) if shares else Cell()
        lines += [
            *of_words,
            line((title, "", "mean"), mean, dataset, "", "precision"),
            line((title, "", "mean lift (×)"), Cell(), dataset, "", "lift"),
        ]
    caption = (
        "Retrieval of images by words that are neither class names nor prompts of the data set: the share of a word's "
        "nearest images of the test split that carry the class that it stands for. The class's share of all images is "
        "the precision of random images; lift is precision over that share, its mean over the words."
    )
    headings = ("Data set", "Class", "Word")
    return Table("words", caption, headings, tuple(columns) if lines else (), tuple(lines), sample_counts(view, means))


def _ranked_columns(rows: pd.DataFrame, decimals: int) -> list[Column]:
    """One column per metric@k, by kind and k."""
    return [
        Column(group, metric_name(metric), metric, decimals=decimals)
        for prefix, group in RANKED.items()
        for metric in sorted(
            (metric for metric in rows["metric"].unique() if metric.startswith(prefix)),
            key=lambda metric: int(metric.partition("@")[2]),
        )
    ]


def gap_table(view: View, published: bool = True) -> Table:
    """The modality gap: one row per model and data set, one column per measure."""
    rows = view.task("gap")
    rows = rows[rows["split"] == "test"]
    names = view.of(rows)
    measured = [key for key in GAP_GROUPS if key in set(distinct(rows, "modality", "metric"))]
    measured += [(key[0], key[1]) for key in distinct(rows, "modality", "metric") if key not in GAP_GROUPS]
    columns = tuple(
        Column(*GAP_GROUPS.get((modality, metric), (modality, metric_name(metric))), f"{modality}/{metric}", decimals=3)
        for modality, metric in measured
    )
    values = {
        (row["dataset"], row["encoder"], row["modality"], row["metric"]): Cell(
            None if pd.isna(row["value"]) else float(row["value"])
        )
        for row in rows.to_dict("records")
    }
    figures = figures_of(view, ["gap"]) if published else []
    places = [
        (figure, place)
        for figure in figures
        for encoder in quoted_encoders(view, figure)
        if (place := (figure.dataset, encoder, figure.modality, figure.metric)) in values
    ]
    others = [figure for figure in figures if not figure.clip and (figure.modality, figure.metric) in measured]
    shown, marks = shown_figures(places, others)
    quotes = quotes_by_place(places, marks)
    lines = []
    for (dataset,) in distinct(rows, "dataset"):
        for encoder, name in names.items():
            cells = tuple(
                replace(values.get(place, Cell()), quotes=quotes.get(place, ()))
                for place in ((dataset, encoder, *key) for key in measured)
            )
            if any(cell.value is not None for cell in cells):
                lines.append(Line((name, view.titles[dataset]), cells))
    lines += [
        Line(
            (f"{figure.model} {marks[figure.provenance]}", view.titles[figure.dataset]),
            tuple(published_cell(figure) if key == (figure.modality, figure.metric) else Cell() for key in measured),
            source=figure.provenance,
        )
        for figure in others
    ]
    caption = (
        "The modality gap on the test splits: distance between the centroids, alignment and uniformity of unit-length "
        "embeddings (Wang and Isola 2020; lower is closer, and more evenly spread), mean cosine of pairs; and the mean "
        "cosine of an image's embedding before and after patching."
    )
    note = " ".join(filter(None, [sample_counts(view, rows), published_note(shown)]))
    return Table("gap", caption, ("Model", "Data set"), columns if lines else (), tuple(lines), note)
