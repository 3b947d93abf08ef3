"""The report of a large made-up run: how long it takes to build, how large the page is, how soon it answers.

    python benchmarks/report.py [encoders] [datasets] [alphas] [processes]      50 (alphas among them), 10, 21, 2

The run has every kind of row that a run can have, confusions of up to 45 classes, a training, a gallery and a
projection of each student, and a store of each data set. With Chromium the page is opened, and the time measured
until its script is done, and until a chart tells the values of a point of the PAINT curve.
"""

import copy
import csv
import json
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from playwright.sync_api import expect, sync_playwright
from small_store import random_samples, small_dataset, write_store
from synthetic_run import CONFIG, make_data, make_parts, write_benchmark

from bandbridge.base.alphas import alpha_name
from bandbridge.catalogue.datasets import load_nomenclature
from bandbridge.reporting.page.write import RunFiles, write_report
from bandbridge.reporting.tables.curves import read_curves
from bandbridge.scoring.curve import Point, write_curve
from bandbridge.scoring.rows import COLUMNS, read_rows

NAMES = (
    "demo_scene",
    "digits",
    "resisc45",
    "eurosat_ms",
    "eurosat_rgb",
    "bigearthnet_v2",
    "bigearthnet_v1",
    "sen12ms",
    "sen12ms_single",
    "eurosat_100",
)
PROMPTS = {"demo_scene": ("satellite", "plain"), "digits": ("digits",)}
FEW, STEPS = (1, 5, 20), 2000
LIMITS = {"built, s": 60, "page, MB": 15, "interactive, s": 3}
COUNTS = {"train": 60, "val": 20, "test": 40}
# The centre of a point of a live chart.
POINT = """(drawing) => {
  const of = ({ __data__: item }) => item?.mark?.marktype === "symbol" && item.datum?.patching;
  const box = [...drawing.querySelectorAll("path")].find(of).getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}"""


def config_of(students, alphas):
    config = copy.deepcopy(CONFIG)
    student = config["align"]["students"]["ms-vit"]
    config["align"]["students"] = dict.fromkeys(students, student)
    config["paint"]["alphas"] = list(alphas)
    return config


def rows(encoders, datasets):
    """Cells of metrics.csv; scores are made up, but the same every time."""
    generator = np.random.default_rng(0)
    for place, name in enumerate(datasets):
        dataset = small_dataset(name)
        classes = load_nomenclature(dataset.nomenclature).classes
        for index, (encoder, alpha) in enumerate(encoders):
            row = partial(cells, encoder, alpha, name, dataset.nomenclature)
            score = 0.4 + 0.05 * place / 10 + 0.3 * index / len(encoders)
            single = dataset.label_kind == "single"
            for prompts in PROMPTS.get(name, ("plain",)):
                yield from zero_shot(partial(row, "zero-shot", prompts=prompts), single, score, classes, generator)
            headline = "accuracy" if single else "map"
            if alpha == "" or float(alpha) in (0, 0.5):
                yield row("linear-probe", headline, score + 0.1, interval=True)
                yield row("knn", headline, score + 0.05, interval=True)
                for k in FEW:
                    yield row("few-shot", f"{headline}@{k}", score + 0.02 * k**0.5, interval=True)
            if alpha == "":
                for direction in ("rgb->s2", "s2->rgb"):
                    for k in (1, 5, 10):
                        yield row("retrieval", f"recall@{k}", 0.1 * k**0.5, interval=True, modality=direction)
                    yield row("retrieval", "median_rank", 9, modality=direction)
                yield row("gap", "centroid_distance", 0.3, modality="rgb-s2")


def cells(
    encoder,
    alpha,
    dataset,
    nomenclature,
    task,
    metric,
    value,
    split="test",
    prompts="",
    label="",
    interval=False,
    modality=None,
    n=500,
):
    side = modality or ("s2" if alpha == "" else "rgb")
    identity = ("demo", encoder, "demo-vit", alpha, dataset, side, split, task, nomenclature, prompts, metric, label)
    return (
        *identity,
        f"{value:.6g}",
        *((f"{value - 0.02:.6g}", f"{value + 0.02:.6g}") if interval else ("", "")),
        n,
        n if interval else "",
        0,
    )


def zero_shot(row, single, score, classes, generator):
    headline, of_class = ("accuracy", "class_accuracy") if single else ("map", "average_precision")
    for split in ("val", "test"):
        yield row(headline, score, split, interval=True)
        for label, value in zip(classes, generator.uniform(0.2, 0.9, len(classes)), strict=True):
            yield row(of_class, value, split, label=label, n=30)
    yield row("ece", 0.1)
    yield row(f"{headline}_gain", 0.03, interval=True)
    yield row(f"{headline}_gain_p", 0.01)
    for number, label in enumerate(classes if single else ()):
        others = [classes[(number + step) % len(classes)] for step in range(1, 6)]
        for predicted in dict.fromkeys([label, *others]):
            share = score if predicted == label else (1 - score) / 5
            yield row("confusion", share, label=f"{label} -> {predicted}", n=30)


