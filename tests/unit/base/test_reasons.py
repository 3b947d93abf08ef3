"""Reasons of a quarantine list: grouped by what they have in common, and the same each time."""

import pytest

from bandbridge.base.reasons import group_reasons, without_made_up_names


@pytest.mark.parametrize(
    ("reason", "lasting"),
    [
        ("cannot identify image file <_io.BytesIO object at 0x7f33c2742610>", "cannot identify image file"),
        ("'/vsimem/9c1b-44/9c1b-44.tif' not recognized as a supported format", " not recognized as a supported format"),
        ("/vsimem/a1/b.tif, band 1: IReadBlock failed at X offset 0", ", band 1: IReadBlock failed at X offset 0"),
        ("shape is (3, 4, 5), expected 3 axes with 13 bands", "shape is (3, 4, 5), expected 3 axes with 13 bands"),
    ],
)
def test_names_that_libraries_make_up_are_left_out(reason: str, lasting: str):
    assert without_made_up_names(reason) == lasting


def test_reasons_that_differ_in_numbers_are_one_and_the_most_frequent_comes_first():
    rows = [("a", "train", "lacks band B8A")] + [(f"b{n}", "val", f"has {n} of 9,000 bytes") for n in (71, 72, 73, 74)]
    first, second = group_reasons(rows)
    assert (first.text, dict(first.counts), first.examples) == (
        "has … of 9,000 bytes",
        {"val": 4},
        ["b71", "b72", "b73"],
    )
    assert (second.text, second.examples) == ("lacks band B8A", ["a"])
