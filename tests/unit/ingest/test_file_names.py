"""Names as people write them: endings, case, accents, what programs leave beside files, texts of any encoding."""

import unicodedata

import pytest

from bandbridge.ingest.junk import is_junk, is_trace
from bandbridge.ingest.label_lists import flag, names_in, whole
from bandbridge.ingest.names import Lookalikes, matches
from bandbridge.ingest.text_files import read_lines, read_table, read_text


@pytest.mark.parametrize(
    "name",
    [
        *("Thumbs.db", "a/desktop.ini", "a/b.tif.aux.xml", "a/._b.tif", "__MACOSX/a/b.tif", ".DS_Store", "a/Icon\r"),
        *("a/@eaDir/b.tif", "$RECYCLE.BIN/b.tif", ".ipynb_checkpoints/a.tif", "a/b.tif.ovr", "a/b.tfw", "a/b.hdr"),
        *("b.tif.part", "b.tif~", "~$samples.csv", "b.jpg.crdownload", "a/b.prj", "a/b.qml", "a/.cache/b.tif"),
    ],
)
def test_what_programs_leave_behind_is_no_data(name):
    assert is_junk(name)


@pytest.mark.parametrize("name", ["a/b.tif", "Thumbs/db.png", "hdr/a.tif", "auxiliary.xml", "part.tif"])
def test_data_are_data(name):
    assert not is_junk(name)


def test_a_header_that_changes_is_a_change_of_the_data():
    assert not is_trace("cube.hdr")
    assert is_trace("Thumbs.db")


@pytest.mark.parametrize("name", ["a/b.tif", "a/b.TIF", "a/b.tiff", "a/b.Tiff"])
def test_an_ending_matches_in_any_case_and_spelling(name):
    assert matches(name, "*.tif")
    assert matches(name, "a/*.TIFF")
    assert not matches(name, "*.jp2")
    assert not matches(name, "A/*.tif")


def test_a_name_finds_the_one_file_that_is_meant():
    accented = unicodedata.normalize("NFD", "img/Wälder_1.tif")
    alike = Lookalikes(["img/p1.tif", "img/p2.tif", "x/p2.jpg", accented, "a/q.tif", "a/q.png", "img/._p1.tif"])
    assert alike.of("img/P1.TIF") == ["img/p1.tif"]
    assert alike.of("img/p1") == ["img/p1.tif"]
    assert alike.of("p1.tif") == ["img/p1.tif"]
    assert alike.of("img/Wälder_1.tiff") == [accented]
    assert alike.of("a/q") == ["a/q.tif", "a/q.png"]
    assert alike.of("img/p1.png") == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_lists_of_any_encoding_are_read(tmp_path, encoding):
    text = '\r\n Forest/a_1.tif\r\n"River/Wälder 2.tif"\r\n\r\n'
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    assert read_lines(tmp_path / "list.txt") == ["Forest/a_1.tif", "River/Wälder 2.tif"]


def test_a_guessed_encoding_is_said(tmp_path, capsys):
    (tmp_path / "a.csv").write_bytes("Wälder".encode("latin-1"))
    assert read_text(tmp_path / "a.csv") == "Wälder"
    assert "a.csv is no UTF-8; read as Windows-1252" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ['a,b c,d\n007,"x;y",1\n', "a;b c;d\n007;x;y\n", "a\tb c\td\n007\tx\ty\n", "sep=|\na|b c|d\n007|x|y\n"],
)
def test_the_separator_is_the_one_that_finds_the_columns(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    frame = read_table(tmp_path / "a.csv", ",", ["a", "b c"])
    assert list(frame.columns) == ["a", "b c", "d"]
    assert frame["a"].tolist() == ["007"]


@pytest.mark.parametrize("rows", ["007,NA,\n8,x,\n", "007,NA\n8,x,,\n", "\n007,NA,,,\n8,x\n,,\n"])
def test_empty_cells_after_the_last_column_are_left_out(tmp_path, rows):
    (tmp_path / "a.csv").write_text(f"a,b\n{rows}")
    frame = read_table(tmp_path / "a.csv", ",", ["a", "b"])
    assert list(frame.columns) == ["a", "b"]
    assert frame.values.tolist() == [["007", "NA"], ["8", "x"]]


@pytest.mark.parametrize("rows", ["1,2,3\n", "1,2\n1,2,3\n", "1,2,\n1,2,3\n"])
def test_a_row_with_cells_that_have_no_name_is_refused_with_its_text(tmp_path, rows):
    (tmp_path / "a.csv").write_text(f"a,b\n{rows}")
    with pytest.raises(ValueError, match="its row '1,2,3' has more cells than the 2 column names; name the others"):
        read_table(tmp_path / "a.csv", ",", ["a", "b"])


@pytest.mark.parametrize(
    "text",
    [
        "['forest', 'dense maize']",
        '["forest", "dense maize"]',
        "('forest', 'dense maize')",
        "['forest' 'dense maize']",  # as NumPy prints
        "['forest'\n 'dense maize']",
        '{forest,"dense maize"}',  # PostgreSQL
        "[forest, dense maize]",
        "forest|dense maize",
        " forest | dense maize | ",
    ],
)
def test_lists_in_a_cell_are_read_however_they_are_written(text):
    assert names_in(text, "|") == ["forest", "dense maize"]


def test_lists_of_numbers_empty_lists_and_apostrophes():
    assert names_in("[0, 2]", "|") == ["0", "2"]
    assert names_in("[0. 2.]", "|") == ["0.", "2."]
    assert names_in("[0 2]", "|") == ["0", "2"]
    assert names_in("[]", "|") == names_in("", "|") == []
    assert names_in('["farmer\'s field"]', "|") == ["farmer's field"]
    assert names_in(r"['farmer\'s field', 'b']", "|") == ["farmer's field", "b"]


def test_a_list_in_a_cell_runs_no_code():
    assert names_in("[__import__('os').getpid()]", "|") == ["__import__('os').getpid()"]


@pytest.mark.parametrize(
    ("text", "expected"), [("1.0", "1"), ("2.", "2"), ("1.5", "1.5"), ("3.10", "3.10"), ("a", "a")]
)
def test_whole_numbers_lose_their_point(text, expected):
    assert whole(text) == expected


def test_flags_of_any_program():
    assert [flag(text) for text in ("1", "1.0", "TRUE", "yes")] == [True] * 4
    assert [flag(text) for text in ("0", "0.0", "False", "n", "")] == [False] * 5
    assert [flag(text) for text in ("0.7", "2", "maybe")] == [None] * 3
