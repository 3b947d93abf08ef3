"""Tars are read as tarfile reads them, and one that is damaged or cut short is noticed."""

import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from packed import tar

from bandbridge.base.errors import UserError
from bandbridge.ingest.archives import members
from bandbridge.ingest.tar import TarError, TarReader, unpacked

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}
PART_OF_NAME = st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1, max_size=60)
NAMES = st.lists(PART_OF_NAME.filter(lambda part: part not in (".", "..")), min_size=1, max_size=6).map("/".join)
FILES = st.dictionaries(NAMES, st.binary(max_size=2_000), max_size=6)


def read(data: bytes) -> list[tuple[str, bytes]]:
    archive = TarReader(unpacked(io.BytesIO(data)))
    return [(member.name, archive.read()) for member in archive]


def read_with_tarfile(data: bytes) -> list[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [(info.name, archive.extractfile(info).read()) for info in archive if info.isreg()]


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["gnu", "pax"])
@given(files=FILES)
def test_members_are_those_that_tarfile_writes_and_reads(layout: str, files: dict[str, bytes]):
    data = tar(files, format=FORMATS[layout])
    assert read(data) == read_with_tarfile(data) == list(files.items())


@given(files=FILES)
def test_short_names_in_ustar_are_read_like_tarfile_does(files: dict[str, bytes]):
    try:
        data = tar(files, format=tarfile.USTAR_FORMAT)
    except ValueError:
        return  # a name that ustar has no room for
    assert read(data) == read_with_tarfile(data)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("ustar", "a" * 90 + "/" + "b" * 90),
        ("gnu", "ä/" * 200 + "x.tif"),
        ("pax", "ä/" * 200 + "x.tif"),
        ("gnu", "Lücke"),
        ("pax", "n" * 300),
    ],
)
def test_long_names_and_those_that_are_not_ascii_are_kept(layout: str, name: str):
    data = tar({"first": b"1", name: b"content" * 100, "last": b"2"}, format=FORMATS[layout])
    assert read(data) == read_with_tarfile(data) == [("first", b"1"), (name, b"content" * 100), ("last", b"2")]


def test_a_member_may_be_left_unread(tmp_path: Path):
    files = {f"{number}": bytes([number]) * 100_000 for number in range(9)}
    for data in (tar(files), gzip.compress(tar(files))):
        archive = TarReader(unpacked(io.BytesIO(data)))
        read_members = [(member.name, archive.read()) for member in archive if int(member.name) % 3 == 1]
        assert read_members == [(name, files[name]) for name in "147"]


def test_fields_for_all_members_hold_until_one_has_its_own():
    data = tar({"a": b"1", "b": b"2"}, pax_headers={"comment": "Größe", "path": "shared"})
    assert read(data) == read_with_tarfile(data) == [("shared", b"1"), ("shared", b"2")]


def header(kind: bytes = b"0", size: bytes = b"00000000003\0", name: bytes = b"x") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[124:136] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % (sum(block) + 256)
    return bytes(block)


END = bytes(1024)
CONTENT = b"abc" + bytes(509)


def test_a_size_may_be_a_binary_number():
    assert read(header(size=b"\x80" + bytes(10) + b"\x03") + CONTENT + END) == [("x", b"abc")]


def test_a_pax_size_counts_more_than_the_header():
    record = b"9 size=3\n"
    extension = header(b"x", b"%011o\0" % len(record)) + record.ljust(512, b"\0")
    assert read(extension + header(size=b"00000000000\0") + CONTENT + END) == [("x", b"abc")]


def test_an_old_style_folder_is_no_file():
    assert read(header(b"\0", name=b"folder/") + header(b"\0") + CONTENT + END) == [("x", b"abc")]


def test_times_in_headers_of_gnu_tar_are_not_taken_for_names():
    block = bytearray(header())
    block[257:265] = b"ustar  \0"
    block[345:357] = b"15012345670\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert read(bytes(block) + CONTENT + END) == [("x", b"abc")]


def test_a_checksum_of_signed_bytes_is_right_too():
    block = bytearray(header(name="ä".encode()))
    signed = sum(byte - 256 * (byte > 127) for byte in block[:148] + block[156:]) + 256
    block[148:156] = b"%06o\0 " % signed
    assert read(bytes(block) + CONTENT + END) == [("ä", b"abc")]


