"""Made-up rows of everything that a run can measure, of real data sets, for tests of tables and of comparisons."""

import dataclasses
import functools
import itertools
import json

import numpy as np
import pandas as pd

from bandbridge.metrics.intervals import Estimate
from bandbridge.reporting.tables.curves import Curve
from bandbridge.scoring.draws import HeadlineDraws, save_draws
from bandbridge.scoring.rows import Row, read_rows, write_rows

DATASETS = {
    "bigearthnet_v1": (("bigearthnet-43", "bigearthnet-19", "bigearthnet-5"), "map", ("plain", "satellite")),
    "eurosat_ms": (("eurosat-10",), "accuracy", ("satellite",)),
    "imagenet": (("imagenet-1k",), "accuracy", ("imagenet-80",)),
}
WORD_COUNTS = {"trees": 1000, "a wood": 1000, "a tundra": 0, "a creek": 500}  # word -> images of its class
STUDENTS = ("all-bands", "rgb-labels-alone")
SELECTED = 0.5


@functools.cache
def score(*key):
    """A made-up share for a key, the same each time."""
    return 0.2 + 0.6 * np.random.default_rng([ord(letter) for letter in "/".join(map(str, key))]).random()


def zero_shot_score(run, encoder, *key):
    """Of one encoder, much the same in every run."""
    return score(encoder, *key) + 0.05 * (score(run, encoder, *key) - 0.5)


def encoders(clip="ViT-B-32", selected=SELECTED):
    """(encoder, clip, alpha, modality) of a line, two students, and a model from elsewhere."""
    yield from ((f"{clip}@{alpha:g}", clip, alpha, "rgb") for alpha in sorted({0, selected, 0.7, 1}))
    yield from ((student, clip, None, "s2") for student in STUDENTS)
    yield "RemoteCLIP-ViT-B-32", "RemoteCLIP-ViT-B-32", None, "rgb"


def full_rows(run="paper", seed=0, selected=SELECTED, clip="ViT-B-32"):
    """Rows of every task of the metrics table."""
    for (encoder, owner, alpha, modality), dataset in itertools.product(encoders(clip, selected), DATASETS):
        if modality == "s2" and dataset == "imagenet":
            continue
        row = Row(
            run=run,
            encoder=encoder,
            clip=owner,
            alpha=alpha,
            dataset=dataset,
            modality=modality,
            split="test",
            task="zero-shot",
            metric="",
            value=0,
            n=12_345,
            seed=seed,
        )
        yield from _zero_shot(row)
        yield from _probes(row)
        if modality == "s2":
            yield from _pairs(row)
        yield from _text(row)
        if alpha == selected:
            for what, metric in (("rgb", "cosine_to_zero_shot"), ("rgb-text", "centroid_distance")):
                yield dataclasses.replace(
                    row, task="gap", modality=what, metric=metric, value=score(encoder, dataset, what)
                )


def _zero_shot(row):
    nomenclatures, metric, sets = DATASETS[row.dataset]
    for nomenclature, prompts in itertools.product(nomenclatures, sets):
        of_set = dataclasses.replace(row, nomenclature=nomenclature, prompts=prompts)
        value = zero_shot_score(row.run, row.encoder, row.dataset, nomenclature, prompts)
        yield dataclasses.replace(of_set, metric=metric, value=value, ci_low=value - 0.02, ci_high=value + 0.02)
        others = (
            ("micro_map", "macro_f1", "micro_f1", "ece")
            if metric == "map"
            else ("top5_accuracy", "balanced_accuracy", "ece")
        )
        for other in others:
            yield dataclasses.replace(of_set, metric=other, value=score(row.encoder, prompts, other))
        if row.alpha != 0 and row.clip == "ViT-B-32":
            gain = value - zero_shot_score(row.run, f"{row.clip}@0", row.dataset, nomenclature, prompts)
            yield dataclasses.replace(
                of_set, metric=f"{metric}_gain", value=gain, ci_low=gain - 0.01, ci_high=gain + 0.01
            )
            yield dataclasses.replace(of_set, metric=f"{metric}_gain_p", value=0.002 if gain > 0.1 else 0.4)
        if row.modality == "s2":
            yield dataclasses.replace(of_set, metric=f"{metric}_gain_over_patched", value=0.031)
            yield dataclasses.replace(of_set, metric=f"{metric}_gain_over_patched_p", value=0.01)


def _probes(row):
    nomenclatures, metric, _ = DATASETS[row.dataset]
    if row.dataset == "imagenet" or row.alpha == 0.7:
        return
    for nomenclature in nomenclatures:
        of_list = dataclasses.replace(row, nomenclature=nomenclature)
        for task in ("linear-probe", "knn"):
            value = score(task, row.encoder, nomenclature)
            yield dataclasses.replace(
                of_list, task=task, metric=metric, value=value, ci_low=value - 0.01, ci_high=value + 0.01
            )
        for k in (1, 5, 10, 50):
            value = score("few", k, row.encoder, nomenclature)
            yield dataclasses.replace(
                of_list, task="few-shot", metric=f"{metric}@{k}", value=value, ci_low=value - 0.03, ci_high=value + 0.03
            )


