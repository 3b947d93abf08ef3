"""Names of classes and data sets that look like maths, markup, code or formulas are shown as the text that they are."""

import csv
import json
import re
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import synthetic_run
import vl_convert
import yaml
from markdown_it import MarkdownIt
from pages import Page
from synthetic_run import make_report

from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue import datasets as catalogue
from bandbridge.catalogue.titles import dataset_title
from bandbridge.reporting.figures.datasets import band_spectrum, band_values, class_counts
from bandbridge.reporting.figures.drawing import ON_PAPER, Album, page_svg
from bandbridge.reporting.figures.models import confusions, per_class, probes, shots
from bandbridge.reporting.figures.run import stage_costs
from bandbridge.reporting.figures.space import projection
from bandbridge.reporting.page.quarantine import read_quarantine
from bandbridge.reporting.tables.formats import to_csv, to_markdown
from bandbridge.reporting.tables.latex import latex_escape, to_latex
from bandbridge.reporting.tables.model import Cell, Column, Line, Table
from bandbridge.scoring.rows import read_rows

pytestmark = pytest.mark.attack("names")

TITLE = 'A $scene$ of <i onclick="x">_many_</i> `names` | (test)'
NAMES = (
    r"$\frac{1}{2}$ and one $",
    "<script>alert(1)</script>",
    '=HYPERLINK("http://evil")',
    "_hidden `code` **bold** a--b",
    "[link](javascript:alert(1)) | cell",
    '"><img src=x onerror=alert(1)>',
    r"\end{tabular}\input{/etc/passwd} 50% & more",
    'x id="y" #21262c url(#z {{ config }}',
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A run of the demo whose scene has such a title and whose classes have such names, with its page."""
    root = tmp_path_factory.mktemp("hostile")
    workflow = root / "workflow"
    for folder in ("datasets", "nomenclatures", "prompts", "published", "text_towers", "encoders"):
        shutil.copytree(WORKFLOW / folder, workflow / folder)
    for file, values in (
        ("nomenclatures/osm-landuse-8.yaml", {"classes": list(NAMES), "maps": {}}),
        ("datasets/demo_scene.yaml", {"title": TITLE, "attribution": NAMES[1], "licence": NAMES[5]}),
    ):
        content = yaml.safe_load((workflow / file).read_text(encoding="utf-8")) | values
        (workflow / file).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "WORKFLOW", workflow)
        patch.setattr(synthetic_run, "CLASSES", NAMES)
        catalogue.read_yaml.cache_clear()
        dataset_title.cache_clear()
        yield make_report(root / "run", further=True)
    catalogue.read_yaml.cache_clear()
    dataset_title.cache_clear()


@pytest.mark.slow
def test_the_page_shows_them_as_text(report):
    _, path = report
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.faults == []
    assert len([attrs for attrs in page.all("script") if "type" not in attrs]) == 3
    assert [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)] == []
    assert {attrs.get("src", "")[:11] for attrs in page.all("img")} == {"data:image/"}
    for name in (*NAMES, TITLE):
        assert name in page.text
    # The names of an axis are in the SVG, cut where they are long.
    drawn = re.sub(r"<[^>]*>", "\n", "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL)))
    assert "$\\frac{1}{2}$ and one $" in drawn
    assert "#21262c" in drawn
    assert "=HYPERLINK" in drawn


@pytest.mark.slow
def test_the_tables_and_the_files_of_figures_show_them_as_text(report):
    run, _ = report
    frame = read_rows([run.metrics])
    assert set(NAMES) <= set(frame["class"])
    files = [file.read_text(encoding="utf-8").splitlines(keepends=True) for file in run.root.parent.rglob("*.csv")]
    cells = [cell for lines in files for row in csv.reader(lines) for cell in row]
    assert [cell for cell in cells if cell[:1] in "=+@" and not re.fullmatch(r"\+?[\d.e+-]+", cell) and cell] == []
    assert f"'{NAMES[2]}" in cells
    assert read_quarantine(run.root.parent / "data" / "demo_scene.quarantine.csv", {"train": 1}).reasons


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_drawn_with_them(tmp_path, name):
    scores = pd.DataFrame({name: [0.5], f"_{name}": [0.6]}, index=[name])
    plot = Album(tmp_path).plot(per_class(scores), "scores", "", "", scores.rename_axis("class").reset_index())
    # Labels are cut where they are long.
    assert {name[:16], f"_{name}"[:16]} <= {text[:16] for text in letters(plot.svg)}
    assert [row["series"] for row in json.loads(plot.spec)["datasets"]["rows"]] == [name, f"_{name}"]
    spec = band_values(np.ones((4, 1)), [name], (0, 2), name)
    drawn = letters(Album(tmp_path).plot(spec, "values", "", "", scores).svg)
    assert sum(text.startswith(name[:16]) for text in drawn) == 2
    if name == NAMES[2]:
        assert next(csv.reader((tmp_path / "scores.csv").read_text().splitlines()[1:]))[0] == f"'{name}"


def letters(svg):
    return [
        "".join(element.itertext()) for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")
    ]


def expressions(value):
    """All that Vega would evaluate in a compiled chart: the text below these keys."""
    if isinstance(value, dict):
        for key, one in value.items():
            if isinstance(one, str) and key in ("signal", "expr", "update", "test", "init", "events", "filter"):
                yield one
            yield from expressions(one)
    elif isinstance(value, list):
        for one in value:
            yield from expressions(one)


@pytest.mark.parametrize("name", NAMES)
def test_no_expression_of_a_chart_holds_them(name):
    """Data values and literal text alone: Vega parses neither."""
    scores = pd.DataFrame({name: [0.5], "other": [0.6]}, index=[name])
    shares = pd.DataFrame([[1.0]], index=[name], columns=[name])
    group = {"kind": "text", "points": [[0, 1], [1, 0]], "labels": [[name], []], "centroid": [0, 0], "gap": None}
    rows = pd.DataFrame([[name, "knn", 3, 0.5, 0.4, 0.6]], columns=["model", "kind", "k", "value", "ci_low", "ci_high"])
    counts = pd.DataFrame({"train": [3]}, index=[name])
    for spec in (
        per_class(scores),
        confusions({name: shares}, pd.Series([3], index=[name])),
        probes(rows, name),
        shots(rows, name),
        class_counts(counts),
        band_values(np.ones((4, 1)), [name], (0, 2), name),
        band_values(np.ones((4, 5)), [name, *"abcd"], (0, 2), name),
        band_spectrum(pd.DataFrame({"5 %": [1], "median": [2], "95 %": [3]}, index=[name]), None, name),
        projection({name: [group]}, (0.5, 0.2)),
        stage_costs(pd.Series({name: 1.0}), pd.Series({name: 2.0})),
    ):
        evaluated = list(expressions(vl_convert.vegalite_to_vega(spec, config=ON_PAPER)))
        assert len(evaluated) > 5
        assert [text for text in evaluated if name in text or json.dumps(name)[1:-1] in text] == []
        ElementTree.fromstring(page_svg(spec))


TABLE = Table(
    "t",
    NAMES[4],
    ("Model", "Data set"),
    (Column(NAMES[0], NAMES[1], NAMES[2], NAMES[3]),),
    tuple(Line((name, TITLE), (Cell(-1.5, -2, 3, gain=-0.5, p=0.01),)) for name in (*NAMES, "*star", "[opt]")),
    NAMES[5],
)


def test_a_table_in_markdown_has_its_cells_and_no_markup_of_theirs():
    page = Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(to_markdown(TABLE)))
    assert {tag for tag, _ in page.elements} == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert all(name in page.text for name in (*NAMES, TITLE))
    assert len(page.all("td")) == 3 * len(TABLE.lines)


def test_a_table_in_csv_has_numbers_as_they_are_and_no_formulas():
    rows = list(csv.reader(to_csv(TABLE).splitlines()))
    assert rows[0][2] == f"'{NAMES[2]}"
    shown = [f"'{line.texts[0]}" if line.texts[0].startswith("=") else line.texts[0] for line in TABLE.lines]
    assert [row[0] for row in rows[1:]] == shown
    assert rows[1][2:] == ["-1.5", "-2.0", "3.0", "-0.5", "0.01"]


@pytest.mark.slow
def test_a_table_in_latex_compiles(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("there is no LaTeX here")
    body = "\n\n".join([to_latex(TABLE), *map(latex_escape, NAMES)])
    preamble = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{preamble}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "passwd" not in "".join(path.name for path in tmp_path.iterdir())
