"""A finished run with made-up figures: metrics.csv, PAINT curve, histories, benchmarks and stores, without training."""

import copy
import csv
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from small_store import load_script, random_samples, small_dataset, write_store
from zarr.codecs import BloscCodec

from bandbridge.catalogue.datasets import load_nomenclature
from bandbridge.ingest.readers import Rejected
from bandbridge.reporting.tables.curves import read_curves
from bandbridge.scoring.curve import Point
from bandbridge.scoring.rows import Row, read_rows, write_rows
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import Embeddings, save_embeddings
from bandbridge.store.heads import Head, save_head
from bandbridge.store.shard_writer import LEVEL

ALPHAS = (0.0, 0.4, 0.7, 1.0)
SCENE = (0.343, 0.3804, 0.427, 0.434)
DIGITS = (0.9964, 0.994, 0.956, 0.851)
SELECTED = 0.4
CLASSES = load_nomenclature("osm-landuse-8").classes
COUNTS = {"train": 24, "val": 8, "test": 8}
CONFIG = {
    "run": "demo",
    "seed": 0,
    "clip": {"name": "demo-vit", "pretrained": "scratch", "scratch": {"dataset": "digits"}},
    "tasks": {
        "patching": {"dataset": "demo_scene", "prompts": "satellite"},
        "supported": {"dataset": "digits", "prompts": "digits"},
    },
    "finetune": {"epochs": 15},
    "paint": {"alphas": list(ALPHAS)},
    "align": {
        "students": {"ms-vit": {"backbone": "vit_tiny", "bands": ["B02", "B03", "B08"], "pretrained": None}},
        "epochs": 40,
        "loss": "mse",
        "distillation_weight": 1.0,
        "label_weight": 0.1,
    },
    "evaluate": {"bootstrap": {"level": 0.95}},
    "report": {"title": "A run", "description": "Made up for a test."},
}


@dataclass(frozen=True)
class Run:
    """Where a run's files are, and its configuration."""

    root: Path
    config: dict

    @property
    def metrics(self):
        return self.root / "metrics.csv"

    @property
    def curves(self):
        return [self.root / "paint" / "demo-vit.demo_scene" / "curve.csv"]

    @property
    def selected(self):
        return [self.curves[0].with_name("selected.json")]

    @property
    def tables(self):
        return self.root / "tables"

    def read(self):
        """The metrics as a frame, and the curves."""
        return read_rows([self.metrics]), read_curves(self.curves, self.selected)


def config_of(students=True, supported=True):
    config = copy.deepcopy(CONFIG)
    config["align"]["students"] = config["align"]["students"] if students else {}
    config["tasks"]["supported"] = config["tasks"]["supported"] if supported else None
    return config


def make_run(root, *, students=True, supported=True, probe=True, selected=SELECTED, further=False):
    """Write a run's figures below `root`, with or without what a configuration can switch off.

    Args:
        further: with gains, confusions, few-shot probes, neighbours, gaps and retrieval by text as well.
    """
    run = Run(root, config_of(students, supported))
    rows = list(metric_rows(students, supported, probe))
    write_rows(run.metrics, [*rows, *(further_rows(rows) if further else [])])
    run.curves[0].parent.mkdir(parents=True, exist_ok=True)
    write_points(run.curves[0], supported, selected)
    choice = {
        "line": "demo-vit",
        "datasets": ["demo_scene"],
        "alpha": selected,
        "criterion": "max_loss",
        "reason": "It is the best of those that cost little.",
    }
    run.selected[0].write_text(json.dumps(choice), encoding="utf-8")
    return run


