"""Checksums beside text files, in .npz files, in safetensors and in Zarr groups; files without one are read as ever."""

import json
import zipfile

import numpy as np
import pytest
import torch
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bandbridge.base.checksums import (
    checksum_file,
    crc32c,
    crc32c_of_file,
    damaged,
    open_verified,
    verify,
    verify_folder,
)
from bandbridge.base.errors import UserError
from bandbridge.base.files import read_json, whole_file, write_checksums, write_json
from bandbridge.base.npz import load_npz, save_npz
from bandbridge.models.weights import CHECKSUM, load_metadata, load_weights, save_weights, verify_weights
from bandbridge.store.zarr_files import finish_group, read_array, read_attributes, read_metadata, write_array


def test_it_is_the_published_crc_32c(tmp_path):
    (tmp_path / "file").write_bytes(b"123456789")
    assert crc32c(b"123456789") == crc32c(b"6789", crc32c(b"12345")) == crc32c_of_file(tmp_path / "file") == 0xE3069283
    assert crc32c_of_file(tmp_path / "file", 5) == crc32c(b"12345")


# --- text ----------------------------------------------------------------------------------------------------------


def test_text_is_read_back_as_it_was_written(tmp_path):
    with whole_file(tmp_path / "a.csv", checked=True) as part:
        part.write_text("id,é\r\n1,2\n", encoding="utf-8", newline="")
    verify(tmp_path / "a.csv")
    with open_verified(tmp_path / "a.csv") as file:
        assert list(file) == ["id,é\r\n", "1,2\n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.csv.crc32c", "a.csv"]


def test_an_edited_file_is_refused_with_both_ways_out(tmp_path):
    path = tmp_path / "my run" / "selected.json"
    write_json(path, {"alpha": 0.4})
    path.write_text('{"alpha": 0.5}')
    with pytest.raises(UserError) as error:
        read_json(path)
    note = path.with_name(".selected.json.crc32c")
    assert f"rm '{path}' '{note}'\n" in str(error.value)
    assert "delete only .selected.json.crc32c" in str(error.value)
    note.unlink()
    assert read_json(path) == {"alpha": 0.5}


