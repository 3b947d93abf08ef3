"""The recipe's values that docs/reproduce-paper.md shows beside the authors' are those of the preset."""

import re
from pathlib import Path

import pytest
import yaml

from bandbridge.config.checks import read_config, validate

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reproduce-paper.md").read_text()
SECTION = PAGE.partition("## Values of the recipe")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*`.*\|$", SECTION, re.MULTILINE)
]
ROWS = [row for row in ROWS if row[0] != "what"]


@pytest.fixture(scope="module")
def paper():
    return validate(read_config([ROOT / "config.yaml", ROOT / "workflow/presets/paper.yaml"]))


def test_the_table_has_at_least_thirty_values_with_their_sources():
    assert len(ROWS) >= 30
    assert all(len(row) == 5 and all(row) for row in ROWS)
    assert len({row[3] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3].strip("`"))
def test_a_value_is_that_of_the_preset(paper, row):
    *_, key, value = row
    entry = paper
    for part in key.strip("`").split("."):
        entry = entry[part]
    assert entry == yaml.safe_load(value)


def test_where_theirs_is_a_number_ours_is_the_same():
    numbers = [(float(row[1]), float(row[4])) for row in ROWS if re.fullmatch(r"[\d.]+(e-\d+)?", row[1])]
    assert len(numbers) >= 20
    assert all(theirs == ours for theirs, ours in numbers)
