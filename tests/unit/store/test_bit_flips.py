"""A bit that flips in a file is found when the next stage reads it, or makes no difference to what that stage reads."""

import shutil

import numpy as np
import pytest
from bit_flips import ERROR, HARMLESS, SENTENCE, USED, Kind, flip, kinds

from bandbridge.base.checksums import checksum_file
from bandbridge.base.errors import UserError
from bandbridge.store.dataset import Store
from bandbridge.store.embeddings import load_embeddings

FLIPS = 25
NAMES = (
    "shards of pixels",
    "ids, places",
    "labels",
    "zarr.json of stores",
    "records of conversion",
    "quarantine list",
    "embeddings",
    "zarr.json of embeddings",
    "heads",
    "draws",
    "weights",
    "patched CLIPs",
    "parts of metrics.csv",
    "curve.csv, selected.json",
    "plans, lists of sources",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def made(folder):
    return kinds(folder)


def test_every_kind_of_file_is_flipped(made):
    assert tuple(made) == NAMES
    assert all(kind.files for kind in made.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_flipped_bit_is_used_without_a_word(made, name):
    outcomes = flip(made[name], FLIPS, seed=1)
    assert outcomes[USED] == outcomes[ERROR] == 0
    assert outcomes[SENTENCE] > 0
    assert outcomes[SENTENCE] + outcomes[HARMLESS] == FLIPS


def test_flips_that_nothing_looks_for_are_counted_as_used(tmp_path):
    file = tmp_path / "plain"
    file.write_bytes(bytes(8))
    assert flip(Kind([file], file.read_bytes), 10, seed=0)[USED] == 10


@pytest.fixture
def copy(tmp_path, folder, made):
    """The store, its shares and the embeddings among the files, where the rules have them, for a test to damage."""
    for name in ("demo_land_cover.zarr", "demo.val.zarr"):
        shutil.copytree(folder / name, tmp_path / name)
    shutil.copytree(folder / "parts" / "demo_land_cover.zarr", tmp_path / "parts" / "demo_land_cover")
    return tmp_path


def read_store(path):
    split = Store(path).split("val")
    return split.read(np.arange(len(split)))


LABELS = "labels_demo-land-cover-5"


@pytest.mark.parametrize("missing", ["id/c/0", f"{LABELS}/c/0/0", LABELS, "lat", "lat/c/0", "s2/c.0.0.0.0", "id"])
def test_a_missing_part_of_a_store_is_an_error_and_never_zeros(copy, missing):
    path = copy / "demo_land_cover.zarr" / "val" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=r"missing|no zarr\.json") as error:
        read_store(copy / "demo_land_cover.zarr")
    store, shares = copy / "demo_land_cover.zarr", copy / "parts" / "demo_land_cover"
    assert str(error.value).splitlines()[0].endswith(f": rm -r {store} {shares}")


@pytest.mark.parametrize("missing", ["embedding/c/0/0", "id/c/0", "embedding/zarr.json", "id"])
def test_a_missing_part_of_embeddings_is_an_error_and_never_zeros(copy, missing):
    path = copy / "demo.val.zarr" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=r"demo\.val\.zarr.*missing|no zarr\.json.*rm -r .*demo\.val\.zarr$"):
        load_embeddings(copy / "demo.val.zarr")


def test_what_the_error_says_to_delete_is_all_that_a_rebuild_needs(copy):
    """Shards of the store are the same files as those of the shares, so that one damaged is both."""
    shard = copy / "demo_land_cover.zarr" / "val" / "s2" / "c.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 8
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"sample \d .*(Digest mismatch|[Bb]losc)") as error:
        read_store(copy / "demo_land_cover.zarr")
    for path in str(error.value).partition("rm -r ")[2].split():
        shutil.rmtree(path)
    assert [path.name for path in copy.rglob("*") if path.is_file() and "demo.val" not in str(path)] == []


def test_the_text_files_here_have_a_checksum_beside_them(folder, made):
    for name in ("part.csv", "selected.json", "plan.csv", "files.json", "curve.csv", "demo_land_cover.csv"):
        assert checksum_file(folder / name).is_file()
