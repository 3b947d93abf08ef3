"""An alpha has one name, exact and without an exponent, and a name leads back to its alpha."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.base.alphas import PATTERN, SMALLEST, alpha_name, parse_alpha
from bandbridge.base.errors import UserError

ALPHAS = st.one_of(st.sampled_from([0.0, -0.0, 1.0]), st.floats(SMALLEST, 1))


@given(ALPHAS)
def test_a_name_leads_back_to_its_alpha(alpha: float):
    name = alpha_name(alpha)
    assert re.fullmatch(PATTERN, name)
    assert parse_alpha(name) == alpha


@given(ALPHAS, ALPHAS)
def test_two_alphas_have_one_name_only_where_they_are_equal(first: float, second: float):
    assert (alpha_name(first) == alpha_name(second)) == (first == second)


@pytest.mark.parametrize(
    ("alpha", "name"),
    [(0, "0"), (1, "1"), (-0.0, "0"), (1.0, "1"), (0.5, "0.5"), (1e-5, "0.00001"), (0.1 + 0.2, "0.30000000000000004")],
)
def test_names_are_decimal_numbers(alpha: float, name: str):
    assert alpha_name(alpha) == name


@pytest.mark.parametrize("name", ["1e-05", "0.50", "-0", "2", ".5", "1.0", "", "0.5\n", "selected"])
def test_nothing_else_is_a_name(name: str):
    with pytest.raises(UserError, match="not the name of an alpha"):
        parse_alpha(name)
