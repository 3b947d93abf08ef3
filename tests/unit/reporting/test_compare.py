"""Comparing runs: what is put beside what, changes with their intervals, and the files."""

import csv
import json
import re

import numpy as np
import pytest
from full_rows import write_run
from small_store import load_script

from bandbridge.base.errors import UserError
from bandbridge.metrics.intervals import paired_difference
from bandbridge.reporting.compare.page import config_table, outcomes, score_tables
from bandbridge.reporting.compare.runs import Key, compare_runs, tally
from bandbridge.scoring.draws import load_draws

CONFIG = "run: {}\nseed: {}\npaint: {{select: {{alpha: {}}}}}\nalign: {{epochs: 5}}\nreport: {{title: {}}}\n"
EUROSAT = ("zero-shot", "Patched", "eurosat_ms", "", "eurosat-10", "satellite", "test", "accuracy")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return [
        write_run(root / "base", CONFIG.format("base", 0, 0.5, "A")),
        write_run(root / "longer", CONFIG.format("longer", 0, 0.4, "B"), selected=0.4),
        write_run(root / "seed-1", CONFIG.format("seed-1", 1, 0.5, "C"), seed=1),
    ]


@pytest.fixture(scope="module")
def comparison(runs):
    return compare_runs(runs)


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("comparison") / "here"
    load_script("compare").main(runs, out / "index.html")
    return out


def test_the_patched_models_are_compared_though_their_alphas_differ(comparison):
    key = Key(*EUROSAT)
    assert [scores[key].encoder for scores in comparison.scores] == ["ViT-B-32@0.5", "ViT-B-32@0.4", "ViT-B-32@0.5"]
    before, after = (scores[key].value for scores in comparison.scores[:2])
    assert comparison.changes[0][key].value == pytest.approx(after - before)


def test_the_interval_is_that_of_the_draws_differences(comparison, runs):
    name = "zero-shot.eurosat_ms.eurosat-10.satellite.draws.npz"
    drawn = [
        load_draws(run / "metrics" / encoder / name)
        for run, encoder in zip(runs, ("ViT-B-32@0.5", "ViT-B-32@0.4"), strict=False)
    ]
    scores, halves = zip(*((part.estimates["test"], part.resampled["test"]) for part in drawn[::-1]), strict=True)
    expected = paired_difference(*scores, *halves, 0.95)
    change = comparison.changes[0][Key(*EUROSAT)]
    assert (change.low, change.high, change.p) == (expected.low, expected.high, expected.p)
    assert change.paired


def test_pairs_are_surer_than_runs_of_other_seeds(comparison):
    paired, other = (changes[Key(*EUROSAT)] for changes in comparison.changes)
    assert not other.paired
    assert paired.high - paired.low < 0.5 * (other.high - other.low)


@pytest.mark.slow
def test_another_version_of_the_data_is_not_paired(runs, tmp_path):
    other = write_run(tmp_path / "recut", digest="cd")
    change = compare_runs([runs[0], other]).changes[0][Key(*EUROSAT)]
    assert not change.paired


def test_a_run_compared_with_its_own_copy_has_changed_in_nothing(runs, tmp_path):
    copy = write_run(tmp_path / "base", CONFIG.format("base", 0, 0.5, "A"))
    comparison = compare_runs([runs[0], copy])
    assert {change.value for change in comparison.changes[0].values()} == {0}
    assert tally(comparison.changes[0])[:2] == (0, 0)
    assert config_table(comparison).lines == ()
    assert "are the same" in config_table(comparison).note
    assert comparison.runs[0].name != comparison.runs[1].name


def test_without_draws_there_is_a_change_but_no_interval(comparison):
    key = next(key for key in comparison.keys if key.task == "linear-probe")
    change = comparison.changes[0][key]
    assert change.low is change.high is change.p is None


@pytest.mark.slow
def test_what_only_one_run_has_is_not_listed(runs, tmp_path):
    other = write_run(tmp_path / "large", clip="ViT-L-14")
    comparison = compare_runs([runs[0], other])
    models = {key.model for key in comparison.keys}
    assert {"Zero-shot", "Patched", "Fine-tuned", "Aligned (all-bands)"} <= models
    assert all(key in comparison.scores[0] and key in comparison.scores[1] for key in comparison.keys)


def test_the_sentences_count_the_sure_changes(comparison):
    better, worse, neither = tally(comparison.changes[0])
    assert better + worse + neither == sum(key.task == "zero-shot" for key in comparison.changes[0])
    sentence = outcomes(comparison)[0]
    assert f"better in {better:,} and worse in {worse:,}" in sentence


def test_tables_stand_side_by_side_with_the_best_run_in_bold(comparison):
    table = next(table for table in score_tables(comparison) if table.name == "compare_zero_shot")
    assert [column.label for column in table.columns] == ["base", "longer", "seed-1", "longer", "seed-1 °"]
    for line in table.lines:
        values = [cell.value for cell in line.cells[:3]]
        assert line.cells[int(np.argmax(values))].strong
    assert "° Not paired" in table.note


@pytest.mark.slow
def test_a_lower_rank_is_bold(runs, tmp_path):
    other = write_run(tmp_path / "other")
    table = (other / "metrics.csv").read_text(encoding="utf-8").replace(",median_rank,,12.5,", ",median_rank,,3,")
    (other / "metrics.csv").write_text(table, encoding="utf-8")
    (other / ".metrics.csv.crc32c").unlink()
    compared = next(t for t in score_tables(compare_runs([runs[0], other])) if t.name == "compare_retrieval")
    lines = [line for line in compared.lines if line.texts[2].startswith("median rank")]
    assert lines
    for line in lines:
        assert [(cell.value, cell.strong) for cell in line.cells] == [(12.5, False), (3, True), (-9.5, False)]


