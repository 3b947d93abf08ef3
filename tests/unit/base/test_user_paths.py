"""Paths as people write them."""

from pathlib import Path

import pytest

from bandbridge.base.errors import UserError
from bandbridge.base.model_forms import with_paths
from bandbridge.base.user_paths import expanded
from bandbridge.catalogue.dataset_model import SourceFile
from bandbridge.catalogue.option_models import OPTION_MODELS


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", "/scratch/of me")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("BRACES", "/a{b}")
    monkeypatch.delenv("UNSET", raising=False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~", "{home}"),
        ("~/data", "{home}/data"),
        ("$SCRATCH/data", "/scratch/of me/data"),
        ("${SCRATCH}data", "/scratch/of medata"),
        ("a$$b", "a$b"),
        ('it\'s "here"', 'it\'s "here"'),
        ("a~b", "a~b"),
    ],
)
def test_home_and_variables_are_expanded(written: str, meant: str, tmp_path: Path):
    assert expanded(written, "data_root") == meant.replace("{home}", str(tmp_path))


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("$UNSET/data", "data_root names the variable UNSET, which is not set"),
        ("${EMPTY}/data", "the variable EMPTY, which is empty"),
        ("~nobody-at-all/data", "no user nobody-at-all"),
        ("$", "or \\$\\$"),
        ("${a b}", "expected a variable's name after \\$"),
        ("a{b}", "braces"),
        ("$BRACES/x", "that is '/a{b}/x'; braces"),
        ("a\n", "line ends"),
        ("a ", "begins or ends with a space"),
        ("data/" + 128 * "é", "a name in it has 256 bytes, .* shorten it"),
        (400 * "a/", "it has 800 bytes, more than 700"),
    ],
)
def test_a_path_that_means_nothing_is_refused_with_its_key(written: str, part: str):
    with pytest.raises(UserError, match=part):
        expanded(written, "data_root")


def test_only_what_the_model_calls_a_path_is_expanded():
    options = {"archive": "~/a", "images": "~*.tif", "lists": {"train": "$UNSET/t.txt"}}
    changed, faults = with_paths(options, OPTION_MODELS["folder"], under="options")
    assert changed["images"] == "~*.tif"
    assert changed["archive"].endswith("/a")
    assert not changed["archive"].startswith("~")
    assert faults == ["options.lists.train names the variable UNSET, which is not set: set it, or write the path out."]


def test_an_address_is_a_path_only_after_file():
    source = {"file": "a.zip", "urls": ["https://example.org/~me/$a", "file:$SCRATCH/a.zip"]}
    changed, faults = with_paths(source, SourceFile)
    assert changed["urls"] == ["https://example.org/~me/$a", "file:/scratch/of me/a.zip"]
    assert faults == []
