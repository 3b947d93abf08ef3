"""The reader of sharded arrays: equal to zarr-python's reading, in any process, and clear about what is damaged."""

import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec

from bandbridge.base.errors import UserError
from bandbridge.store.shard_reader import ShardReader


def write(path, values, per_shard=4, separator=".", skip_empty=False, **changes):
    array = zarr.create_array(
        path,
        shape=values.shape,
        chunks=(1, *values.shape[1:]),
        shards=(per_shard, *values.shape[1:]),
        dtype=values.dtype,
        chunk_key_encoding={"name": "default", "separator": separator},
        config={"write_empty_chunks": not skip_empty},
        **{"compressors": BLOSC, "fill_value": 0} | changes,
    )
    array[:] = values
    return path


BLOSC = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
CHECKED = {"compressors": [BLOSC, Crc32cCodec()]}


def pixels(n=10, shape=(3, 8, 5), dtype="uint16", seed=0):
    return np.random.default_rng(seed).integers(0, 200, (n, *shape)).astype(dtype)


@pytest.fixture
def values():
    return pixels()


@pytest.fixture
def path(tmp_path, values):
    return write(tmp_path / "s2", values)


# --- equal to what others read -------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(data=st.data())
def test_it_reads_what_zarr_python_reads(data):
    n = data.draw(st.integers(1, 23), "samples")
    shape = tuple(data.draw(st.lists(st.integers(1, 9), max_size=3), "shape"))
    dtype = data.draw(st.sampled_from(["uint8", "uint16", "int32", "float32", "float64", "bool"]), "dtype")
    values = pixels(n, shape, seed=data.draw(st.integers(0, 99), "seed")).astype(dtype)
    per_shard = data.draw(st.integers(1, 30), "per shard")
    values[data.draw(st.lists(st.integers(0, n - 1)), "empty")] = 0
    indices = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=40), "indices"), np.int64)
    checked = data.draw(st.booleans(), "checked")
    with TemporaryDirectory() as folder:
        path = write(
            Path(folder, "array"),
            values,
            per_shard=per_shard,
            separator=data.draw(st.sampled_from([".", "/"]), "separator"),
            **(CHECKED if checked else {}),
        )
        reader = ShardReader(path)
        samples = reader.read(indices)
        expected = zarr.open_array(path, mode="r")[:][indices]
    assert (reader.shape, samples.dtype, len(reader)) == (values.shape, values.dtype, n)
    np.testing.assert_array_equal(samples, expected)


def test_it_reads_what_xarray_reads(tmp_path):
    values = pixels(dtype="float32")
    group = zarr.open_group(tmp_path / "group", mode="w")
    write(tmp_path / "group" / "s1", values, dimension_names=("sample", "band", "y", "x"))
    del group
    opened = xarray.open_zarr(tmp_path / "group", consolidated=False)["s1"]
    np.testing.assert_array_equal(ShardReader(tmp_path / "group" / "s1").read([7, 2]), opened[[7, 2]].to_numpy())


@pytest.mark.parametrize("compressors", [BLOSC, [BLOSC, Crc32cCodec()]], ids=["plain", "checked"])
def test_a_sample_that_was_never_written_is_an_error(tmp_path, compressors):
    values = pixels(6)
    values[4] = 0
    path = write(tmp_path / "s2", values, skip_empty=True, compressors=compressors)
    reader = ShardReader(path)
    reader.read([0, 5])
    with pytest.raises(UserError, match=r"c\.1\.0\.0\.0 is damaged: sample 4 .*: is missing"):
        reader.read([0, 4])


