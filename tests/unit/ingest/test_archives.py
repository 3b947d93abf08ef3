"""Members of archives and folders, and what a hostile or damaged archive runs into."""

import io
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from packed import pack

from bandbridge.base.errors import UserError
from bandbridge.ingest.archives import is_archive, locate, member_names, members, parts_of, read_member

FILES = {"a/one.tif": b"1" * 100_000, "a/two.txt": b"two", "b/c/three.tif": b"three"}
KINDS = ("folder", "x.zip", "x.whl", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "x.tar.zst")


@pytest.fixture(params=KINDS)
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return pack(tmp_path / request.param, FILES)


def test_every_kind_of_archive_yields_the_same_members(packed: Path):
    assert dict(members(packed)) == FILES
    assert sorted(member_names(packed)) == sorted(FILES)


def test_patterns_choose_members(packed: Path):
    assert dict(members(packed, ["*.tif"])).keys() == {"a/one.tif", "b/c/three.tif"}
    assert dict(members(packed, ["a/*", "*/three.*"])) == FILES
    assert dict(members(packed, ["*.TIF"])) == {}


def test_one_member_is_read_by_name(packed: Path):
    assert read_member(packed, "b/c/three.tif") == b"three"
    with pytest.raises(UserError, match=r"holds no file 'three.tif'"):
        read_member(packed, "three.tif")


def test_a_name_with_pattern_characters_is_taken_literally(tmp_path: Path):
    path = pack(tmp_path / "x.zip", {"a[1].tif": b"one", "a1.tif": b"other"})
    assert read_member(path, "a[1].tif") == b"one"


def test_a_dot_in_front_of_names_is_dropped(tmp_path: Path):
    path = pack(tmp_path / "x.tar", {"./a/b.txt": b"b"})
    assert member_names(path) == ["a/b.txt"]
    assert read_member(path, "a/b.txt") == b"b"


@pytest.mark.attack("archives")
@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "a/../../evil.txt", "a/..", "/etc/evil.txt", "..\\evil.txt", "C:evil", "C:/evil", "C:\\evil"],
)
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, kind: str, name: str):
    path = pack(tmp_path / kind, {name: b"evil"})
    for read in (lambda: list(members(path)), lambda: member_names(path)):
        with pytest.raises(UserError, match="leads out of the archive"):
            read()


def test_backslashes_in_a_zip_of_windows_part_names(tmp_path: Path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a\\", b"")
        for name, content in FILES.items():
            archive.writestr(name.replace("/", "\\"), content)
    assert dict(members(path)) == FILES
    assert member_names(path) == list(FILES)


@pytest.mark.attack("archives")
@pytest.mark.parametrize("name", ["line\nbreak", "\x1b[2Jclear", "left\u202efit.exe"])
def test_a_name_with_characters_that_nobody_sees_is_refused(tmp_path: Path, name: str):
    for kind in ("x.zip", "x.tar", "folder"):
        path = pack(tmp_path / kind, {name: b"1"})
        for read in (lambda: list(members(path)), lambda: member_names(path)):  # noqa: B023
            with pytest.raises(UserError, match="control characters; rename"):
                read()


def test_a_name_that_is_no_utf_8_is_read_as_latin_1(tmp_path: Path):
    path = pack(tmp_path / "x.tar", {"caf\udce9/1.tif": b"1"})
    assert dict(members(path)) == {"café/1.tif": b"1"}
    path = pack(tmp_path / "folder", {"caf\udce9/1.tif": b"1"})
    assert dict(members(path)) == {"café/1.tif": b"1"}


def test_what_macos_puts_into_folders_is_passed_over(tmp_path: Path):
    path = pack(tmp_path / "x.tar", {"a/1.tif": b"1", "a/Icon\r": b""})
    assert member_names(path) == ["a/1.tif"]


@pytest.mark.attack("archives")
def test_a_pipe_in_a_folder_is_refused_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "1.tif")
    with pytest.raises(UserError, match=r"1\.tif' is a device or a pipe"):
        list(members(tmp_path))


@pytest.mark.attack("archives")
def test_a_link_to_a_folder_above_is_explained(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    with pytest.raises(UserError, match="again is a link to a folder above it"):
        list(members(tmp_path))


@pytest.mark.attack("archives")
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_in_a_tar_is_refused(tmp_path: Path, kind: bytes):
    link = tarfile.TarInfo("link.txt")
    link.type, link.linkname = kind, "/etc/passwd"
    pack(tmp_path / "x.tar", {"a.txt": b"a"}, link)
    assert dict(members(tmp_path / "x.tar", ["a.*"])) == {"a.txt": b"a"}
    with pytest.raises(UserError, match=r"'link.txt' is a link"):
        list(members(tmp_path / "x.tar"))


@pytest.mark.attack("archives")
def test_a_link_in_a_zip_is_refused(tmp_path: Path):
    info = zipfile.ZipInfo("link.txt")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match=r"'link.txt' is a link"):
        list(members(tmp_path / "x.zip"))