def metric_rows(students, supported, probe):
    for alpha, scene, digits in zip(ALPHAS, SCENE, DIGITS, strict=True):
        clip = Row(
            run="demo",
            encoder=f"demo-vit@{alpha:g}",
            clip="demo-vit",
            alpha=alpha,
            dataset="demo_scene",
            modality="rgb",
            split="test",
            task="zero-shot",
            nomenclature="osm-landuse-8",
            metric="map",
            value=scene,
            n=75,
            seed=0,
        )
        yield from scene_rows(clip, scene)
        if supported:
            of_digits = dataclasses.replace(
                clip, dataset="digits", nomenclature="digits-10", prompts="digits", metric="accuracy"
            )
            yield from (dataclasses.replace(of_digits, split=split, value=digits) for split in ("val", "test"))
        if probe and alpha in (0, SELECTED):
            yield dataclasses.replace(clip, task="linear-probe", value=scene + 0.1)
    if students:
        student = dataclasses.replace(clip, encoder="ms-vit", alpha=None, modality="s2")
        yield from scene_rows(student, 0.4351)
        yield from retrieval_rows(student)
        if probe:
            yield dataclasses.replace(student, task="linear-probe", value=0.56)


def scene_rows(row, value):
    """Headline and classes of the scene, with two prompt sets and both splits; val is lower than test."""
    for split, less in (("val", 0.02), ("test", 0.0)):
        for prompts, more in (("satellite", 0.0), ("plain", -0.05)):
            score = value - less + more
            of_set = dataclasses.replace(row, split=split, prompts=prompts, value=score)
            yield dataclasses.replace(of_set, ci_low=score - 0.03, ci_high=score + 0.04)
            yield dataclasses.replace(of_set, metric="micro_map", value=score + 0.1)
            for index, name in enumerate(CLASSES):
                missing = name == "wetland"
                of_class = float("nan") if missing else score - 0.02 * index
                yield dataclasses.replace(
                    of_set, metric="average_precision", class_=name, value=of_class, n=0 if missing else 9
                )


def retrieval_rows(row):
    for modality, share, rank in (("rgb->s2", 0.12, 8.0), ("s2->rgb", 0.09, 9.5)):
        of_side = dataclasses.replace(row, task="retrieval", nomenclature="", modality=modality)
        yield dataclasses.replace(of_side, metric="median_rank", value=rank)
        for k in (1, 5, 10):
            yield dataclasses.replace(of_side, metric=f"recall@{k}", value=share * k**0.5, ci_low=0.01, ci_high=0.9)


GAINS = {"demo-vit@0.4": (0.037, 0.012, 0.061, 0.004), "ms-vit": (0.0921, 0.05, 0.13, 0.0001)}


def further_rows(rows):
    """Rows that belong to the scores of a run: differences, confusions, probes on few samples, gaps."""
    for row in rows:
        if row.task != "zero-shot" or row.split != "test" or row.metric not in ("map", "accuracy") or row.class_:
            continue
        bare = dataclasses.replace(row, ci_low=None, ci_high=None)
        yield dataclasses.replace(bare, metric="ece", value=0.12)
        if row.encoder in GAINS:
            value, low, high, p = GAINS[row.encoder]
            if row.metric == "accuracy":
                value, low, high, p = -0.0024, -0.006, 0.001, 0.3
            gained = dataclasses.replace(bare, metric=f"{row.metric}_gain", value=value, ci_low=low, ci_high=high)
            yield gained
            yield dataclasses.replace(bare, metric=f"{row.metric}_gain_p", value=p)
        if row.encoder == "ms-vit":
            over = f"{row.metric}_gain_over_patched"
            yield dataclasses.replace(bare, metric=over, value=0.0547, ci_low=0.02, ci_high=0.09)
            yield dataclasses.replace(bare, metric=f"{over}_p", value=0.01)
        if row.metric == "accuracy":
            yield from confusion_rows(bare, load_nomenclature(row.nomenclature).classes)
        if row.prompts == "satellite" and row.encoder in ("demo-vit@0", "demo-vit@0.4", "ms-vit"):
            yield from frozen_rows(dataclasses.replace(bare, prompts=""), row.value)
        if row.encoder == "ms-vit" and row.prompts == "satellite":
            for index, metric in enumerate(("centroid_distance", "alignment", "cosine")):
                yield dataclasses.replace(
                    bare, task="gap", nomenclature="", prompts="", modality="rgb-s2", metric=metric, value=0.3 + index
                )
            named = dataclasses.replace(bare, task="text-retrieval", modality="text->s2")
            for metric, value in (("precision@5", 0.5), ("recall@5", 0.2), ("map", 0.4)):
                yield dataclasses.replace(named, metric=metric, value=value)


