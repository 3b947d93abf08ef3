"""Whether a data set has as many samples as its scores ask for."""

from pathlib import Path

import pytest
from small_store import COUNTS, random_samples, write_store

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.store.sample_counts import check_sample_counts


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    dataset = load_dataset("digits")
    path = tmp_path_factory.mktemp("store") / "digits.zarr"
    write_store(path, dataset, random_samples(dataset, COUNTS, 8, seed=0))
    return path


def asked(key: str, *values: int, split: str = "test") -> dict:
    return {"key": key, "values": list(values), "split": split, "labelled": True}


def test_values_that_the_samples_suffice_for_pass(store: Path):
    checked = check_sample_counts(store, ["digits-10"], [asked("evaluate.retrieval.ks", 1, 17)], [1, 3])
    assert checked == {"counts": {"digits-10": COUNTS}, "notes": []}


def test_every_value_that_is_too_large_is_named_at_once(store: Path):
    neighbours = [asked("evaluate.retrieval.label_map_k", 18), asked("evaluate.knn.k", 31, split="train")]
    with pytest.raises(UserError) as refused:
        check_sample_counts(store, ["digits-10"], neighbours, [4])
    assert str(refused.value).splitlines() == [
        "evaluate.retrieval.label_map_k has 18; digits has 17 samples in test with a label in digits-10.",
        "evaluate.knn.k has 31; digits has 30 samples in train with a label in digits-10.",
        "evaluate.linear_probe.shots has 4; of one class digits has 3 samples in train with a label in digits-10.",
        "Lower these values, or score data sets with more samples.",
    ]


def test_a_split_that_the_data_set_lacks_asks_for_nothing(store: Path):
    assert check_sample_counts(store, ["digits-10"], [asked("k", 1000, split="other")])["notes"] == []


def test_classes_of_fewer_samples_than_the_probes_take_are_named(tmp_path: Path):
    dataset = load_dataset("digits")
    path = tmp_path / "digits.zarr"
    write_store(path, dataset, random_samples(dataset, {"train": 15, "val": 10, "test": 10}, 8, seed=0))
    notes = check_sample_counts(path, ["digits-10"], [], [1, 2])["notes"]
    assert notes == ["digits: probes of 2 samples per class have fewer of 5 (1), 6 (1), 7 (1), 8 (1), 9 (1)."]
