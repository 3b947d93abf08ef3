"""The dress rehearsal: archives that the readers take for the publishers', and lines through what stages took."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import pytest
import yaml

from bandbridge.catalogue.datasets import load_dataset
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
    ("name", "samples", "stream"), [("eurosat_ms", 20, "s2"), ("bigearthnet_v1", 5, "s2"), ("sen12ms", 41, "s2")]
)
def test_every_sample_of_an_archive_is_planned_and_read(benchmarks, tmp_path, name, samples, stream):
    archives, _ = benchmarks
    archives.DATASETS[name][0](tmp_path, samples)
    dataset = load_dataset(name, {})
    planned = {row.id for row in reader(dataset).plan(dataset, tmp_path)}
    assert len(planned) == samples
    wanted = set(sorted(planned)[:2])
    read = {sample.id: sample for sample in reader(dataset).read(dataset, tmp_path, stream, wanted)}
    assert wanted <= set(read)
    bands = len(dataset.primary.bands)
    assert all(read[each].pixels.shape[0] == bands for each in wanted)


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


def test_a_stage_s_line_and_its_residual_are_those_of_least_squares(benchmarks):
    _, rehearsal = benchmarks
    seconds = {100: 11.0, 200: 22.0, 300: 31.0}
    measured = {n: {"convert": rehearsal.Stage(1, value)} for n, value in seconds.items()}
    fit = rehearsal.fits(measured)["convert"]
    assert fit["per_sample"] == pytest.approx(0.1)
    assert fit["fixed"] == pytest.approx(4 / 3)
    assert fit["residual"] == pytest.approx(2 / 3)


def test_a_rehearsal_leaves_out_no_student_and_no_data_set_but_those_that_cannot_be_made(benchmarks, tmp_path):
    _, rehearsal = benchmarks
    config = rehearsal.merged(
        rehearsal.read(ROOT / "config.yaml"), rehearsal.read(ROOT / "workflow/presets/paper.yaml")
    )
    datasets = [name for name in rehearsal.DATASETS if name in rehearsal.uses(config)]
    assert datasets == ["eurosat_ms", "bigearthnet_v1", "sen12ms"]
    assert rehearsal.uses(config) - set(datasets) == {"imagenet"}