def confusion_rows(row, classes):
    for index, name in enumerate(classes):
        other = classes[(index + 1) % len(classes)]
        for predicted, share in ((name, row.value), (other, 1 - row.value)):
            yield dataclasses.replace(row, metric="confusion", class_=f"{name} -> {predicted}", value=share, n=9)


def frozen_rows(row, value):
    yield dataclasses.replace(row, task="knn", value=value + 0.05, ci_low=value, ci_high=value + 0.1)
    for k in (1, 5, 20):
        score = value + 0.03 * k**0.5
        yield dataclasses.replace(
            row, task="few-shot", metric=f"{row.metric}@{k}", value=score, ci_low=score - 0.05, ci_high=score + 0.05
        )


def write_points(path, supported, selected):
    columns = [field.name for field in dataclasses.fields(Point)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for alpha, scene, digits in zip(ALPHAS, SCENE, DIGITS, strict=True):
            kept = ["accuracy", digits - 0.003, digits, (scene + digits) / 2] if supported else ["", "", "", scene]
            writer.writerow(
                [alpha, "map", scene - 0.02, scene - 0.05, scene + 0.02, scene, *kept, int(alpha == selected)]
            )


def write_history(path):
    """A history as the training loop writes it: some steps, and a validation after each epoch."""
    lines = []
    for step in range(1, 41):
        lines.append(
            {"step": step, "epoch": 1 + step // 21, "learning_rate": 1e-4 / step, "loss": 1 / step, "label": 0.5}
        )
        if step % 20 == 0:
            lines.append({"step": step, "epoch": step // 20, "val_loss": 1.1 / step, "val_label": 0.6})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_benchmark(path, seconds, memory="120.5"):
    """A benchmark file as Snakemake writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"
    path.write_text(f"{header}\n{seconds}\t0:00:01\t{memory}\t-\t-\t-\t0.0\t0.0\t0.0\t1.0\n", encoding="utf-8")
    return path


def make_data(root):
    """The stores of both tasks: the scene with places and two rejected samples, and the digits."""
    stores, quarantines = [], []
    for name, side in (("demo_scene", 16), ("digits", 8)):
        dataset = small_dataset(name)
        samples = list(random_samples(dataset, COUNTS, side, seed=1))
        if name == "demo_scene":
            placed = [dataclasses.replace(s, lat=52 + i / 900, lon=12.5) for i, (_, s) in enumerate(samples)]
            samples = [(split, sample) for (split, _), sample in zip(samples, placed, strict=True)]
            samples += [("train", Rejected(f"bad-{i}", "every pixel is 0")) for i in range(2)]
        stores.append(root / f"{name}.zarr")
        quarantines.append(root / f"{name}.quarantine.csv")
        sources = {"sources": [{"file": f"{name}.zip", "sha256": "ab" * 32, "md5": None}]}
        write_store(stores[-1], dataset, samples, 1, sources, quarantines[-1], max_quarantined_share=0.5)
    return stores, quarantines


def make_parts(root, store, nomenclature="osm-landuse-8", width=16):
    """A gallery and a projection of made-up embeddings of a store's test split, written by the rules' scripts."""
    opened = Store(store)
    ids, name = opened.split("test").ids, opened.attrs["dataset"]
    generator = np.random.default_rng(0)
    paths = {}
    for encoder, alpha, modality, shift in (
        ("demo-vit@0", 0.0, "rgb", 0.0),
        ("demo-vit@0.4", 0.4, "rgb", 1.0),
        ("ms-vit", None, "s2", 1.2),
    ):
        attrs = {"encoder": encoder, "clip": "demo-vit", "alpha": alpha, "dataset": name, "split": "test"}
        attrs |= {"modality": modality, "store_digest": opened.digest, "weights_digest": "ef" * 32}
        values = generator.normal(shift, 1, (len(ids), width)).astype(np.float32)
        path = root / "embeddings" / encoder / f"{name}.test.zarr"
        save_embeddings(path, Embeddings(values, ids, attrs))
        paths[encoder] = path / "zarr.json"
    vectors = generator.normal(size=(len(opened.classes), width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    head = root / "heads" / f"{name}.npz"
    save_head(head, Head(vectors, 100.0, opened.classes, tuple((f"a photo of {c}.",) for c in opened.classes)))
    common = {"head": head, "store": store / "zarr.json", "nomenclature": nomenclature, "seed": 0}
    common |= {"multispectral": [paths["ms-vit"]]}
    gallery, projection = (root / "report_parts" / f"{what}.ms-vit.{name}.json" for what in ("gallery", "projection"))
    load_script("gallery").main(rgb=paths["demo-vit@0.4"], gallery=gallery, **common)
    load_script("projection").main(
        zero_shot=paths["demo-vit@0"], patched=paths["demo-vit@0.4"], projection=projection, **common
    )
    return gallery, projection


def make_report(root, *, parts=True, **options):
    """A run with all that it can have, and its report as the rule's script writes it: the run and the page."""
    stores, quarantines = make_data(root / "data")
    run = make_run(root / "run", **options)
    load_script("tables").main(run.metrics, run.curves, run.selected, run.tables)
    (run.tables / ".snakemake_timestamp").touch()  # Snakemake's, in every folder that a rule makes
    history = write_history(run.root / "finetune" / "demo-vit.demo_scene" / "history.jsonl")
    trainings = [{"kind": "finetune", "name": "demo-vit", "datasets": ["demo_scene"], "history": str(history)}]
    if run.config["align"]["students"]:
        history = write_history(run.root / "align" / "ms-vit" / "history.jsonl")
        trainings.append({"kind": "align", "name": "ms-vit", "history": str(history)})
    write_benchmark(run.root / "logs" / "demo" / "finetune" / "demo-vit.demo_scene.tsv", 75.2, "1210.0")
    gallery, projection = make_parts(run.root, stores[0]) if parts else (None, None)
    path = run.root / "report" / "index.html"
    load_script("report").main(
        run.metrics,
        run.curves,
        run.selected,
        trainings,
        [store / "zarr.json" for store in stores],
        quarantines,
        run.tables,
        [run.root / "logs" / "demo"],
        run.config,
        path,
        galleries=[gallery] if gallery else [],
        projections=[projection] if projection else [],
    )
    return run, path


def write_plain_store(path, modalities, nomenclatures, pixels, labels, **attributes):
    """A store of kinds that no data set of the catalogue has: any modalities, bands and classes.

    Args:
        modalities: name -> facts; missing ones are None or empty.
        nomenclatures: name -> classes.
        pixels: split -> modality -> (sample, band, y, x).
        labels: split -> nomenclature -> (sample, class).
        attributes: further attributes, such as `sources`.
    """
    unknown = {"sensor": None, "product": None, "zero_bands": [], "composite": None, "resolution": None, "units": None}
    group = zarr.create_group(path)
    counts = {split: len(next(iter(arrays.values()))) for split, arrays in labels.items()}
    for split, count in counts.items():
        part = group.create_group(split)
        ids = [f"{split}-{number}" for number in range(count)]
        part.create_array("id", data=np.array(ids, dtype=np.dtypes.StringDType()))
        for name, values in labels[split].items():
            part.create_array(f"labels_{name}", data=values.astype(np.uint8))
        for name, values in pixels[split].items():
            part.create_array(
                name,
                data=values,
                chunks=(1, *values.shape[1:]),
                shards=values.shape,
                compressors=BloscCodec(cname="zstd", clevel=LEVEL, shuffle="bitshuffle"),
                chunk_key_encoding={"name": "default", "separator": "."},
            )
    facts = {
        "dataset": path.stem,
        "title": "A data set",
        "modalities": {name: unknown | facts for name, facts in modalities.items()},
        "nomenclatures": nomenclatures,
        "label_kind": "multi",
        "licence": "CC0-1.0",
        "attribution": "",
        "cite": [],
        "counts": counts,
        "quarantined": 0,
        "digest": "cd" * 32,
    }
    group.update_attributes(facts | attributes)


def write_quarantine(path, rows):
    """A quarantine list of (id, split, reason)."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("id", "split", "reason"), *rows])
    return path
