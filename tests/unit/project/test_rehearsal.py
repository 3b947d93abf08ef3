"""The dress rehearsal: archives that the readers take for the publishers', and lines through what jobs took."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from bandbridge.catalogue.datasets import load_dataset
from bandbridge.config.checks import validate
from bandbridge.config.networks import clips
from bandbridge.ingest.readers import reader

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def benchmarks():
    """The two scripts, which find each other in their folder."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        modules = []
        for name in ("rehearsal_archives", "rehearsal"):
            spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            modules.append(module)
        yield modules
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize(
    ("name", "samples", "stream"),
    [
        ("eurosat_ms", 20, "s2"),
        ("bigearthnet_v1", 5, "s2"),
        ("bigearthnet_v1", 5, "s1"),
        ("sen12ms", 4, "s2"),
        ("sen12ms", 4, "s1"),
        ("imagenet", 7, "rgb"),
    ],
)
def test_every_sample_of_an_archive_is_planned_and_read(benchmarks, tmp_path, name, samples, stream):
    archives, _ = benchmarks
    modalities = {"modalities": ["s2", "s1"]} if stream == "s1" else {}
    archives.DATASETS[name].make(tmp_path, samples, modalities.get("modalities", ()))
    dataset = load_dataset(name, modalities)
    planned = {row.id for row in reader(dataset).plan(dataset, tmp_path)}
    assert len(planned) == samples
    wanted = set(sorted(planned)[:2])
    read = {sample.id: sample for sample in reader(dataset).read(dataset, tmp_path, stream, wanted)}
    assert wanted <= set(read)
    bands, axis = len(dataset.modality(stream).bands), -1 if stream == "rgb" else 0
    assert all(read[each].pixels.shape[axis] == bands for each in wanted)


@pytest.mark.parametrize(("name", "files"), [("bigearthnet_v1", 1), ("sen12ms", 4)])
def test_archives_of_sentinel_1_are_made_only_where_they_are_wanted(benchmarks, tmp_path, name, files):
    archives, _ = benchmarks
    archives.DATASETS[name].make(tmp_path, 2)
    without = {path.name for path in tmp_path.iterdir()}
    archives.DATASETS[name].make(tmp_path, 2, ["s2", "s1"])
    sources = {source.file for source in load_dataset(name, {}).sources if source.stream == "s1"}
    assert {path.name for path in tmp_path.iterdir()} - without == sources
    assert len(sources) == files


def test_made_up_backscatter_depends_on_the_class_and_is_weaker_across_polarisations(benchmarks):
    archives, _ = benchmarks
    means = np.array([archives.backscatter(number, number % 4, 32).mean(axis=(1, 2)) for number in range(8)])
    np.testing.assert_allclose(means[:4], means[4:], atol=0.5)
    assert (np.diff(np.sort(means[:4, 0])) > 0.5).all()
    assert (means[:, 1] < means[:, 0] - 3).all()
    assert (means > -30).all()
    assert (means < 0).all()


def test_a_copy_of_a_data_set_s_file_states_the_checksums_of_what_was_made(benchmarks, tmp_path):
    archives, _ = benchmarks
    archives.write_eurosat(tmp_path, 10)
    copied = tmp_path / "eurosat_ms.yaml"
    copied.write_bytes((ROOT / "workflow/datasets/eurosat_ms.yaml").read_bytes())
    archives.state_checksums(copied, tmp_path)
    facts = yaml.safe_load(copied.read_text())
    assert "samples" not in facts
    for source in facts["sources"]:
        assert source["md5"] == hashlib.md5((tmp_path / source["file"]).read_bytes()).hexdigest()


def test_at_its_fewest_samples_each_split_of_sen12ms_and_imagenet_has_every_class(benchmarks, tmp_path):
    archives, _ = benchmarks
    scenes = range(min(archives.SCENES, archives.DATASETS["sen12ms"].samples(10**6)))
    for split in ("train", "test"):
        assert {scene % len(archives.IGBP) for scene in scenes if archives.split_of_scene(scene) == split} == set(
            range(10)
        )
    archives.write_imagenet(tmp_path, archives.DATASETS["imagenet"].samples(10**6))
    dataset = load_dataset("imagenet", {})
    splits = Counter(row.split for row in reader(dataset).plan(dataset, tmp_path))
    assert splits == {"val": 1000, "test": 2000}


