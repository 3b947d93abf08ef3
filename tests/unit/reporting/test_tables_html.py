"""Tables as HTML: what headings are of, what a cell holds, and the same numbers as in every other format."""

import re
from html.parser import HTMLParser

import pytest
from full_rows import frame, full_curve, full_rows
from pages import Page

from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.formats import to_markdown
from bandbridge.reporting.tables.html import to_html
from bandbridge.reporting.tables.latex import latex_escape, to_latex
from bandbridge.reporting.tables.model import Cell, Column, Line, Quote, Table
from bandbridge.reporting.tables.texts import asides, shown_value

MODEL = {"line": "ViT-B-32", "clip": "ViT-B-32", "teaches": True}
FACTS = {"all-bands": {"Loss": "MSE"}, "rgb-labels-alone": {"Loss": "labels"}}
WORDS = {"eurosat_ms": {"River": ["a creek"], "Forest": ["trees"]}}
NASTY = "<b onclick=x>&\"'{{ 1 }}{% %}"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    metrics = frame(full_rows(), tmp_path_factory.mktemp("metrics"))
    patched = [{**MODEL, "dataset": "bigearthnet_v1", "nomenclature": "bigearthnet-19"}]
    return all_tables(metrics, [full_curve()], students=FACTS, words=WORDS, patched=patched)


class Cells(HTMLParser):
    """The rows of a table: per cell its tag, its attributes, and its texts."""

    def __init__(self, text):
        super().__init__()
        self.rows = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append((dict(attrs), []))
        if tag in ("th", "td"):
            self.rows[-1][1].append((tag, dict(attrs), []))

    def handle_data(self, data):
        if self.rows and self.rows[-1][1] and data.strip():
            self.rows[-1][1][-1][2].append(data.strip())


def table_of(*cells, **line):
    columns = tuple(Column("G", "mAP", str(number), "list") for number in range(len(cells)))
    return Table("t", "c", ("Model",), columns, (Line(("m",), cells, **line),))


def markdown_rows(table):
    lines = [line[2:-2] for line in to_markdown(table).splitlines() if line.startswith("| ")]
    return [re.split(r"(?<!\\) \| ", line) for line in lines[2:]]


def test_all_formats_show_the_same_numbers_in_every_cell(tables):
    for table in tables.values():
        rows = [cells for _, cells in Cells(to_html(table)).rows][-len(table.lines) :]
        latex, texts = to_latex(table), len(table.headings)
        for line, html, markdown in zip(table.lines, rows, markdown_rows(table), strict=True):
            assert [" ".join(cell[2]) for cell in html[:texts]] == list(line.texts)
            for cell, column, (*_, shown), text in zip(
                line.cells, table.columns, html[texts:], markdown[texts:], strict=True
            ):
                value = shown_value(cell, column)
                assert shown[:1] == ([value] if value else [])
                assert text.replace("*", "").replace("\\", "").startswith(value.rstrip("*"))
                assert cell.value is None or latex_escape(value) in latex
                for aside in asides(cell, column):
                    assert latex_escape(aside) in latex
                    assert all(number in " ".join(shown) for number in re.findall(r"\d+\.\d+", aside))


def test_headings_say_what_they_are_of(tables):
    (groups, labels, *body) = Cells(to_html(tables["classification"])).rows
    assert groups[0] == {"class": "groups"}
    spans = [(cell[0], cell[1].get("colspan", ""), cell[1].get("scope", "")) for cell in groups[1]]
    assert spans == [("td", "", ""), ("th", "6", "colgroup"), ("th", "", "colgroup"), ("th", "", "colgroup")]
    assert {cell[1]["scope"] for cell in labels[1]} == {"col"}
    assert labels[1][1][2] == ["mAP", "bigearthnet-5, plain"]
    assert {cells[0][0] for _, cells in body} == {"th"}
    assert {cells[0][1]["scope"] for _, cells in body} == {"row"}
    assert {len(cells) for _, cells in body} == {len(labels[1])}


def test_without_groups_there_is_one_row_of_headings():
    table = Table("t", "c", ("Model",), (Column("", "mAP", "a"),), (Line(("m",), (Cell(1.0),)),))
    assert len(Cells(to_html(table)).rows) == 2


def test_a_cell_has_its_number_to_sort_by_and_its_published_figures_with_their_source():
    quote = Quote(69.7, None, "‡", "somebody, second hand")
    html = to_html(table_of(Cell(38.53, 34.9, 41.2, gain=3.7, p=0.01, strong=True, quotes=(quote,)), Cell()))
    assert 'data-value="38.53"' in html
    assert 'data-value=""' in html
    assert "<strong>38.5</strong>" in html
    assert '<span class="gain">+3.7*</span> <span class="interval">34.9 to 41.2</span>' in html
    assert '<span class="quote" title="somebody, second hand">‡\u00a069.7</span>' in html


@pytest.mark.parametrize(("line", "kind"), [({"strong": True}, "selected"), ({"source": "x"}, "published"), ({}, None)])
def test_rows_of_the_selection_and_of_others_are_marked(line, kind):
    assert Cells(to_html(table_of(Cell(1.0), **line))).rows[-1][0].get("class") == kind


def test_names_are_text_wherever_they_stand():
    columns = (Column(NASTY, NASTY, NASTY, NASTY), Column(NASTY, NASTY, "b", NASTY))
    cell = Cell(1.0, quotes=(Quote(1.0, None, NASTY, NASTY),))
    html = to_html(Table(NASTY, NASTY, (NASTY,), columns, (Line((NASTY,), (cell, cell)),)))
    page = Page(html)
    assert not page.faults
    assert "onclick" not in {name for _, attributes in page.elements for name in attributes}
    assert not page.all("b")
    assert page.text.count(NASTY) == 1 + 1 + 2 * 2 + 1 + 2  # group, heading, labels and details, row, marks