def write_run(root, encoders, datasets, alphas):
    root.mkdir(parents=True)
    with (root / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows(encoders, datasets)])
    curve = root / "paint" / "demo-vit.demo_scene" / "curve.csv"
    curve.parent.mkdir(parents=True)
    points = []
    for alpha in alphas:
        gain, loss = alpha / 10, alpha**3 / 5
        ours = (0.3 + gain, 0.25 + gain, 0.35 + gain, 0.31 + gain)
        points.append(Point(alpha, "map", *ours, "accuracy", 1 - loss, 0.99 - loss, 0.6))
    write_curve(curve, points, 0.5)
    choice = {"line": "demo-vit", "datasets": ["demo_scene"], "alpha": 0.5, "reason": "Made up."}
    curve.with_name("selected.json").write_text(json.dumps(choice), encoding="utf-8")


def write_histories(root, students):
    lines = [
        {"step": step, "epoch": 1 + step // 100, "learning_rate": 1e-4, "loss": 1 / step}
        | ({"val_loss": 1.1 / step} if step % 100 == 0 else {})
        for step in range(1, STEPS + 1)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    for student in students:
        path = root / "align" / student / "history.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        yield {"kind": "align", "name": student, "history": str(path)}


def write_stores(root, datasets):
    for name in datasets:
        dataset = small_dataset(name)
        if len(dataset.streams) > 1:  # others stand in for those that are converted from several streams
            dataset = replace(small_dataset("eurosat_ms"), name=name, title=dataset.title)
        path, quarantine = root / f"{name}.zarr", root / f"{name}.quarantine.csv"
        write_store(path, dataset, random_samples(dataset, COUNTS, 32, 0), 1, {}, quarantine)
        yield path, quarantine


def write_parts(root, students, datasets):
    """The gallery and the projection of one student and data set, copied for every student and data set."""
    stores, _ = make_data(root / "small")
    made = [json.loads(path.read_text(encoding="utf-8")) for path in make_parts(root / "small", stores[0])]
    for student in students:
        for name in datasets:
            paths = []
            for what, key, one in zip(("gallery", "projection"), ("encoder", "student"), made, strict=True):
                path = root / f"{what}.{student}.{name}.json"
                path.write_text(json.dumps(one | {key: student, "dataset": name}), encoding="utf-8")
                paths.append(path)
            yield paths


def opened(page, chromium):
    """Seconds from asking for a page until its script is done, and until a chart tells the values of a point."""
    with sync_playwright() as playwright:
        tab = playwright.chromium.launch(executable_path=chromium).new_page()
        start = time.perf_counter()
        tab.goto(page.as_uri())
        expect(tab.locator("html")).to_have_attribute("data-ready", "true")
        ready = time.perf_counter() - start
        drawing = tab.locator("#patching .drawing").first
        drawing.scroll_into_view_if_needed()
        expect(drawing).to_have_attribute("data-live", "true")
        tab.mouse.move(*drawing.evaluate(POINT))
        expect(tab.locator("#vg-tooltip-element")).to_contain_text("patching task")
        return ready, time.perf_counter() - start


def main(encoders=50, datasets=10, alphas=21, processes=2):
    grid = [round(float(alpha), 4) for alpha in np.linspace(0, 1, alphas)]
    students = [f"student-{number:02d}" for number in range(encoders - alphas)]
    names = NAMES[:datasets]
    everyone = [(f"demo-vit@{name}", name) for name in map(alpha_name, grid)] + [(name, "") for name in students]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = root / "run"
        write_run(run, everyone, names, grid)
        trainings = list(write_histories(run, students))
        stores = list(write_stores(root / "stores", names))
        parts = list(write_parts(root / "parts", students, names))
        for stage in ("embed", "align", "finetune", "evaluate", "tables"):
            write_benchmark(run / "logs" / "demo" / stage / "a.tsv", 10)
        config = config_of(students, grid)
        curve = run / "paint" / "demo-vit.demo_scene" / "curve.csv"
        page = run / "report" / "index.html"
        start = time.perf_counter()
        metrics = read_rows([run / "metrics.csv"])
        reading = time.perf_counter() - start
        write_report(
            page,
            config,
            metrics,
            read_curves([curve], [curve.with_name("selected.json")]),
            RunFiles(
                trainings=trainings,
                stores=[store for store, _ in stores],
                quarantines=[quarantine for _, quarantine in stores],
                benchmarks=[run / "logs" / "demo"],
                galleries=[gallery for gallery, _ in parts],
                projections=[projection for _, projection in parts],
            ),
            figures=page.parent / "figures",
            processes=processes,
        )
        figures = {"built, s": time.perf_counter() - start, "page, MB": page.stat().st_size / 1e6}
        chromium = shutil.which("chromium")
        if chromium:
            figures["interactive, s"], figures["describes a point, s"] = opened(page, chromium)
        kept = Path(sys.argv[5]) if len(sys.argv) > 5 else None
        if kept:
            kept.mkdir(parents=True, exist_ok=True)
            (kept / "index.html").write_bytes(page.read_bytes())
        drawn = len(list((page.parent / "figures").glob("*.png")))
        print(
            f"{encoders} encoders, {datasets} data sets, {alphas} alphas, {processes} processes: "
            f"{len(metrics):,} rows (read in {reading:.1f} s), {drawn} figures as files\n"
        )
        print("| | measured | limit | measured / limit |\n|---|---:|---:|---:|")
        for what, value in figures.items():
            limit = LIMITS.get(what)
            print(f"| {what} | {value:.1f} | {limit or ''} | {f'{value / limit:.2f}' if limit else ''} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