@pytest.mark.parametrize("at", [0, 5, 20, -5, -1])
def test_a_flipped_bit_of_a_chunk_with_a_checksum_is_found(tmp_path, values, at):
    path = write(tmp_path / "s2", values, **CHECKED)
    file = path / "c.1.0.0.0"
    content = bytearray(file.read_bytes())
    start, length = np.frombuffer(content[-68:-4], "<u8")[4:6].tolist()
    content[start + at % length] ^= 1
    file.write_bytes(content)
    reader = ShardReader(path)
    np.testing.assert_array_equal(reader.read([0, 4, 5, 7]), values[[0, 4, 5, 7]])
    with pytest.raises(UserError, match=r"sample 6 \(the first is 0\): (Digest mismatch|.*[Bb]losc)"):
        reader.read([6])


@pytest.mark.parametrize("codec", ["lz4", "zlib", "blosclz"])
@pytest.mark.parametrize("shuffle", ["noshuffle", "shuffle"])
def test_any_way_of_blosc_is_read(tmp_path, values, codec, shuffle):
    path = write(tmp_path / "s2", values, compressors=BloscCodec(cname=codec, clevel=5, shuffle=shuffle))
    np.testing.assert_array_equal(ShardReader(path).read(range(10)), values)


@pytest.mark.parametrize("indices", [[10], [-1], [0, 3, 11]])
def test_an_index_outside_the_array_is_refused(path, indices):
    with pytest.raises(IndexError, match="of 10 samples"):
        ShardReader(path).read(indices)


# --- threads and processes -----------------------------------------------------------------------------------------


def test_several_threads_may_read_at_once(path, values):
    reader = ShardReader(path)
    orders = [np.random.default_rng(seed).permutation(10) for seed in range(40)]
    with ThreadPoolExecutor(8) as threads:
        for order, samples in zip(orders, threads.map(reader.read, orders), strict=True):
            np.testing.assert_array_equal(samples, values[order])


def test_a_pickled_reader_reads(path, values):
    reader = ShardReader(path)
    reader.read([0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader)).read([9, 1]), values[[9, 1]])


def test_a_reader_used_before_is_sent_to_another_process(path, values):
    reader = ShardReader(path)
    reader.read([0])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        np.testing.assert_array_equal(worker.submit(reader.read, [9, 1]).result(60), values[[9, 1]])


def test_a_batch_of_which_a_part_is_kept_is_never_overwritten(path, values):
    reader = ShardReader(path)
    kept = [reader.read([at, at + 1])[1:] for at in range(9)]
    for at, part in enumerate(kept):
        reader.read(range(10))[...] = 0
        np.testing.assert_array_equal(part[0], values[at + 1])


# --- damage --------------------------------------------------------------------------------------------------------


def test_a_missing_shard_is_named(path):
    (path / "c.1.0.0.0").unlink()
    reader = ShardReader(path)
    reader.read([0, 9])
    with pytest.raises(UserError, match=r"c\.1\.0\.0\.0 is damaged: sample 5 .*: is missing.*run again.*: rm "):
        reader.read([0, 5])


@pytest.mark.parametrize("kept", [0, 50, 300, -1])
def test_a_shard_that_was_cut_off_is_named(path, kept):
    file = path / "c.0.0.0.0"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"c\.0\.0\.0\.0 is damaged: sample 0 .*: (Requested|Digest mismatch)"):
        ShardReader(path).read([0])


def test_a_shard_that_is_cut_off_while_it_is_read_is_named(path):
    reader = ShardReader(path)
    reader.read([4])
    file = path / "c.1.0.0.0"
    with file.open("r+b") as opened:
        opened.truncate(20)
    with pytest.raises(UserError, match=r"c\.1\.0\.0\.0 is damaged: sample 6 .*: Requested byte range"):
        reader.read([6])


@pytest.mark.parametrize("at", range(1, 69, 13))
def test_every_flipped_bit_of_the_index_is_found(path, at):
    file = path / "c.0.0.0.0"
    content = bytearray(file.read_bytes())
    content[-at] ^= 4
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"c\.0\.0\.0\.0 is damaged: sample 0 .*: Digest mismatch"):
        ShardReader(path).read([0])


