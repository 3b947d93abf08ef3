"""A small run of the whole workflow on a crop of the demo's scene: what it leaves, and what survives a kill."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest
import xarray
from clones import FEW_SCORES, SMALL, Clone

from bandbridge.scoring.rows import COLUMNS

ALPHAS = [f"{alpha:g}" for alpha in SMALL["paint"]["alphas"]]
METRICS = "results/small/metrics.csv"


@pytest.fixture
def results(finished_run: Clone) -> Path:
    return finished_run.root / "results" / "small"


@pytest.mark.parametrize(
    "path",
    [
        "clip/demo-vit/open_clip_model.safetensors",
        "heads/demo-vit/scene_crop.osm-landuse-8.plain.npz",
        "heads/demo-vit/scene_crop.osm-landuse-8.mine.npz",
        "heads/demo-vit/digits.digits-10.digits.npz",
        "heads/demo-vit/words/scene_crop.plain.npz",
        "finetune/demo-vit.scene_crop/model.safetensors",
        "finetune/demo-vit.scene_crop/history.jsonl",
        "paint/demo-vit.scene_crop/curve.csv",
        "paint/demo-vit.scene_crop/selected.json",
        "align/ms-vit/model.safetensors",
        "align/ms-vit/history.jsonl",
        "metrics.csv",
        "report/index.html",
        *(f"tables/{name}.{kind}" for name in ("classification", "retrieval") for kind in ("csv", "md", "tex")),
        *(f"tables/{name}.{kind}" for name in ("linear_probe", "paint") for kind in ("csv", "md", "tex")),
        "config.yaml",
        "report_parts/gallery.ms-vit.scene_crop.json",
        "report_parts/projection.demo-vit.digits.json",
        *(f"embeddings/demo-vit@{alpha}/scene_crop.test.zarr" for alpha in ALPHAS),
        "embeddings/ms-vit/scene_crop.train.zarr",
    ],
)
def test_a_run_leaves(results: Path, path: str):
    assert (results / path).exists()


def test_metrics_have_every_column_and_one_value_a_row(results: Path):
    with (results / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    encoders = {row["encoder"] for row in rows if row["task"] == "zero-shot"}
    assert encoders == {f"demo-vit@{alpha}" for alpha in ALPHAS} | {"ms-vit"}
    tasks = {"zero-shot", "retrieval", "text-retrieval", "words", "linear-probe", "few-shot", "knn", "gap"}
    assert {row["task"] for row in rows} == tasks
    gains = {row["encoder"] for row in rows if row["metric"] == "map_gain"}
    assert gains == {"demo-vit@0.5", "demo-vit@1", "ms-vit"}
    headline = [row for row in rows if row["metric"] in ("map", "accuracy") and row["task"] == "zero-shot"]
    assert all(float(row["ci_low"]) <= float(row["ci_high"]) for row in headline)


def test_zero_shot_scores_agree_with_scikit_learn_on_the_files(results: Path, finished_run: Clone):
    """From the embeddings and the head on disk to the number in metrics.csv, by other means."""
    import numpy as np
    from sklearn.metrics import average_precision_score

    store = xarray.open_zarr(finished_run.root / "data/zarr/scene_crop.zarr", group="test")
    embedding = xarray.open_zarr(results / "embeddings/demo-vit@0.5/scene_crop.test.zarr").embedding.to_numpy()
    head = np.load(results / "heads/demo-vit/scene_crop.osm-landuse-8.plain.npz")
    labels = store["labels_osm-landuse-8"].to_numpy()
    scores = embedding / np.linalg.norm(embedding, axis=1, keepdims=True) @ head["weights"].T
    present = labels.any(axis=0)
    expected = average_precision_score(labels[:, present], scores[:, present], average="macro")
    metrics = pandas.read_csv(results / "metrics.csv")
    rows = metrics.query(
        "encoder == 'demo-vit@0.5' and dataset == 'scene_crop' and split == 'test' and prompts == 'plain' "
        "and task == 'zero-shot' and metric == 'map'"
    )
    assert rows.value.item() == pytest.approx(expected, abs=1e-6)


def test_the_patched_model_is_one_that_open_clip_loads(results: Path):
    import open_clip

    model = open_clip.create_model(f"local-dir:{results / 'paint/demo-vit.scene_crop/patched'}")
    assert model.visual.output_dim == 128


def test_jobs_that_need_no_torch_have_little_memory(copied_run: Clone, clone: Clone):
    """Torch alone takes more than half a gigabyte."""
    ended, new = Clone(copied_run.root), Clone(clone.root)  # their jobs are processes of their own
    ended.run("results/small/paint/demo-vit.scene_crop/selected.json", "--forcerun", "select_alpha")
    new.run("data/zarr/digits.zarr/zarr.json")
    jobs = {"convert/digits.rgb.0-of-1": new, "preprocess/digits": new, "paint/demo-vit.scene_crop.select": ended}
    for name, run in jobs.items():
        row = pandas.read_csv(run.root / f"logs/small/{name}.tsv", sep="\t")
        assert row.max_rss.item() < 500


def test_a_killed_run_continues_to_the_same_bytes(copied_run: Clone):
    """Killed with everything it started, in the middle of the fine-tuning; no unlocking, no cleaning up."""
    clone = copied_run
    clone.configure({"evaluate": FEW_SCORES})
    clone.run(METRICS)
    expected = (clone.root / METRICS).read_bytes()
    log = clone.root / "logs/small/finetune/demo-vit.scene_crop.log"
    for path in (clone.root / "results/small").iterdir():  # as if nothing after the heads had been done yet
        if path.name not in ("clip", "heads"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    log.unlink()
    command = [sys.executable, "-m", "snakemake", METRICS, "--cores", "2"]
    with (clone.root / "run.log").open("w") as output:
        run = subprocess.Popen(
            command, cwd=clone.root, env=clone.environment, stdout=output, stderr=output, start_new_session=True
        )
    while run.poll() is None and not log.exists():
        time.sleep(0.1)
    assert run.poll() is None, (clone.root / "run.log").read_text()
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    ran = clone.run(METRICS)
    assert {"finetune", "embed_sweep_scene_crop_new", "collect_metrics"} <= set(ran)
    assert "scratch_clip" not in ran
    assert (clone.root / METRICS).read_bytes() == expected


def test_a_second_process_on_the_same_run_is_refused(clone: Clone):
    from bandbridge.base import runlock

    runlock.hold(clone.root / ".snakemake" / "bandbridge-small.lock", "small")
    completed = clone.snakemake("--cores", "1")
    assert completed.returncode != 0
    assert "another process is working on run 'small'" in completed.stdout + completed.stderr
