"""Runs that differ only in their seed: what is averaged with what, and the files that say it."""

import csv
import re
import statistics

import pytest
from full_rows import write_run
from small_store import load_script

from bandbridge.reporting.compare.runs import Key, compare_runs
from bandbridge.reporting.compare.seed_tables import NO_SEEDS, seed_sentences, seed_tables, write_seeds
from bandbridge.reporting.compare.seeds import recipes_of

CONFIG = "run: {}\nseed: {}\nalign: {{epochs: {}}}\nreport: {{title: {}}}\n"
EUROSAT = ("eurosat_ms", "", "eurosat-10", "satellite", "test", "accuracy")
PATCHED, START = Key("zero-shot", "Patched", *EUROSAT), Key("zero-shot", "Zero-shot", *EUROSAT)


def seeded(root, name, seed, epochs=5, **options):
    return write_run(root / name, CONFIG.format(name, seed, epochs, name), seed=seed, **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds of one recipe, in no order, and two of another, with other selected alphas."""
    root = tmp_path_factory.mktemp("results")
    base = [seeded(root, f"base-{seed}", seed) for seed in (2, 0, 1)]
    return [*base, *(seeded(root, f"longer-{seed}", seed, epochs=10, selected=0.4) for seed in (1, 2))]


@pytest.fixture(scope="module")
def comparison(runs):
    return compare_runs(runs)


@pytest.fixture(scope="module")
def recipes(comparison):
    return recipes_of(comparison)


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison") / "here"
    load_script("compare").main(runs, out / "index.html")
    return out


def value(comparison, run, key):
    names = [each.name for each in comparison.runs]
    return comparison.scores[names.index(run)][key].value


def test_runs_of_one_configuration_are_one_recipe_in_the_order_of_their_seeds(recipes):
    assert [(recipe.name, recipe.seeds) for recipe in recipes] == [("base", (0, 1, 2)), ("longer", (1, 2))]
    assert [run.name for run in recipes[0].runs] == ["base-0", "base-1", "base-2"]


def test_mean_and_deviation_are_those_of_the_runs(comparison, recipes):
    values = [value(comparison, f"base-{seed}", PATCHED) for seed in range(3)]
    spread = recipes[0].scores[PATCHED]
    assert spread.values == tuple(values)
    assert (spread.mean, spread.deviation) == pytest.approx((statistics.fmean(values), statistics.stdev(values)))


def test_a_gain_is_paired_within_its_run(comparison, recipes):
    gains = [value(comparison, f"base-{s}", PATCHED) - value(comparison, f"base-{s}", START) for s in range(3)]
    spread = recipes[0].gains[PATCHED]
    assert spread.deviation == pytest.approx(statistics.stdev(gains))
    assert START not in recipes[0].gains


def test_recipes_are_compared_in_pairs_of_equal_seeds(comparison, recipes):
    assert recipes[0].changes == {}
    changes = [value(comparison, f"longer-{s}", PATCHED) - value(comparison, f"base-{s}", PATCHED) for s in (1, 2)]
    spread = recipes[1].changes[PATCHED]
    assert spread.seeds == (1, 2)
    assert (spread.mean, spread.deviation) == pytest.approx((statistics.fmean(changes), statistics.stdev(changes)))


def test_other_test_samples_are_left_out_and_named(tmp_path):
    runs = [seeded(tmp_path, "a-0", 0), seeded(tmp_path, "a-1", 1, digest="cd")]
    (recipe,) = recipes_of(compare_runs(runs))
    assert recipe.scores == {}
    assert recipe.other_samples == ("bigearthnet_v1", "eurosat_ms", "imagenet")
    assert seed_tables([recipe]) == []


def test_a_seed_counts_once_and_runs_of_one_seed_have_no_deviation(tmp_path):
    runs = [seeded(tmp_path, "a-0", 0), seeded(tmp_path, "again", 0)]
    assert recipes_of(compare_runs(runs)) == []
    (recipe,) = recipes_of(compare_runs([*runs, seeded(tmp_path, "a-1", 1)]))
    assert (recipe.seeds, recipe.repeated) == ((0, 1), ("again",))
    assert "Not counted, because their seed is that of an earlier run: again." in seed_tables([recipe])[0].note


def test_without_seeds_every_file_says_so(tmp_path):
    write_seeds([], tmp_path)
    assert NO_SEEDS in (tmp_path / "seeds.md").read_text()
    assert (tmp_path / "seeds.tex").read_text() == f"% {NO_SEEDS}\n"
    assert len((tmp_path / "seeds.csv").read_text().splitlines()) == 1
    assert seed_sentences([]) == [NO_SEEDS]


def test_a_table_has_rows_of_models_and_columns_of_data_sets(recipes):
    table = next(table for table in seed_tables(recipes) if table.name == "seeds_zero_shot")
    assert table.headings == ("Runs", "Model")
    index = next(i for i, column in enumerate(table.columns) if column.key == "/".join(filter(None, EUROSAT)))
    (line,) = [line for line in table.lines if line.texts == ("base", "Patched")]
    spread, gain = recipes[0].scores[PATCHED], recipes[0].gains[PATCHED]
    cell = line.cells[index]
    assert (cell.value, cell.deviation) == pytest.approx((100 * spread.mean, 100 * spread.deviation))
    assert (cell.gain, cell.gain_deviation) == pytest.approx((100 * gain.mean, 100 * gain.deviation))
    assert "base: 3 runs, by seed: base-0 (0), base-1 (1), base-2 (2)." in table.note


def test_ranks_are_not_percentages(recipes):
    table = next(table for table in seed_tables(recipes) if table.name == "seeds_retrieval")
    ranks = [i for i, column in enumerate(table.columns) if "median_rank" in column.key]
    assert {line.cells[i].value for line in table.lines for i in ranks} == {12.5}
    assert "(median rank: a rank)" in table.caption


def test_csv_has_every_score_as_fractions(written, recipes):
    with (written / "seeds.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == sum(len(recipe.scores) for recipe in recipes)
    patched = ("zero-shot", "Patched", "eurosat_ms")
    first, second = (r for r in records if (r["task"], r["model"], r["dataset"]) == patched)
    spread, gain, change = recipes[0].scores[PATCHED], recipes[0].gains[PATCHED], recipes[1].changes[PATCHED]
    assert (first["runs"], first["seeds"], first["n"], first["compared_with"]) == ("base", "0 1 2", "12345", "")
    numbers = [float(first[name]) for name in ("mean", "sd", "min", "max", "gain_mean", "gain_sd")]
    expected = [spread.mean, spread.deviation, min(spread.values), max(spread.values), gain.mean, gain.deviation]
    assert numbers == pytest.approx(expected)
    assert (second["compared_with"], second["change_seeds"]) == ("base", "1 2")
    assert [float(second["change_mean"]), float(second["change_sd"])] == pytest.approx([change.mean, change.deviation])


def test_markdown_latex_and_page_show_the_same_number(written, recipes):
    spread = recipes[0].scores[PATCHED]
    number = f"{100 * spread.mean:.1f}"
    assert re.search(rf"{number}\u00a0±\u00a0{100 * spread.deviation:.1f}", (written / "seeds.md").read_text("utf-8"))
    latex = (written / "seeds.tex").read_text("utf-8")
    assert rf"{number}~$\pm$~{100 * spread.deviation:.1f}" in latex
    assert latex.count(r"\begin{table") >= len(seed_tables(recipes))
    page = (written / "index.html").read_text("utf-8")
    assert f"{number}\u00a0±\u00a0{100 * spread.deviation:.1f}" in page
    assert "base: 3 runs differ only in their seed (0, 1, 2)" in page