def _pairs(row):
    for direction in ("rgb->s2", "s2->rgb"):
        of_side = dataclasses.replace(row, task="retrieval", modality=direction)
        yield dataclasses.replace(of_side, metric="median_rank", value=12.5)
        for k in (1, 5, 10, 50):
            value = score(direction, k, row.encoder) / 2
            yield dataclasses.replace(
                of_side, metric=f"recall@{k}", value=value, ci_low=value - 0.01, ci_high=value + 0.01
            )
        yield dataclasses.replace(of_side, metric="label_map@20", value=0.4)
    for what, metric in (
        ("rgb-s2", "centroid_distance"),
        ("rgb-s2", "alignment"),
        ("rgb-s2", "cosine"),
        ("rgb", "uniformity"),
        ("s2", "uniformity"),
    ):
        yield dataclasses.replace(row, task="gap", modality=what, metric=metric, value=score(what, metric, row.encoder))


def _text(row):
    nomenclatures, _, sets = DATASETS[row.dataset]
    for prompts in sets:
        of_head = dataclasses.replace(
            row, task="text-retrieval", modality=f"text->{row.modality}", nomenclature=nomenclatures[0], prompts=prompts
        )
        for metric in ("precision@5", "precision@20", "recall@5", "recall@20", "map"):
            yield dataclasses.replace(of_head, metric=metric, value=score("text", metric, row.encoder, prompts))
    if row.dataset == "eurosat_ms":
        of_words = dataclasses.replace(of_head, task="words", prompts="satellite")
        for metric, word in itertools.product(("precision@20", "lift@20"), ("", *WORD_COUNTS)):
            value = float("nan") if word == "a tundra" else score("words", metric, row.encoder, word)
            n = WORD_COUNTS.get(word, row.n)
            yield dataclasses.replace(of_words, metric=metric, class_=word, value=value, n=n)


def full_curve(clip="ViT-B-32", selected=SELECTED, dataset="bigearthnet_v1"):
    """A PAINT curve of such a run."""
    points = pd.DataFrame({"alpha": [0, selected, 0.7, 1]}).drop_duplicates().sort_values("alpha", ignore_index=True)
    points = points.assign(
        patching_metric="map",
        patching_val=0.5,
        patching_val_ci_low=0.48,
        patching_val_ci_high=0.52,
        patching_test=0.49,
        supported_metric="accuracy",
        supported_val=0.6,
        supported_test=0.61,
        mean_val=0.55,
    )
    return Curve(clip, dataset, points, selected, "A reason.")


def frame(rows, folder):
    """Rows as the tables read them."""
    write_rows(folder / "metrics.csv", list(rows))
    return read_rows([folder / "metrics.csv"])


def write_run(folder, config="", digest="ab", **options):
    """A results/<run>/ folder as a comparison reads it: metrics, curve, choice, draws, configuration."""
    rows = list(full_rows(run=folder.name, **options))
    folder.mkdir(parents=True)
    write_rows(folder / "metrics.csv", rows)
    selected, clip = options.get("selected", SELECTED), options.get("clip", "ViT-B-32")
    paint = folder / "paint" / f"{clip}.bigearthnet_v1"
    paint.mkdir(parents=True)
    full_curve(clip, selected).points.to_csv(paint / "curve.csv", index=False)
    choice = {"line": clip, "datasets": ["bigearthnet_v1"], "alpha": selected, "reason": "A reason."}
    (paint / "selected.json").write_text(json.dumps(choice), encoding="utf-8")
    for row in rows:
        if row.task == "zero-shot" and row.metric in ("map", "accuracy"):
            write_draws(folder, row, digest)
    if config:
        (folder / "config.yaml").write_text(config, encoding="utf-8")
    return folder


def write_draws(folder, row, digest, resamples=200):
    """The draws of a score; those of one seed vary together, and so cancel in a difference."""
    path = folder / "metrics" / row.encoder / f"zero-shot.{row.dataset}.{row.nomenclature}.{row.prompts}.draws.npz"
    shared = np.random.default_rng(row.seed).normal(0, 0.02, resamples)
    noise = np.random.default_rng(round(row.value * 1e9)).normal(0, 0.002, resamples)
    meta = {"metric": row.metric, "n": {row.split: row.n}, "seed": row.seed, "resamples": resamples}
    drawn = {row.split: row.value + shared + noise}
    score = Estimate(row.value, row.value, float(drawn[row.split].std()), units=row.n, freedom=row.n - 1)
    save_draws(path, HeadlineDraws({**meta, "store_digest": digest}, {row.split: score}, drawn))
