"""A YAML file is read so that nothing in it is lost, or refused with its line."""

from pathlib import Path

import pytest

from bandbridge.base import yaml_files
from bandbridge.base.errors import UserError
from bandbridge.base.yaml_files import read_document, texts_of_keys


@pytest.fixture
def read(tmp_path: Path):
    def call(text: str, name: str = "some.yaml"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read_document(path)

    return call


def test_keys_and_texts_are_what_stands_in_the_file(read):
    document = read("no: 1\n010: [3.10, yes, 2017-02-16, ~, '7']\n")
    assert list(document.content) == ["no", "010"]
    assert document.content["010"][:2] == [3.1, True]
    assert document.texts["010"] == ["3.10", "yes", "2017-02-16", None, "7"]


def test_keys_that_another_reader_would_misread_are_named(read):
    misread = read("no: 1\n010: 2\n0: 3\n'no ': 4\n").misread
    assert len(misread) == 2
    assert "line 1: YAML reads the key no as true or false" in misread[0]
    assert "line 2: YAML reads the key 010 as the int 8" in misread[1]


def test_anchors_and_merged_mappings_are_laid_under_what_is_written(read):
    assert read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n").content["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3\n", ["line 3", "'a' occurs twice"]),
        ("a:\n  b: 1\n  b: 1\n", ["line 3", "'b' occurs twice"]),
        ("a:\n\tb: 1\n", ["line 2", "spaces, not with tabs"]),
        ("a: &a [*a]\n", ["line 1", "a part of"]),
        ("a: b: c\n", ["line 1", "needs quotes"]),
        ("a: 2017-13-45\n", ["line 1", "'2017-13-45'", "in quotes"]),
        ("---\na: 1\n---\nb: 1\n", ["several documents"]),
        ("? [1]\n: 2\n", ["line 1", "a key is a list"]),
        ("a: !!python/object:os.system x\n", ["line 1", "tag"]),
        ("a: [1", ["is not YAML", "line"]),
        ("[" * 2000, ["some.yaml"]),
        ("a: \x01", ["is not YAML", "control characters"]),
    ],
)
def test_what_would_be_lost_or_cannot_be_read_is_refused_with_its_line(read, text: str, parts: list[str]):
    with pytest.raises(UserError) as caught:
        read(text)
    for part in parts:
        assert part in str(caught.value)


def test_aliases_of_aliases_cannot_fill_the_memory(read, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(yaml_files, "MOST_VALUES", 10_000)
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(UserError, match="expand to more than 10,000 values"):
        read("\n".join(lines))


def test_json_may_be_indented_with_tabs_and_has_no_key_twice(read):
    assert read('{"a":\t[1,\n\t2]}', "some.json").content == {"a": [1, 2]}
    with pytest.raises(UserError, match="'a' occurs twice"):
        read('{"a": 1, "a": 2}', "some.json")


def test_another_encoding_is_said(tmp_path: Path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: ä\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        read_document(path)


def test_a_whole_number_as_a_key_is_its_digits_and_nothing_else_is():
    named, faults = texts_of_keys({0: {"a": [{1: 2}]}, "b": 3})
    assert named == {"0": {"a": [{"1": 2}]}, "b": 3}
    assert faults == []
    _, faults = texts_of_keys({"x": {True: 1, None: 2, 0.5: 3, 0: 4, "0": 5}})
    assert len(faults) == 4
    assert "x.0 occurs twice" in faults[-1]
