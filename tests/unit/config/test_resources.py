"""What jobs ask of a scheduler: enough for what was measured, more for more data, more with each attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_store import COUNTS, random_samples, write_store

from bandbridge.catalogue.datasets import load_dataset
from bandbridge.config import resources
from bandbridge.config.resources import Stored

BIGEARTHNET = Stored({"train": 269_695, "val": 123_723, "test": 125_866}, 12 * 120 * 120 * 2, 43)
IMAGENET = Stored({"val": 10_000, "test": 40_000}, 224 * 224 * 3, 1000)
PAPER = {"epochs": 5, "batch_size": 256}
STUDENT = {"backbone": "vit_small_patch16_224", "image_size": 224, "options": {}}


def test_a_store_tells_its_size(tmp_path):
    dataset = load_dataset("eurosat_ms")
    write_store(tmp_path / "small.zarr", dataset, random_samples(dataset, COUNTS, 64, 0))
    size = resources.stored(tmp_path / "small.zarr" / "zarr.json")
    assert size == Stored(COUNTS, 13 * 64 * 64 * 2, 10)
    assert size.total == sum(COUNTS.values())


@pytest.mark.parametrize(
    ("name", "giga", "millions"),
    # Multiply-adds as in open_clip's own table (docs/model_profile.csv), weights of the transformer's blocks.
    [("ViT-B-32", 4.4, 85), ("ViT-B-16", 17.6, 85), ("ViT-L-14", 81, 302), ("ViT-L-14-336", 191, 302)],
)
def test_a_clip_costs_what_open_clip_says(name, giga, millions):
    network = resources.clip_network(name)
    assert network.operations / 1e9 == pytest.approx(giga, rel=0.05)
    assert network.weights / 1e6 == pytest.approx(millions, rel=0.05)


def test_an_own_architecture_is_known_and_a_strange_one_taken_for_large():
    assert resources.clip_network("demo-vit").operations < 1e9
    assert resources.clip_network("RN50") == resources.UNKNOWN
    assert resources.student_network({"backbone": "swin_tiny"}) == resources.UNKNOWN


def test_a_students_options_count():
    whole = resources.student_network(STUDENT)
    assert whole.operations / 1e9 == pytest.approx(4.6, rel=0.05)
    small = resources.student_network(
        {"backbone": "vit_tiny_patch16_224", "image_size": 32, "options": {"img_size": 32, "patch_size": 8, "depth": 4}}
    )
    assert small.operations < whole.operations / 50


def alignment(**changes):
    processes = {"gpus": 1, "nodes": 1} | changes
    network, teacher = resources.student_network(STUDENT), resources.clip_network("ViT-B-32")
    return resources.training([BIGEARTHNET], network, PAPER, teacher=teacher, **processes)


def test_the_papers_alignment_fits_a_day_and_a_node():
    job = alignment()
    assert 60 < job.minutes < 24 * 60
    assert job.mem_mb < 64_000


def test_more_gpus_take_less_time_and_more_memory():
    one, four, nodes = alignment(), alignment(gpus=4), alignment(gpus=2, nodes=2)
    assert four.minutes < one.minutes
    assert four.mem_mb > one.mem_mb
    assert nodes.minutes <= four.minutes
    assert nodes.mem_mb < four.mem_mb


def test_the_demo_asks_for_little():
    demo = Stored({"train": 595, "val": 128, "test": 180}, 13 * 32 * 32 * 2, 8)
    network = resources.clip_network("demo-vit")
    train = resources.training([demo], network, {"epochs": 20, "batch_size": 32})
    for job in (train, resources.encoding(demo, network, 11, 128, ["val", "test"]), resources.scoring(demo)):
        assert job.mem_mb <= 8_000
        assert job.minutes <= 40


def test_scores_of_a_thousand_classes_hold_them_all():
    assert resources.scoring(IMAGENET).mem_mb > IMAGENET.total * 1000 * 4 / 1e6


def test_a_probe_of_bigearthnet_has_its_embeddings_in_memory():
    job = resources.probing(BIGEARTHNET, {"C": [0.01, 0.1, 1, 10], "max_iterations": 1000})
    assert job.mem_mb > BIGEARTHNET.total * 512 * 4 / 1e6
    assert job.minutes < 24 * 60


def test_converting_bigearthnet_has_three_times_what_was_measured():
    """40 MB a second and 0.9 GB, on one core (benchmarks/README.md)."""
    job = resources.converting(66e9)
    assert job.minutes > 66e9 / 40e6 / 60 * 3
    assert job.mem_mb > 2 * 890


def test_a_folder_is_as_large_as_its_files(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "below" / "b").write_bytes(b"123")
    assert resources.size_of(tmp_path) == 8
    assert resources.size_of(tmp_path / "absent") == 0


@given(attempt=st.integers(1, 50), memory=st.integers(1, 10**6), minutes=st.integers(1, 10**5))
def test_attempts_grow_to_an_end_and_time_to_its_limit(attempt, memory, minutes):
    ask = resources.Ask(memory, minutes)
    assert ask.memory(attempt) <= ask.memory(attempt + 1) <= 3 * memory
    assert ask.runtime(attempt) <= ask.runtime(attempt + 1) <= 3 * minutes
    assert ask.runtime(attempt, limit=600) == min(600, ask.runtime(attempt))
    assert ask.memory(2) == 2 * memory
