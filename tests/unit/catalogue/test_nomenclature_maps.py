"""How class schemes lead to each other, against the tables their authors published."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bandbridge.catalogue.datasets import (
    label_map,
    load_nomenclature,
    nomenclature_names,
    read_yaml,
)
from bandbridge.ingest.readers.sen12ms import SIMPLIFIED

# Level 3 -> the 19 classes (empty: none) and level 1: read from the constants of the package bigearthnet-common 2.8.0.
PUBLISHED = Path(__file__).parents[2] / "data" / "bigearthnet_v1" / "label_map.csv"
LEVEL_1 = {
    "Artificial Surfaces": "Artificial surfaces",
    "Agricultural areas": "Agricultural areas",
    "Forest and seminatural areas": "Forest and semi-natural areas",
    "Wetlands": "Wetlands",
    "Water bodies": "Water bodies",
}


@pytest.fixture(scope="module")
def published():
    with PUBLISHED.open(newline="") as file:
        return list(csv.DictReader(file))


def mapped(source, target):
    """Class of one nomenclature -> classes of the other that it becomes."""
    source, target = load_nomenclature(source), load_nomenclature(target)
    matrix = label_map(source, target)
    return {
        name: [target.classes[column] for column in np.flatnonzero(row)]
        for name, row in zip(source.classes, matrix, strict=True)
    }


def test_the_43_classes_are_the_published_ones_in_their_order(published):
    assert list(load_nomenclature("bigearthnet-43").classes) == [row["level_3"] for row in published]


def test_the_43_become_the_19_as_published(published):
    expected = {row["level_3"]: [row["of_the_19"]] if row["of_the_19"] else [] for row in published}
    assert mapped("bigearthnet-43", "bigearthnet-19") == expected
    without = [number for number, row in enumerate(published) if not row["of_the_19"]]
    assert without == [*range(3, 11), 30, 32, 37]


def test_the_43_become_the_5_as_published(published):
    classes_of_43 = mapped("bigearthnet-43", "bigearthnet-5")
    assert classes_of_43 == {row["level_3"]: [LEVEL_1[row["level_1"]]] for row in published}
    numbers = [load_nomenclature("bigearthnet-5").classes.index(*classes_of_43[row["level_3"]]) for row in published]
    assert numbers == [0] * 11 + [1] * 11 + [2] * 11 + [3] * 5 + [4] * 5


def test_the_5_are_the_same_by_way_of_the_19():
    direct, first = mapped("bigearthnet-43", "bigearthnet-5"), mapped("bigearthnet-43", "bigearthnet-19")
    second = mapped("bigearthnet-19", "bigearthnet-5")
    assert all(len(united) == 1 for united in second.values())
    for name, intermediate in first.items():
        for other in intermediate:
            assert second[other] == direct[name]


@pytest.mark.parametrize("name", nomenclature_names())
def test_every_class_that_a_map_speaks_of_exists(name):
    nomenclature = load_nomenclature(name)
    for other in nomenclature.maps:
        matrix = label_map(load_nomenclature(other), nomenclature)
        assert matrix.sum(axis=0).all(), f"a class of {name} has no counterpart in {other}"
        assert (matrix.sum(axis=1) <= 1).all(), f"a class of {other} becomes two of {name}"


@pytest.mark.parametrize("name", nomenclature_names())
def test_maps_name_only_classes_of_their_own_scheme(name):
    """A misspelt class would silently lose its map."""
    for united in read_yaml("nomenclatures", name).get("maps", {}).values():
        assert set(united) == set(load_nomenclature(name).classes)


@pytest.mark.parametrize("name", ["bigearthnet-43", "bigearthnet-19", "bigearthnet-5", "igbp-simplified-10"])
def test_prompt_names_are_lower_case_words(name):
    for text in load_nomenclature(name).prompt_names:
        assert text == text.lower()
        assert "/" not in text


def test_the_simplified_igbp_scheme_unites_the_seventeen_classes():
    classes = load_nomenclature("igbp-simplified-10").classes
    assert sorted(SIMPLIFIED) == list(range(1, 18))
    members = {name: [value for value in SIMPLIFIED if classes[SIMPLIFIED[value]] == name] for name in classes}
    assert members == {
        "Forest": [1, 2, 3, 4, 5],
        "Shrubland": [6, 7],
        "Savanna": [8, 9],
        "Grassland": [10],
        "Wetlands": [11],
        "Croplands": [12, 14],
        "Urban and built-up": [13],
        "Snow and ice": [15],
        "Barren": [16],
        "Water": [17],
    }
