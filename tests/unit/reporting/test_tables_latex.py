"""The LaTeX tables compile as they are, and fit a page."""

import re
import shutil
import subprocess

import pytest
from full_rows import frame, full_curve, full_rows, write_run
from synthetic_run import make_run

from bandbridge.reporting.compare.runs import compare_runs
from bandbridge.reporting.compare.seed_tables import seed_tables
from bandbridge.reporting.compare.seeds import recipes_of
from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.tables.latex import FIT, to_latex
from bandbridge.reporting.tables.model import Cell, Column, Line, Table

FACTS = {
    "all-bands": {"Loss": "MSE + 0.05 labels", "Bands": "13 bands"},
    "rgb-labels-alone": {"Loss": "labels", "Bands": "B04 B03 B02"},
}
# Everything a table may hold that LaTeX has an opinion on.
HARD = r"a_b & 50 % of #1 {x} $ ~ ^ \ < > | α → − † ‡"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    metrics = frame(full_rows(), tmp_path_factory.mktemp("metrics"))
    task = {"dataset": "bigearthnet_v1", "nomenclature": "bigearthnet-19"}
    patched = [{"line": "ViT-B-32", "clip": "ViT-B-32", "teaches": True, **task}]
    return all_tables(metrics, [full_curve()], students=FACTS, patched=patched)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return all_tables(*make_run(tmp_path_factory.mktemp("run")).read())


@pytest.fixture
def compiled(tmp_path):
    """Compile tables in an article of one column or two, and return the log; whether `whole`, without shrinking."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")

    def run(tables, columns="onecolumn", whole=False):
        packages = r"\usepackage{booktabs}\usepackage{graphicx}"
        body = "\n\\clearpage\n".join(map(to_latex, tables))
        body = body.replace(FIT, r"\mbox{%") if whole else body
        start = f"\\documentclass[{columns}]{{article}}{packages}\\begin{{document}}"
        document = f"{start}\nText.\n{body}\n\\end{{document}}\n"
        (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=600)
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / "tables.pdf").stat().st_size > 0
        return (tmp_path / "tables.log").read_text(encoding="utf-8", errors="replace")

    return run


def test_all_tables_compile_and_fit_the_pages_of_an_article(compiled, full, small):
    log = compiled([*full.values(), *small.values()])
    assert "Overfull" not in log
    assert "Float too large" not in log


def test_all_tables_fit_a_two_column_paper_without_being_shrunk(compiled, full, small):
    log = compiled([*full.values(), *small.values()], "twocolumn", whole=True)
    assert "Overfull" not in log
    assert "Float too large" not in log


def test_tables_over_seeds_compile_and_fit_their_pages(compiled, tmp_path):
    runs = [
        write_run(tmp_path / f"{name}-{seed}", f"seed: {seed}\nalign: {{epochs: {epochs}}}\n", seed=seed)
        for name, epochs in (("base", 5), ("longer", 10))
        for seed in range(2)
    ]
    log = compiled(seed_tables(recipes_of(compare_runs(runs))), "twocolumn", whole=True)
    assert "Overfull" not in log
    assert "Float too large" not in log


def test_a_table_of_many_models_and_difficult_names_goes_on_on_further_pages(compiled):
    columns = tuple(Column(f"{HARD} {index}", HARD, f"key {index}", f"{HARD}, {HARD}") for index in range(3))
    cell = Cell(12.3, 11.2, 13.4, gain=1.1, p=0.01)
    lines = tuple(Line((f"{HARD} {index}",), (cell,) * 3) for index in range(120))
    table = Table("hard", HARD, ("Model",), columns, lines, HARD)
    log = compiled([table])
    assert "Float too large" not in log
    assert to_latex(table).count(r"\caption") > 3
    assert to_latex(table).count(r"\label") == 1


def test_every_number_of_a_table_that_is_cut_up_is_there_once():
    columns = tuple(Column(f"Group {index // 3}", "accuracy", str(index)) for index in range(30))
    lines = tuple(Line((f"Model {row}",), tuple(Cell(100.0 * row + index) for index in range(30))) for row in range(50))
    latex = to_latex(Table("many", "Many.", ("Model",), columns, lines))
    shown = re.findall(r"(?<!\d)\d+\.0", latex)
    assert sorted(shown, key=float) == [f"{value}.0" for row in range(50) for value in range(100 * row, 100 * row + 30)]
    assert latex.count(r"\begin{tabular}") > 2


def before_the_tabular(table):
    return to_latex(table).split(r"\begin{tabular}")[0]


@pytest.mark.parametrize(("columns", "environment"), [(3, "table"), (7, "table*")])
def test_a_narrow_table_is_set_in_a_column_and_a_wide_one_over_the_page(columns, environment):
    cells = tuple(Column("", f"accuracy {index}", str(index)) for index in range(columns))
    start = before_the_tabular(Table("t", "c", ("Model",), cells, (Line(("m",), (Cell(1.0),) * columns),)))
    assert rf"\begin{{{environment}}}" in start
    assert r"\normalsize" in start


def test_no_text_of_a_table_is_smaller_than_7_points(full, small):
    for table in (*full.values(), *small.values()):
        latex = to_latex(table)
        sizes = set(re.findall(r"\\(?:tiny|scriptsize|footnotesize|small|normalsize|fontsize)", latex))
        assert sizes <= {r"\scriptsize", r"\footnotesize", r"\small", r"\normalsize"}


def test_a_wide_table_has_smaller_letters_and_intervals_under_its_numbers(full):
    latex = to_latex(full["classification"])
    assert r"\scriptsize" in before_the_tabular(full["classification"])
    assert re.search(r"\n *& \\multicolumn\{2\}\{l\}\{\\scriptsize \{\}\[", latex)


def test_a_heading_over_many_narrow_columns_asks_for_its_width_once():
    columns = tuple(
        Column(f"Set {index // 4}", f"from one to another {index // 2}", f"R@{index % 2}") for index in range(8)
    )
    latex = to_latex(Table("t", "c", ("Model",), columns, (Line(("m",), (Cell(50.0),) * 8),)))
    assert latex.count(r"\begin{tabular}") == 1


def test_columns_of_one_measure_share_its_heading():
    columns = (*(Column("G", "mAP", str(index), f"list-{index}") for index in range(3)), Column("", "rank", "rank"))
    latex = to_latex(Table("t", "c", ("Model",), columns, (Line(("m",), (Cell(1),) * 4),)))
    assert r"& \multicolumn{3}{c}{G} &" in latex
    assert r"\cmidrule(lr){2-4}" in latex
    assert r"Model & \multicolumn{3}{c}{mAP} & rank \\" in latex


def test_models_of_others_stand_below_a_rule_and_published_figures_below_the_numbers(full):
    latex = to_latex(full["linear_probe"])
    assert latex.count(r"\midrule") > latex.count(r"\toprule")
    assert re.search(r"DOFA ViT-L \\(dag|ddag)\{\}", latex)
    assert re.search(r"\\multicolumn\{2\}\{l\}\{\\scriptsize \\(dag|ddag)\{\}~90\.4\}", latex)