@pytest.mark.attack("archives")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (header(b"S") + CONTENT + END, "'x' is a sparse file"),
        (header(b"Z") + CONTENT + END, "'x' is of the type b'Z'"),
        (header(size=b"\xff" * 12) + END, "negative size|it is no tar"),
        (header(size=b"00000000-03\0") + END, "negative size|it is no tar"),
        (header(b"x", b"00000000004\0") + b"4 a\n".ljust(512, b"\0") + END, "it is no tar"),
        (header(b"x", b"00000000007\0") + b"999 a=b".ljust(512, b"\0") + END, "it is no tar"),
        (header(b"L", b"77777777777\0") + END, "headers of one member have more than 16,777,216 bytes|it is no tar"),
        (header(b"L", b"00100000000\0") + bytes(2**24), "headers of one member have more than 16,777,216 bytes"),
        (header(b"L", b"\xff" * 10 + b"\xfc\0") + END, "a header states a negative size|it is no tar"),
        (header() + CONTENT + b"garbage".ljust(512) + END, "what follows 'x' is no tar header|where a number belongs"),
        (header() + CONTENT + END + b"garbage", "there are data after its end"),
        (header() + CONTENT, "it breaks off after 'x'"),
        (header() + CONTENT + bytes(100), "it breaks off after 'x'"),
        (header() + CONTENT[:300], "it breaks off inside 'x'"),
        (header() + b"a", "it breaks off inside 'x'"),
        (b"<!DOCTYPE html><html>Please log in</html>" * 20, "it is no tar"),
        (b"", "it is no tar"),
    ],
)
def test_what_is_no_whole_tar_is_refused(data: bytes, message: str):
    with pytest.raises(TarError, match=message):
        read(data)


def test_a_sparse_file_is_refused():
    record = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n24 GNU.sparse.name=hole\n28 GNU.sparse.realsize=3000\n"
    extension = header(b"x", b"%011o\0" % len(record)) + record.ljust(512, b"\0")
    parts = b"1\n0\n3\n".ljust(512, b"\0")
    with pytest.raises(TarError, match="'hole' is a sparse file"):
        read(extension + header(size=b"%011o\0" % 515) + parts + CONTENT + END)


@given(place=st.integers(0, 511), change=st.integers(1, 255))
def test_a_changed_header_is_noticed(place: int, change: int):
    data = bytearray(header() + CONTENT + END)
    before = read(bytes(data))
    data[place] ^= change
    with contextlib.suppress(TarError):
        assert read(bytes(data)) == before  # a number may be written in several ways


@pytest.mark.parametrize("kind", COMPRESSORS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1])
def test_a_compressed_tar_that_breaks_off_anywhere_is_refused(tmp_path: Path, kind: str, share: float):
    noise = bytes(hash((kind, number)) % 256 for number in range(50_000))
    packed = COMPRESSORS[kind](tar({"a": noise, "b": noise[::-1]}))
    path = tmp_path / f"x.tar.{kind}"
    path.write_bytes(packed[: min(int(len(packed) * share), len(packed) - 1)])
    with pytest.raises(UserError, match=r"is damaged or incomplete .*; delete it and run the download again"):
        list(members(path))


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_garbage_after_a_compressed_tar_is_refused(tmp_path: Path, kind: str):
    path = tmp_path / f"x.tar.{kind}"
    path.write_bytes(COMPRESSORS[kind](tar({"a": b"1"})) + b"<html>garbage</html>")
    with pytest.raises(UserError, match="is damaged or incomplete"):
        list(members(path))


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_a_compressed_tar_without_end_blocks_ends_where_its_compression_does(kind: str):
    assert read(COMPRESSORS[kind](header() + CONTENT)) == [("x", b"abc")]


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_streams_of_several_frames_are_read_to_the_end(kind: str):
    data = tar({"a": b"1" * 5_000, "b": b"2" * 5_000})
    cuts = (0, 700, 701, 6_000, len(data))
    frames = [COMPRESSORS[kind](data[begin:end]) for begin, end in itertools.pairwise(cuts)]
    assert read(b"".join(frames)) == [("a", b"1" * 5_000), ("b", b"2" * 5_000)]


def test_padding_after_xz_and_skippable_zstd_frames_are_passed_over():
    data = tar({"a": b"1"})
    assert read(lzma.compress(data) + bytes(8)) == [("a", b"1")]
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    packed = COMPRESSORS["zst"](data)
    assert read(skippable + packed + skippable) == [("a", b"1")]


def test_a_zstd_stream_with_a_long_window_is_read():
    # As `zstd --long=31` writes it, which decoders refuse by default.
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=31, enable_ldm=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = packer.compress(tar({"a": b"1" * 1_000})) + packer.flush()
    with pytest.raises(zstandard.ZstdError):
        zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    assert read(packed) == [("a", b"1" * 1_000)]


def test_what_compresses_it_is_told_by_the_content_not_the_name(tmp_path: Path):
    # Browsers may have unpacked a .tar.gz and kept its name.
    path = tmp_path / "x.tar.gz"
    path.write_bytes(tar({"a": b"1"}))
    assert dict(members(path)) == {"a": b"1"}


@pytest.mark.attack("archives")
@pytest.mark.slow
def test_a_tar_that_expands_a_thousandfold_is_stopped_on_the_way(tmp_path: Path):
    packer = zstandard.ZstdCompressor().compressobj()
    size = 1024**3
    packed = packer.compress(header(size=b"%011o\0" % size))
    zeros = bytes(16 * 1024**2)
    # Only a part of what is stated is there: it is refused before the end is reached.
    packed += b"".join(packer.compress(zeros) for _ in range(20)) + packer.flush()
    (tmp_path / "x.tar.zst").write_bytes(packed)
    with pytest.raises(UserError, match="'x' expands more than 1000-fold"):
        list(members(tmp_path / "x.tar.zst"))
