"""A function is called with what its parameters are named after."""

import pytest

from bandbridge.base.by_name import call_by_name


class Doubling:
    def of(self, number, factor=2):
        return number * factor


def test_values_go_to_the_parameters_of_their_names():
    assert call_by_name(lambda dataset, split: (dataset, split), {"split": "val", "dataset": "digits", "x": 1}) == (
        "digits",
        "val",
    )


def test_a_default_stands_where_no_value_has_the_name():
    assert call_by_name(Doubling().of, {"number": 3}) == 6
    assert call_by_name(Doubling().of, {"number": 3, "factor": 3}) == 9


def test_a_value_that_is_missing_is_named():
    with pytest.raises(TypeError, match="dataset"):
        call_by_name(lambda dataset: dataset, {"split": "val"})
