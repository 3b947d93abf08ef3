"""Members of archives and folders, and what a hostile or damaged archive runs into."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from bandbridge.archives import is_archive, member_names, members, read_member
from bandbridge.errors import UserError

FILES = {"a/one.tif": b"1" * 100_000, "a/two.txt": b"two", "b/c/three.tif": b"three"}
KINDS = ("folder", "x.zip", "x.whl", "x.tar", "x.tar.gz", "x.tgz", "x.tar.bz2", "x.tar.xz", "x.tar.zst")


def write_tar(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> None:
    data = io.BytesIO()
    modes = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    with tarfile.open(fileobj=data, mode=modes.get(path.suffix, "w")) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    content = data.getvalue()
    path.write_bytes(zstandard.ZstdCompressor().compress(content) if path.suffix == ".zst" else content)


def write(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix in (".zip", ".whl"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    elif path.suffix:
        write_tar(path, files)
    else:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)
    return path


@pytest.fixture(params=KINDS)
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path / request.param, FILES)


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
    path = write(tmp_path / "x.zip", {"a[1].tif": b"one", "a1.tif": b"other"})
    assert read_member(path, "a[1].tif") == b"one"


def test_a_dot_in_front_of_names_is_dropped(tmp_path: Path):
    path = write(tmp_path / "x.tar", {"./a/b.txt": b"b"})
    assert member_names(path) == ["a/b.txt"]
    assert read_member(path, "a/b.txt") == b"b"


@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz"])
@pytest.mark.parametrize("name", ["../evil.txt", "a/../../evil.txt", "/etc/evil.txt", "..\\evil.txt"])
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, kind: str, name: str):
    path = write(tmp_path / kind, {name: b"evil"})
    for read in (lambda: list(members(path)), lambda: member_names(path)):
        with pytest.raises(UserError, match="leads out of the archive"):
            read()


def test_a_link_in_a_tar_is_refused(tmp_path: Path):
    link = tarfile.TarInfo("link.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    write_tar(tmp_path / "x.tar", {"a.txt": b"a"}, link)
    assert dict(members(tmp_path / "x.tar", ["a.*"])) == {"a.txt": b"a"}
    with pytest.raises(UserError, match=r"'link.txt' is a link"):
        list(members(tmp_path / "x.tar"))


def test_a_link_in_a_zip_is_refused(tmp_path: Path):
    info = zipfile.ZipInfo("link.txt")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match=r"'link.txt' is a link"):
        list(members(tmp_path / "x.zip"))


def test_a_users_own_folder_may_hold_links(tmp_path: Path):
    write(tmp_path / "real", FILES)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(tmp_path / "real" / "a")
    assert member_names(tmp_path / "linked") == ["a/one.tif", "a/two.txt"]


def test_a_member_above_the_limit_is_refused(packed: Path):
    assert dict(members(packed, ["*.txt"], limit=3)) == {"a/two.txt": b"two"}
    with pytest.raises(UserError, match=r"'a/one.tif' has 100,000 bytes, the limit is 3"):
        list(members(packed, limit=3))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_truncated_archive_is_explained(tmp_path: Path, kind: str):
    path = write(tmp_path / kind, FILES)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"is damaged or incomplete .*; delete it and run the download again"):
        list(members(path))


def test_what_is_no_archive_is_explained(tmp_path: Path):
    (tmp_path / "x.rar").write_bytes(b"")
    with pytest.raises(UserError, match="neither a folder nor an archive"):
        member_names(tmp_path / "x.rar")
    with pytest.raises(UserError, match="is not there"):
        member_names(tmp_path / "x.zip")


def test_archives_are_told_by_their_names():
    assert all(is_archive(kind) for kind in KINDS[1:])
    assert is_archive("EuroSAT.ZIP")
    assert not any(is_archive(name) for name in ("eurosat-train.txt", "scene.gpkg", "zip"))