def test_a_damaged_checksum_is_an_error_as_well(tmp_path):
    write_json(tmp_path / "a.json", {})
    checksum_file(tmp_path / "a.json").write_text("no digits")
    with pytest.raises(UserError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")


def test_a_file_written_without_a_checksum_does_not_keep_that_of_another(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    write_json(tmp_path / "a.json", {"a": 2}, checked=False)
    assert read_json(tmp_path / "a.json") == {"a": 2}
    assert not checksum_file(tmp_path / "a.json").exists()


def test_a_failed_write_leaves_the_old_file_and_its_checksum(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.json.crc32c", "a.json"]


def test_a_folder_is_compared_file_by_file(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("a b")
    write_checksums(tmp_path)
    verify_folder(tmp_path)
    (tmp_path / "added.txt").write_text("by somebody")
    verify_folder(tmp_path)
    (tmp_path / "merges.txt").write_text("a c")
    with pytest.raises(UserError, match=r"merges\.txt is damaged"):
        verify_folder(tmp_path)


def test_the_command_deletes_folders_as_folders(tmp_path):
    assert str(damaged(tmp_path / "gone", "it is cut off")).endswith(f": rm {tmp_path / 'gone'}")
    assert str(damaged(tmp_path / "gone", "it is cut off", tmp_path)).endswith(f": rm -r {tmp_path}")


# --- .npz ----------------------------------------------------------------------------------------------------------

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "nothing": np.zeros((0, 4)), "text": np.array(["é", "b"])}


def test_numpy_reads_the_arrays_and_a_zip_tool_the_archive(tmp_path):
    save_npz(tmp_path / "a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz") as file:
        assert {name: file[name].tolist() for name in file.files} == {key: v.tolist() for key, v in ARRAYS.items()}
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"crc32c ")


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        save_npz(tmp_path / name, ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_npz_file_without_a_checksum_is_read(tmp_path):
    np.savez(tmp_path / "old.npz", **ARRAYS)
    loaded = load_npz(tmp_path / "old.npz")
    assert list(loaded) == list(ARRAYS)
    np.testing.assert_array_equal(loaded["a"], ARRAYS["a"])


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>"])
def test_what_is_no_npz_file_is_an_error(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz is damaged: it cannot be read as arrays"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("kept", [-1, -20, 100, 0])
def test_an_npz_file_that_was_cut_off_is_an_error(tmp_path, kept):
    save_npz(tmp_path / "a.npz", ARRAYS)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:kept])
    with pytest.raises(UserError, match=r"a\.npz is damaged"):
        load_npz(tmp_path / "a.npz")


# --- safetensors ---------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(metadata=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=4), size=st.integers(0, 9))
def test_weights_with_any_metadata_are_read_back(tmp_path_factory, metadata, size):
    path = tmp_path_factory.mktemp("weights") / "a.safetensors"
    save_weights(path, {"é": torch.arange(size, dtype=torch.float32), "b": torch.ones(2, 3)}, metadata)
    assert load_metadata(path) == metadata
    assert torch.equal(load_weights(path)["é"], torch.arange(size, dtype=torch.float32))
    assert load_file(path)["b"].shape == (2, 3)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {**metadata, CHECKSUM: file.metadata()[CHECKSUM]}


def test_weights_of_another_program_are_taken_as_they_are(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    verify_weights(tmp_path / "a.safetensors")
    assert load_metadata(tmp_path / "a.safetensors") == {"format": "pt"}


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs", b"\xff" * 40, b"\x02" + bytes(7) + b"{}"])
def test_what_has_no_header_is_an_error_if_it_is_read_and_not_before(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    verify_weights(path)
    if content[-2:] != b"{}":
        with pytest.raises(UserError, match=r"a\.safetensors: not a safetensors file"):
            load_weights(path)


# --- Zarr ----------------------------------------------------------------------------------------------------------


def write_group(folder):
    group = zarr.create_group(folder, zarr_format=3, attributes={"dataset": "demo"})
    write_array(group, "zeros", np.zeros((5, 2), np.uint8), ("sample", "class"), (2, 2))
    write_array(group, "id", np.array(["a", "é"], np.dtypes.StringDType()), ("name",), attributes={"units": "none"})
    write_array(group, "empty", np.zeros((0, 3), np.float32), ("none", "dim"))
    finish_group(group, folder)
    return folder


def test_arrays_are_read_back_and_by_others_too(tmp_path):
    path = write_group(tmp_path / "g")
    assert read_array(path / "zeros").tolist() == [[0, 0]] * 5
    assert read_array(path / "id").tolist() == ["a", "é"]
    assert read_array(path / "empty").shape == (0, 3)
    assert read_attributes(path) == {"dataset": "demo"}
    assert read_metadata(path / "id")["attributes"] == {"units": "none"}
    opened = xarray.open_zarr(path)
    assert opened["zeros"].values.tolist() == [[0, 0]] * 5
    assert opened["id"].values.tolist() == ["a", "é"]
    codecs = json.loads((path / "zeros" / "zarr.json").read_text())["codecs"]
    assert codecs[-1] == {"name": "crc32c"}


def test_zeros_are_written_so_that_a_missing_chunk_is_missed(tmp_path):
    path = write_group(tmp_path / "g")
    (path / "zeros" / "c" / "1" / "0").unlink()
    with pytest.raises(UserError, match=r"zeros/c/1/0 is damaged: it is missing"):
        read_array(path / "zeros")


def test_a_chunk_that_does_not_match_its_checksum_is_named(tmp_path):
    path = write_group(tmp_path / "g")
    chunk = path / "zeros" / "c" / "2" / "0"
    content = bytearray(chunk.read_bytes())
    content[3] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(UserError, match=r"zeros/c/2/0 is damaged: it cannot be decoded .*checksum do not match"):
        read_array(path / "zeros")


def test_a_group_of_versions_without_checksums_is_read(tmp_path):
    group = zarr.create_group(tmp_path / "old", zarr_format=3, attributes={"dataset": "demo"})
    group.create_array("zeros", data=np.zeros(3, np.uint8), chunks=(3,))
    assert not (tmp_path / "old" / "zeros" / "c").exists()
    assert read_array(tmp_path / "old" / "zeros").tolist() == [0, 0, 0]
    assert read_attributes(tmp_path / "old") == {"dataset": "demo"}


def test_edited_metadata_is_refused_with_both_ways_out(tmp_path):
    path = write_group(tmp_path / "g")
    group = zarr.open_group(path, mode="r+")
    group.attrs["dataset"] = "another"
    with pytest.raises(UserError, match=r"zarr\.json is damaged[^\n]*rm -r .*\n.*delete its attribute metadata_crc32c"):
        read_attributes(path)
    del group.attrs["metadata_crc32c"]
    assert read_attributes(path) == {"dataset": "another"}


@pytest.mark.parametrize("content", ["[]", '{"attributes": 1}', '{"shape": [1]}'])
def test_metadata_without_attributes_is_an_error(tmp_path, content):
    (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(UserError, match=r"zarr\.json"):
        read_attributes(tmp_path)