def test_a_users_own_folder_may_hold_links(tmp_path: Path):
    pack(tmp_path / "real", FILES)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "real" / "a")
    assert member_names(tmp_path / "linked") == ["a/one.tif", "a/two.txt"]


@pytest.mark.attack("archives")
def test_a_member_above_the_limit_is_refused(packed: Path):
    assert dict(members(packed, ["*.txt"], limit=3)) == {"a/two.txt": b"two"}
    with pytest.raises(UserError, match=r"'a/one.tif' has 100,000 bytes, the limit is 3"):
        list(members(packed, limit=3))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_truncated_archive_is_explained(tmp_path: Path, kind: str):
    path = pack(tmp_path / kind, FILES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"is damaged or incomplete .*; delete it and run the download again"):
        list(members(path))


def test_what_is_no_archive_is_explained(tmp_path: Path):
    (tmp_path / "x.rar").write_bytes(b"")
    with pytest.raises(UserError, match="neither a folder nor an archive"):
        member_names(tmp_path / "x.rar")
    with pytest.raises(UserError, match="not found"):
        member_names(tmp_path / "x.zip")


def test_archives_are_told_by_their_names():
    assert all(is_archive(kind) for kind in KINDS[1:])
    assert is_archive("EuroSAT.ZIP")
    assert not any(is_archive(name) for name in ("eurosat-train.txt", "scene.gpkg", "zip"))


def test_only_what_is_wanted_is_read(packed: Path):
    asked = []

    def wanted(name: str) -> bool:
        asked.append(name)
        return name.startswith("b/")

    assert dict(members(packed, ["*.tif"], accepts=wanted)) == {"b/c/three.tif": b"three"}
    assert sorted(asked) == ["a/one.tif", "b/c/three.tif"]


@pytest.mark.attack("archives")
@pytest.mark.parametrize("name", ["model.pkl", "a/model.PICKLE", "weights.pt", "weights.pth"])
def test_a_pickle_is_not_read(tmp_path: Path, name: str):
    for kind in ("x.zip", "x.tar.gz", "x"):
        path = pack(tmp_path / kind, {"a.tif": b"1", name: b"cos"})
        with pytest.raises(UserError, match=f"'{name}' is a pickle"):
            list(members(path))
        assert dict(members(path, ["*.tif"])) == {"a.tif": b"1"}
        assert dict(members(path, accepts=lambda name: name == "a.tif")) == {"a.tif": b"1"}


# --- hostile zips --------------------------------------------------------------------------------------------------


def lie_about_size(path: Path, true: int, stated: int) -> None:
    """Change the size that a zip's headers state for its members."""
    path.write_bytes(path.read_bytes().replace(struct.pack("<L", true), struct.pack("<L", stated)))


@pytest.mark.attack("archives")
@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("stated", [12, 5_000_000])
def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path, packing: int, stated: int):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("bomb.tif", bytes(4_000_001))
    lie_about_size(path, 4_000_001, stated)
    with pytest.raises(UserError, match=f"'bomb.tif' states {stated:,} bytes and holds (more|4,000,001)|is damaged"):
        list(members(path))


