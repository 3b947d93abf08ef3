"""Embeddings on disk."""

import warnings

import numpy as np
import pytest
import xarray as xr

from bandbridge.base.errors import UserError
from bandbridge.store.embeddings import Embeddings, PartialEmbeddings, load_embeddings, save_embeddings

ATTRS = {"encoder": "demo-vit@0.5", "clip": "demo-vit", "alpha": 0.5, "dataset": "scene", "split": "val"}


def some_embeddings(n=5, dim=3):
    embedding = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    return Embeddings(embedding, np.array([f"sample-é{index}" for index in range(n)]), ATTRS)


def test_embeddings_read_back_as_they_were_saved(tmp_path):
    saved = some_embeddings(n=5000)
    save_embeddings(tmp_path / "e.zarr", saved)
    loaded = load_embeddings(tmp_path / "e.zarr")
    np.testing.assert_array_equal(loaded.embedding, saved.embedding)
    np.testing.assert_array_equal(loaded.ids, saved.ids)
    assert loaded.embedding.dtype == np.float32
    assert loaded.ids.dtype.kind == "U"
    assert loaded.attrs.items() >= ATTRS.items()


def test_a_student_has_no_alpha(tmp_path):
    student = Embeddings(np.ones((1, 2), np.float32), np.array(["a"]), {**ATTRS, "alpha": None})
    save_embeddings(tmp_path / "e.zarr", student)
    assert load_embeddings(tmp_path / "e.zarr").attrs["alpha"] is None


def test_xarray_opens_embeddings_without_a_warning(tmp_path):
    saved = some_embeddings()
    save_embeddings(tmp_path / "e.zarr", saved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xr.open_zarr(tmp_path / "e.zarr")
    assert opened["embedding"].dims == ("sample", "dim")
    assert opened["id"].dims == ("sample",)
    np.testing.assert_array_equal(opened["embedding"], saved.embedding)


def test_saving_replaces_what_was_there(tmp_path):
    save_embeddings(tmp_path / "e.zarr", some_embeddings(n=9))
    save_embeddings(tmp_path / "e.zarr", some_embeddings(n=2))
    assert len(load_embeddings(tmp_path / "e.zarr").ids) == 2


def test_the_same_embeddings_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_embeddings(tmp_path / name, some_embeddings())
    contents = [
        {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert contents[0] == contents[1]


def test_the_root_metadata_of_other_values_are_others(tmp_path):
    """Scores name them as their input, and Snakemake compares what is in them."""
    first = some_embeddings()
    second = Embeddings(first.embedding + 1, first.ids, first.attrs)
    for name, embeddings in (("a", first), ("b", second)):
        save_embeddings(tmp_path / name, embeddings)
    assert (tmp_path / "a/zarr.json").read_bytes() != (tmp_path / "b/zarr.json").read_bytes()


def test_embeddings_that_are_not_finite_are_refused(tmp_path):
    broken = some_embeddings()
    broken.embedding[3, 1] = np.nan
    with pytest.raises(UserError, match="1 of 5 embeddings are not finite, first that of sample sample-é3"):
        save_embeddings(tmp_path / "e.zarr", broken)
    assert not (tmp_path / "e.zarr").exists()


def blocks(seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(2, n, 3)).astype(np.float32) for n in (4, 4, 1)]


def test_growing_files_hold_what_was_added(tmp_path):
    growing = PartialEmbeddings(tmp_path / "a", "key", 2)
    for block in blocks():
        growing.add(block)
    np.testing.assert_array_equal(np.stack(growing.arrays()), np.concatenate(blocks(), axis=1))


@pytest.mark.parametrize("damage", ["none", "longer", "shorter", "state", "key", "bit", "zeros"])
def test_another_process_goes_on_with_whole_batches_only(tmp_path, damage):
    first, second, third = blocks()
    growing = PartialEmbeddings(tmp_path / "a", "key", 2)
    growing.add(first)
    growing.add(second)
    file = tmp_path / "a" / "1.float32"
    if damage == "longer":  # killed while a batch was being written
        file.write_bytes(file.read_bytes() + b"12345")
    if damage == "shorter":
        file.write_bytes(file.read_bytes()[:-1])
    if damage == "bit":
        content = bytearray(file.read_bytes())
        content[7] ^= 2
        file.write_bytes(content)
    if damage == "zeros":  # what a power cut may leave of data that had not reached the disk
        file.write_bytes(bytes(file.stat().st_size))
    if damage == "state":
        (tmp_path / "a" / "state.json").write_text("{")
    again = PartialEmbeddings(tmp_path / "a", "another" if damage == "key" else "key", 2)
    usable = damage in ("none", "longer")
    assert again.rows == (8 if usable else 0)
    for block in (third,) if usable else (first, second, third):
        again.add(block)
    np.testing.assert_array_equal(np.stack(again.arrays()), np.concatenate(blocks(), axis=1))
