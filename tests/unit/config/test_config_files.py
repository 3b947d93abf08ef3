"""The files of workflow/ that users add to are checked like the configuration; names in them stay as written."""

from pathlib import Path

import pytest

from bandbridge.base.errors import UserError
from bandbridge.catalogue import datasets as catalogue
from bandbridge.catalogue.datasets import load_dataset, load_nomenclature, prompt_set, read_yaml
from bandbridge.catalogue.reader_options import options_of

NOMENCLATURE = "name: mine\ntitle: Mine\nclasses: [no, 3.10, 111, {name: 010, prompt: yes}, on]\n"
DATASET = """\
name: mine
title: Mine
reader: table
modalities:
  s2: {bands: [1, 2, 3], composite: {bands: [3, 2, 1], divisor: 100}}
labels: {kind: single, nomenclatures: [mine]}
sources: []
licence: none
options:
  table: $TABLES/samples.csv
  label: 7
  split: part
  split_names: {0: train, 1: val, 2: test, no: null}
  classes: {0: no, 1: 3.10, yes: null}
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch):
    """A function that writes a file below workflow/ and reads it as the catalogue does."""
    monkeypatch.setattr(catalogue, "WORKFLOW", tmp_path)
    monkeypatch.setenv("TABLES", "/tables")

    def write(folder: str, text: str) -> dict:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "mine.yaml").write_text(text, encoding="utf-8")
        read_yaml.cache_clear()
        return read_yaml(folder, "mine")

    yield write
    read_yaml.cache_clear()


def test_classes_are_called_what_stands_in_the_file(written):
    written("nomenclatures", NOMENCLATURE)
    nomenclature = load_nomenclature("mine")
    assert nomenclature.classes == ("no", "3.10", "111", "010", "on")
    assert nomenclature.prompt_names == ("no", "3.10", "111", "yes", "on")


def test_numbers_as_keys_mean_what_they_say(written):
    written("nomenclatures", NOMENCLATURE)
    written("datasets", DATASET)
    options = options_of(load_dataset("mine"))
    assert options.split_names == {"0": "train", "1": "val", "2": "test", "no": None}
    assert options.classes == {"0": "no", "1": "3.10", "yes": None}
    assert options.label == "7"
    assert options.table == "/tables/samples.csv"
    assert load_dataset("mine").primary.bands == ("1", "2", "3")


@pytest.mark.parametrize(
    ("folder", "text", "parts"),
    [
        ("nomenclatures", "name: mine\ntitle: M\nclasses: [a, b, a]\n", ["classes lists 'a' twice"]),
        ("nomenclatures", "name: mine\ntitle: M\nclasses: [a, ~]\n", ["classes[1] is null"]),
        ("nomenclatures", "name: mine\ntitle: M\nclasses: a\n", ["classes is 'a'; expected a list"]),
        ("nomenclatures", "name: mine\ntitle: M\nclasses: [a]\nmaps: {x: {b: [c]}}\n", ["leads to 'b'"]),
        ("nomenclatures", 'name: mine\ntitle: M\nclasses: ["a\\nb"]\n', ["classes[0]", "one line"]),
        ("nomenclatures", "name: mine\ntitle: M\nclasses: [a]\nclases: [b]\n", ["clases is not a known key"]),
        ("prompts", "name: mine\ntitle: M\ntemplates: a {}\n", ["templates is 'a {}'; expected a list", "['a {}']"]),
        ("prompts", "name: mine\ntitle: M\ntemplates: [a]\n", ["templates[0] is 'a'", "exactly one {}"]),
        ("prompts", "name: mine\ntitle: M\n", ["templates is missing"]),
        ("datasets", DATASET.replace("divisor: 100", "divisor: 1e2"), ["divisor is '1e2'", "write 1.0e+2"]),
        ("datasets", DATASET.replace("divisor: 100", "divisor: .nan"), ["divisor is NaN"]),
        ("datasets", DATASET.replace("label: 7", "label: [a]"), ["options.label is ['a']; expected text or null"]),
        ("datasets", DATASET.replace("split: part", "splitt: a"), ["options.splitt is not an option", "'split'?"]),
        ("datasets", DATASET.replace("1: val", "1: valid"), ["split_names.1 is 'valid'", "train, val, test"]),
        ("datasets", DATASET.replace("$TABLES", "$NO_TABLES"), ["options.table names the variable NO_TABLES"]),
        ("datasets", DATASET.replace("$TABLES/samples.csv", "'{x}'"), ["options.table", "braces"]),
        ("datasets", DATASET.replace("[1, 2, 3]", "[1, 2, 2]"), ["modalities.s2.bands lists '2' twice"]),
        ("datasets", DATASET.replace("[1, 2, 3]", "[b1..b99999999]"), ["does not count up"]),
        ("datasets", f"{DATASET}licence: other\n", ["line", "'licence' occurs twice"]),
        ("datasets", DATASET.replace("name: mine", "name: yours"), ["name is 'yours', expected 'mine'"]),
        ("datasets", DATASET.replace("sources: []", "sources: [{file: a.zip}]"), ["has no urls"]),
        ("published", "name: mine\nsource: S\nwhere: w\nfigures: [{task: t, dataset: d}]\n", ["metric", "missing"]),
    ],
)
def test_a_fault_in_a_file_is_named_with_what_is_allowed(written, folder: str, text: str, parts: list[str]):
    with pytest.raises(UserError) as caught:
        written(folder, text)
    for part in parts:
        assert part in str(caught.value)


def test_prompts_of_classes_that_look_like_numbers(written):
    content = written("prompts", "name: mine\ntitle: M\nclasses: {0: [no, 3.10], yes: [off]}\nnames: {1: 2}\n")
    assert prompt_set(content).classes == {"0": ("no", "3.10"), "yes": ("off",)}
    assert prompt_set(content).names == {"1": "2"}