@pytest.mark.attack("archives")
def test_a_zip_whose_checksum_fits_only_what_it_states_is_refused(tmp_path: Path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.tif", b"a" + bytes(4_000_001))
    with zipfile.ZipFile(path) as archive:
        true = archive.getinfo("bomb.tif").CRC
    lie_about_size(path, 4_000_002, 1)
    lie_about_size(path, true, zlib.crc32(b"a"))
    with zipfile.ZipFile(path) as archive:
        assert archive.read("bomb.tif") == b"a"  # what zipfile by itself is taken in by
    with pytest.raises(UserError, match=r"'bomb\.tif' states 1 bytes and holds more|is damaged .*Bad CRC"):
        list(members(path))


@pytest.mark.attack("archives")
@pytest.mark.slow
def test_a_zip_that_expands_a_thousandfold_is_refused(tmp_path: Path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.tif", bytes(110 * 1024**2))
    with pytest.raises(UserError, match=r"'bomb\.tif' expands more than 1000-fold"):
        list(members(path))


def test_an_encrypted_zip_is_explained(tmp_path: Path):
    path = pack(tmp_path / "x.zip", {"secret.tif": b"1"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"'secret\.tif' is encrypted"):
        list(members(path))


def test_a_member_that_is_there_twice_comes_twice(tmp_path: Path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for content in (b"1", b"2"):
            info = tarfile.TarInfo("a")
            info.size = 1
            archive.addfile(info, io.BytesIO(content))
    (tmp_path / "x.tar").write_bytes(data.getvalue())
    assert list(members(tmp_path / "x.tar")) == [("a", b"1"), ("a", b"2")]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    assert list(members(tmp_path / "x.zip")) == [("a", b"1"), ("a", b"2")]


# --- parts and layouts ---------------------------------------------------------------------------------------------

ENDINGS = [
    ("aa", "ab", "ac", "ad"),
    (".aa", ".ab", ".ac", ".ad"),
    (".part00", ".part01", ".part02", ".part03"),
    (".part01", ".part02", ".part03", ".part04"),
    (".001", ".002", ".003", ".004"),
    ("00", "01", "02", "03"),
]


def split(path: Path, endings: tuple[str, ...]) -> None:
    """Replace a file by its parts; the last one may be smaller."""
    content = path.read_bytes()
    path.unlink()
    size = -(-len(content) // len(endings))
    for number, ending in enumerate(endings):
        path.with_name(path.name + ending).write_bytes(content[number * size : (number + 1) * size])


@pytest.mark.parametrize("endings", ENDINGS, ids=lambda endings: endings[0])
@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz", "x.tar.zst"])
def test_an_archive_in_parts_reads_like_a_whole_one(tmp_path: Path, kind: str, endings: tuple[str, ...]):
    path = pack(tmp_path / kind, FILES)
    split(path, endings)
    assert [part.name for part in parts_of(path)] == [kind + ending for ending in endings]
    assert dict(members(path)) == FILES
    assert read_member(path, "b/c/three.tif") == b"three"
    assert locate(tmp_path, kind) == path


def test_a_part_that_is_missing_is_named(tmp_path: Path):
    path = pack(tmp_path / "x.tar.gz", FILES)
    split(path, ENDINGS[0])
    (tmp_path / "x.tar.gzac").unlink()
    with pytest.raises(
        UserError, match=r"number 3 of its parts is missing; there are: x.tar.gzaa, x.tar.gzab, x.tar.gzad"
    ):
        list(members(path))
    (tmp_path / "x.tar.gzaa").unlink()
    with pytest.raises(UserError, match="number 1, 3 of its parts is missing"):
        locate(tmp_path, "x.tar.gz")


def test_a_last_part_that_is_missing_is_noticed_while_reading(tmp_path: Path):
    for kind in ("x.tar.gz", "x.tar", "x.zip"):
        path = pack(tmp_path / kind, FILES)
        split(path, ENDINGS[4])
        (tmp_path / f"{kind}.004").unlink()
        with pytest.raises(UserError, match="is damaged or incomplete"):
            list(members(path))


def test_two_sets_of_parts_are_refused(tmp_path: Path):
    for name in ("x.zip.001", "x.zip.002", "x.zipaa"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"in two sets of parts, which begin with x.zip.001, x.zipaa"):
        parts_of(tmp_path / "x.zip")


def test_other_files_are_no_parts(tmp_path: Path):
    for name in ("x.tar.gz", "x.tar.gz.part", "x.tar.xz", "x.tar.md", "x.tar.2019", ".x.tar.lock"):
        (tmp_path / name).write_bytes(b"")
    assert parts_of(tmp_path / "x.tar") == []
    assert parts_of(tmp_path / "absent" / "x.tar") == []


@pytest.mark.parametrize("other", ["x.tar.zst", "x.tar", "x.tgz", "x.tar.xz", "x.zip", "x"])
def test_an_archive_is_found_in_another_layout(tmp_path: Path, other: str):
    pack(tmp_path / other, FILES)
    assert locate(tmp_path, "x.tar.gz") == tmp_path / other
    assert dict(members(tmp_path / other)) == FILES


def test_the_file_itself_goes_before_its_parts_and_those_before_other_layouts(tmp_path: Path):
    (tmp_path / "x").mkdir()
    assert locate(tmp_path, "x.tar.gz") is None  # an empty folder is no archive
    pack(tmp_path / "x", FILES)
    pack(tmp_path / "x.zip", FILES)
    assert locate(tmp_path, "x.tar.gz") == tmp_path / "x.zip"
    (tmp_path / "x.tar.gzaa").write_bytes(b"")
    assert locate(tmp_path, "x.tar.gz") == tmp_path / "x.tar.gz"
    pack(tmp_path / "x.tar.gz", {"whole": b"1"})
    assert dict(members(tmp_path / "x.tar.gz")) == {"whole": b"1"}
    assert locate(tmp_path, "x.tar.gz") == tmp_path / "x.tar.gz"


def test_what_is_no_archive_is_found_by_its_name_only(tmp_path: Path):
    pack(tmp_path / "list", FILES)
    assert locate(tmp_path, "list.txt") is None
    (tmp_path / "list.txt").write_text("")
    assert locate(tmp_path, "list.txt") == tmp_path / "list.txt"