def test_a_job_of_snakemake_s_leaves_its_time_and_its_memory(benchmarks, tmp_path):
    _, rehearsal = benchmarks
    (tmp_path / "sitecustomize.py").write_text(rehearsal.WATCHER)
    job = tmp_path / "tmpabc.score_knn.py"
    job.write_text(
        "from types import SimpleNamespace\n"
        "snakemake = SimpleNamespace(rule='score_knn_x', output=['metrics/a/knn.x.csv'])\n"
        "kept = bytearray(50_000_000)\nsum(range(3_000_000))\n"
    )
    lines = tmp_path / "jobs.jsonl"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), rehearsal.WATCHED: str(lines)}
    for command in ([str(job)], ["-c", "pass"]):
        subprocess.run([sys.executable, *command], env=environment, check=True)
    (line,) = map(json.loads, lines.read_text().splitlines())
    assert line["script"] == "score_knn"
    assert line["outputs"] == ["metrics/a/knn.x.csv"]
    assert line["seconds"] > 0.02
    assert line["memory_mb"] > 50


def test_figures_are_summed_by_script_and_data_set(benchmarks, tmp_path):
    _, rehearsal = benchmarks
    jobs = [
        ("score_gap", "m/one.csv", 1.0, 90),
        ("score_gap", "m/one.x.csv", 2.0, 80),
        ("tables", "tables/a.md", 4.0, 10),
    ]
    lines = [
        {"script": script, "rule": script, "outputs": [output], "seconds": seconds, "memory_mb": memory}
        for script, output, seconds, memory in jobs
    ]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "data/zarr/one.zarr").mkdir(parents=True)
    (tmp_path / "data/zarr/one.zarr/c").write_bytes(bytes(3_000_000))
    rows = {(r.stage, r.dataset): r for r in rehearsal.figures(tmp_path, "run", {"one": 5, "two": 7}, "two", 10.0)}
    gap = rows["score_gap", "one"]
    assert (gap.jobs, gap.seconds, gap.memory_mb, gap.samples) == (2, 3.0, 90, 5)
    assert rows["tables", "two"].seconds == 4.0
    assert rows["Snakemake", "two"].seconds == pytest.approx(3.0)
    assert rows["disk: store", "one"].disk_mb == 3.0


def test_a_stage_s_line_and_its_residual_are_those_of_least_squares(benchmarks):
    _, rehearsal = benchmarks
    seconds = {100: 22.0, 200: 44.0, 300: 62.0}
    rows = [rehearsal.Figures("convert", "one", n, jobs=2, seconds=value) for n, value in seconds.items()]
    (fit,) = rehearsal.fits(rows)
    assert (fit["stage"], fit["dataset"], fit["quantity"]) == ("convert", "one", "seconds")
    assert fit["per_sample"] == pytest.approx(0.1)
    assert fit["fixed"] == pytest.approx(4 / 3)
    assert fit["residual"] == pytest.approx(2 / 3)


def test_no_line_goes_through_runs_of_one_size(benchmarks):
    _, rehearsal = benchmarks
    assert (
        rehearsal.fits([rehearsal.Figures("convert", "one", 60, jobs=1, seconds=value) for value in (1.0, 2.0)]) == []
    )


def configuration(rehearsal, preset):
    config = rehearsal.read(ROOT / "config.yaml")
    for name in rehearsal.PRESETS[preset]:
        config = rehearsal.merged(config, rehearsal.read(ROOT / f"workflow/presets/{name}.yaml"))
    return config


@pytest.mark.parametrize("preset", ["paper", "paper-backbones", "paper-sentinel-1", "paper-sen12ms", "paper-eurosat"])
def test_a_rehearsal_of_the_paper_has_all_its_data_sets(benchmarks, preset):
    _, rehearsal = benchmarks
    uses = rehearsal.uses(configuration(rehearsal, preset))
    assert uses == {"eurosat_ms", "bigearthnet_v1", "sen12ms", "imagenet"} == set(rehearsal.DATASETS)


@pytest.mark.parametrize(("preset", "networks"), [("paper-sentinel-1", 1), ("paper-backbones", 4)])
def test_a_rehearsal_with_small_networks_is_a_valid_run_with_as_many_of_them(benchmarks, tmp_path, preset, networks):
    _, rehearsal = benchmarks
    config = configuration(rehearsal, preset)
    changes = rehearsal.reduced(config, True, list(rehearsal.DATASETS), tmp_path)
    run = validate(rehearsal.merged(config, changes))
    assert len(clips(run)) == networks
    assert all((Path(weights) / "open_clip_config.json").is_file() for _, weights in clips(run).values())
    wanted = {name: student for name, student in config["align"]["students"].items() if student}
    assert run["align"]["students"].keys() == wanted.keys()
    for name, student in run["align"]["students"].items():
        assert (student.get("modality"), student["bands"]) == (wanted[name].get("modality"), wanted[name]["bands"])
