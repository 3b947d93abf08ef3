"""The state of the user's own files."""

import os
from pathlib import Path

import pytest

from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest.listing import data_listing, file_listing


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("forest/a.tif", "forest/b.tif", "water/a.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def replace(images: Path) -> None:
    path = images / "forest/a.tif"
    state = path.stat()
    path.write_bytes(b"FOREST/A.TIF")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))


def rename(images: Path) -> None:
    (images / "forest/a.tif").rename(images / "forest/c.tif")


def add(images: Path) -> None:
    (images / "water/b.tif").write_bytes(b"")


def add_a_class(images: Path) -> None:
    (images / "farm").mkdir()
    (images / "forest/a.tif").rename(images / "farm/a.tif")


def remove(images: Path) -> None:
    (images / "forest/a.tif").unlink()


@pytest.mark.parametrize("mode", ["times", "content"])
@pytest.mark.parametrize("change", [replace, rename, add, add_a_class, remove])
def test_every_change_of_the_files_is_a_change_of_the_listing(images: Path, change, mode: str, fresh):
    before = fresh(images, mode)
    assert before[:2] == ["3 files", "35 bytes"]
    assert fresh(images, mode) == before
    change(images)
    assert fresh(images, mode) != before


@pytest.fixture
def fresh(tmp_path: Path):
    """A listing as another process would make it: within one, files are listed once."""
    from bandbridge.ingest import listing

    def make(folder: Path, mode: str) -> list[str]:
        listing._listing.cache_clear()
        return data_listing(load_dataset("digits"), folder, mode)

    return make


def test_times_count_unless_content_is_compared(images: Path, fresh):
    times, content = fresh(images, "times"), fresh(images, "content")
    os.utime(images / "forest/a.tif", ns=(1, 1))
    assert fresh(images, "times") != times
    assert fresh(images, "content") == content


def test_what_programs_leave_behind_does_not_count(images: Path, fresh):
    before = fresh(images, "times")
    (images / "__MACOSX").mkdir()
    for name in (".DS_Store", "Thumbs.db", "forest/a.tif.aux.xml", "__MACOSX/x", "x.zip.part", "broken"):
        if name == "broken":
            (images / name).symlink_to(images / "nowhere")
        else:
            statistics = b'<PAMDataset><PAMRasterBand band="1"><Histograms/></PAMRasterBand></PAMDataset>'
            (images / name).write_bytes(statistics)
    assert fresh(images, "times") == before


def test_a_link_to_a_folder_above_ends(images: Path, fresh):
    (images / "forest" / "again").symlink_to(images)
    assert fresh(images, "times")[0] == "3 files"


def test_what_is_downloaded_is_no_file_of_ones_own(tmp_path: Path, fresh):
    dataset = load_dataset("demo_land_cover")
    (tmp_path / dataset.sources[0].file).write_bytes(b"wheel")
    assert data_listing(dataset, tmp_path) == []
    (tmp_path / "notes.csv").write_bytes(b"own")
    fresh(tmp_path, "times")
    assert data_listing(dataset, tmp_path)[0] == "1 files"


def test_the_archive_of_ones_own_is_listed_wherever_it_lies(images: Path, tmp_path_factory, fresh):
    dataset = load_dataset("eurosat_ms", {"archive": str(images)})
    assert data_listing(dataset, tmp_path_factory.mktemp("archives"))[0] == "3 files"


def test_where_nothing_is_watched_nothing_is_listed(images: Path, fresh):
    assert fresh(images, "nothing") == []


def test_a_name_of_weights_that_is_no_file_has_no_state(images: Path):
    assert file_listing("openai") == file_listing(None) == []
    assert file_listing(images / "forest/a.tif")[0] == "1 files"


def test_lists_that_lie_elsewhere_are_listed_even_if_they_are_called_as_a_download(tmp_path: Path, fresh):
    elsewhere = tmp_path / "mine" / "eurosat-train.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text("Forest/Forest_1.tif\n")
    dataset = load_dataset("eurosat_ms", {"lists": {"train": str(elsewhere)}})
    assert elsewhere.name in {source.file for source in dataset.sources}
    before = data_listing(dataset, tmp_path / "archives")
    assert before[0] == "1 files"
    elsewhere.write_text("Forest/Forest_1.tif\nForest/Forest_2.tif\n")
    fresh(tmp_path, "times")
    assert data_listing(dataset, tmp_path / "archives") != before