def test_the_configuration_shows_what_differs_and_nothing_else(comparison):
    table = config_table(comparison)
    assert table.headings == ("Key", "base", "longer", "seed-1")
    assert [line.texts for line in table.lines] == [
        ("seed", "0", "0", "1"),
        ("paint.select.alpha", "0.5", "0.4", "0.5"),
    ]


def test_models_that_were_patched_on_different_data_sets_stand_in_one_row(tmp_path):
    folders = []
    for name, dataset in (("paper", "bigearthnet_v1"), ("paper-sen12ms", "sen12ms")):
        task = f"tasks: {{patching: {{dataset: {dataset}}}}}\n"
        folders.append(write_run(tmp_path / name, CONFIG.format(name, 0, 0.5, "A") + task))
    line = folders[1] / "paint" / "ViT-B-32.bigearthnet_v1"
    choice = json.loads((line / "selected.json").read_text())
    (line / "selected.json").write_text(json.dumps(choice | {"datasets": ["sen12ms"]}))
    line.rename(line.with_name("ViT-B-32.sen12ms"))
    compared = compare_runs(folders)
    assert {key.model for key in compared.keys} >= {"Zero-shot", "Patched", "Fine-tuned", "Aligned (all-bands)"}
    assert all(set(scores) == set(compared.keys) for scores in compared.scores)
    assert [line.texts for line in config_table(compared).lines] == [
        ("tasks.patching.dataset", "bigearthnet_v1", "sen12ms")
    ]


@pytest.mark.slow
def test_a_run_without_its_configuration_is_named(runs, tmp_path):
    other = write_run(tmp_path / "old")
    assert "Without config.yaml, and so not compared: old" in config_table(compare_runs([runs[0], other])).note


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_runs_are_an_error_that_says_how_to_name_them(runs, count):
    with pytest.raises(UserError, match=r"compare: \d run is named; expected two"):
        compare_runs(runs[:1] * count)


def test_a_folder_without_a_run_is_an_error_that_names_it(runs, tmp_path):
    with pytest.raises(UserError, match=r"metrics\.csv not found.*Run it first"):
        compare_runs([runs[0], tmp_path])


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_scores_in_csv_are_those_of_the_comparison(comparison, written):
    with (written / "scores.csv").open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    chosen = [r for r in records if tuple(r[k] for k in list(records[0])[:8]) == EUROSAT]
    assert [record["run"] for record in chosen] == ["base", "longer", "seed-1"]
    change = comparison.changes[0][Key(*EUROSAT)]
    assert chosen[0]["change"] == ""
    assert float(chosen[1]["change"]) == pytest.approx(change.value)
    assert float(chosen[1]["change_low"]) == pytest.approx(change.low)
    assert [record["paired"] for record in chosen] == ["", "1", "0"]


def test_the_configurations_differences_are_csv_too(written):
    assert (written / "configuration.csv").read_text(encoding="utf-8").splitlines() == [
        "key,base,longer,seed-1",
        "seed,0,0,1",
        "paint.select.alpha,0.5,0.4,0.5",
    ]


def test_markdown_has_every_table(written):
    text = (written / "comparison.md").read_text(encoding="utf-8")
    assert text.startswith("# base and longer and seed-1, compared")
    for start in (
        "The runs",
        "Zero-shot classification",
        "Retrieval across modalities",
        "Differences between",
    ):
        assert f"\n{start}" in text
    assert "| paint.select.alpha | 0.5 | 0.4 | 0.5 |" in text


def test_the_page_shows_every_score_and_asks_for_no_other_file(comparison, written):
    page = (written / "index.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", page)
    assert "<script" not in page
    assert page.count("<svg") == sum(
        cell.value is not None and "rank" not in line.texts[2]
        for table in score_tables(comparison)
        for line in table.lines
        for cell in line.cells[3:]
    )
    for sentence in outcomes(comparison):
        assert sentence.replace("<", "&lt;") in page


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(runs, written, tmp_path):
    load_script("compare").main(runs, tmp_path / "index.html")
    for path in written.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def forget_the_line(folder):
    """The choice as versions wrote it that did not note its line."""
    (choice,) = folder.glob("paint/*/selected.json")
    noted = json.loads(choice.read_text(encoding="utf-8"))
    choice.write_text(json.dumps({key: noted[key] for key in ("alpha", "reason")}), encoding="utf-8")


LINES = """
clip: {name: ViT-B-32, pretrained: openai}
tasks: {patching: {dataset: bigearthnet_v1, prompts: plain}, supported: null}
paint: {}
"""


def test_a_run_of_an_earlier_version_is_compared_by_its_configuration(tmp_path):
    folders = [write_run(tmp_path / name, LINES) for name in ("one", "two")]
    forget_the_line(folders[1])
    curves = [run.curves for run in compare_runs(folders).runs]
    assert [(curve.clip, curve.dataset) for (curve,) in curves] == [("ViT-B-32", "bigearthnet_v1")] * 2


def test_a_choice_that_nothing_says_the_line_of_is_an_error(tmp_path):
    folders = [write_run(tmp_path / name) for name in ("one", "two")]
    forget_the_line(folders[1])
    with pytest.raises(UserError, match=r"two.*selected\.json does not name its line"):
        compare_runs(folders)
