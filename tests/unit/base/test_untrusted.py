"""Text that others wrote stays text: as a path, a number, a cell of a spreadsheet, a line of a log."""

import csv
import io
import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.base.untrusted import as_cell, decimal_number, from_cell, has_unseen, leads_out, visible, whole_number

STARTS = st.sampled_from(["", "'", "''", "=", "+", "-", "@", "\t", "\r", "\n", "＝", "'="])


@given(STARTS, st.text())
def test_a_cell_is_read_as_it_was_written_and_is_no_formula(start, rest):
    text = start + rest
    cell = as_cell(text)
    assert from_cell(cell) == text
    assert len(cell) < 2 or cell[0] not in "=+-@\t\r\n＝＋－＠" or float(cell) is not None


@pytest.mark.parametrize("text", ["-1.5", "+2e5", "0", "-.5", "1e-07", "-", "", "x=1", "class-a"])
def test_numbers_and_plain_names_stay_as_they_are(text):
    assert as_cell(text) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))))
def test_shielded_cells_survive_csv(texts):
    file = io.StringIO()
    csv.writer(file).writerow([*map(as_cell, texts), "end"])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert [from_cell(cell) for cell in row] == [*texts, "end"]


@given(st.text(st.sampled_from("ab./\\:~ ")))
def test_a_name_that_does_not_lead_out_stays_below_its_folder(name):
    if not leads_out(name):
        parts = PurePosixPath("/folder", name).parts
        assert parts[:2] == ("/", "folder")
        assert ".." not in parts


@pytest.mark.parametrize("name", ["a.tif", "a/b.tif", "~$draft.txt", "..a", "a..b/c", "äöü/1.tif", "日本.tif"])
def test_usual_names_are_fine(name):
    assert not leads_out(name)
    assert not has_unseen(name)


@given(st.integers(0, 10**18))
def test_a_whole_number_is_read(number):
    assert whole_number(str(number)) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1_0", "²", "١", "1.0", "0x1", "9" * 5_000])
def test_anything_else_is_no_whole_number(text):
    assert whole_number(text) is None


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("-0.5", -0.5), ("1e3", 1000), (".5", 0.5), ("7.", 7)])
def test_a_decimal_number_is_read(text, number):
    assert decimal_number(text) == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "1_0", "١", "1,5", "0x1", " 1", "1e", "--1"])
def test_anything_else_is_no_decimal_number(text):
    assert decimal_number(text) is None


@given(st.text())
def test_what_is_visible_steers_no_terminal(text):
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", visible(text))
    assert len(visible(text)) == len(text)