def test_a_chunk_of_another_size_is_named(path):
    file = path / "c.0.0.0.0"
    content = bytearray(file.read_bytes())
    start = int(np.frombuffer(content[-68:-4], "<u8")[4])
    content[start + 4] ^= 1  # Blosc's own record of the size of what it holds
    file.write_bytes(content)
    reader = ShardReader(path)
    with pytest.raises(UserError, match=r"c\.0\.0\.0\.0 .* sample 2 .* Blosc error"):
        reader.read([0, 2])
    assert reader.read([1, 3]).shape == (2, 3, 8, 5)


def test_a_chunk_that_cannot_be_decompressed_is_named(path):
    file = path / "c.2.0.0.0"
    content = bytearray(file.read_bytes())
    start, length = np.frombuffer(content[-68:-4], "<u8")[2:4].tolist()
    content[start + 16 : start + length] = bytes(length - 16)
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"c\.2\.0\.0\.0 .* sample 9 .* Blosc error"):
        ShardReader(path).read([9])


@pytest.mark.slow
@settings(max_examples=60)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_gives_a_batch_or_an_error_and_never_a_crash(at, bit):
    with TemporaryDirectory() as folder:
        file = write(Path(folder, "s2"), pixels()) / "c.0.0.0.0"
        content = bytearray(file.read_bytes())
        content[at % len(content)] ^= 1 << bit
        file.write_bytes(content)
        with suppress(UserError):
            assert ShardReader(file.parent).read(range(10)).shape == (10, 3, 8, 5)


# --- zarr.json -----------------------------------------------------------------------------------------------------


def edit(path, change):
    file = path / "zarr.json"
    stated = json.loads(file.read_text())
    change(stated, stated["codecs"][0]["configuration"])
    file.write_text(json.dumps(stated))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda array, _: array.update(zarr_format=2), "zarr_format"),
        (lambda array, _: array.update(node_type="group"), "node_type"),
        (lambda array, _: array.update(data_type="nothing"), "nothing"),
        (lambda array, _: array["chunk_grid"].update(name="rectilinear"), "rectilinear"),
        (lambda array, _: array["chunk_grid"]["configuration"].update(chunk_shape=[4, 3, 4, 5]), "chunk shape"),
        (lambda array, _: array["chunk_grid"]["configuration"].update(chunk_shape=[0, 3, 8, 5]), "chunk_shape"),
        (lambda array, _: array.update(chunk_key_encoding={"name": "v3"}), "v3"),
        (lambda array, _: array.update(storage_transformers=[{"name": "x"}]), "storage_transformers"),
        (lambda array, _: array.update(fill_value="blue"), "fill_value"),
        (lambda array, _: array.pop("shape"), "shape"),
        (lambda _, shards: shards.update(chunk_shape=[2, 3, 8, 5]), r"chunks are \[2, 3, 8, 5\]"),
        (lambda _, shards: shards["codecs"].insert(0, {"name": "unknown"}), "unknown"),
    ],
)
def test_another_layout_is_refused(path, change, named):
    edit(path, change)
    with pytest.raises(UserError, match=rf"zarr\.json.*{named}.*preprocess the data set again"):
        ShardReader(path)


def test_what_may_be_left_unsaid_is_not_needed(tmp_path, values):
    path = write(tmp_path / "s2", values, separator="/")

    def shorten(array, shards):
        del array["chunk_key_encoding"]["configuration"], array["storage_transformers"], shards["index_location"]

    edit(path, shorten)
    np.testing.assert_array_equal(ShardReader(path).read(range(10)), values)


def test_an_array_without_shards_is_refused(tmp_path, values):
    zarr.create_array(tmp_path / "plain", data=values, chunks=(1, 3, 8, 5))
    with pytest.raises(UserError, match=r"chunks are .* this program reads chunks of \[1, 3, 8, 5\] in shards"):
        ShardReader(tmp_path / "plain")


@pytest.mark.parametrize("content", [None, "{", "[]", '"array"'])
def test_no_array_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(UserError, match=r"zarr\.json"):
        ShardReader(tmp_path)
