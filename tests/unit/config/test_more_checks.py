"""Mistakes that only show when a run is under way are refused before it, with what to write instead."""

import math
from pathlib import Path
from typing import Any

import pytest
from configs import DEMO, changed, config_with

from bandbridge.base.errors import UserError
from bandbridge.base.locations import WORKFLOW
from bandbridge.config import clip as config_clip
from bandbridge.config.checks import check_files, validate
from bandbridge.config.lines import lines, model_at

VIT = DEMO["align"]["students"]["ms-vit"]


def fault(config: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        validate(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("finetune/learning_rate", math.nan, ["learning_rate is NaN", "expected a number"]),
        ("finetune/learning_rate", math.inf, ["learning_rate is infinite"]),
        ("finetune/learning_rate", "1e-5", ["is '1e-5'", "write 1.0e-5"]),
        ("finetune/learning_rate", "1e5", ["write 1.0e+5"]),
        ("finetune/learning_rate", "0,5", ["with a point and without commas: 0.5"]),
        ("finetune/learning_rate", "0.5", ["arrive as text: use --configfile"]),
        ("finetune/epochs", 32.0, ["is 32.0; expected a whole number", "Write 32"]),
        ("finetune/epochs", 10**30, ["expected at most 100000"]),
        ("finetune/epochs", True, ["is true; expected a whole number"]),
        ("seed", 2**32, ["expected at most 4294967295"]),
        ("evaluate/linear_probe/C", [math.nan], ["linear_probe.C[0] is NaN"]),
        ("run", 2024, ["run is 2024; expected text", 'as in "2024"']),
        ("run", "a\n", ["run is 'a\\n'"]),
        ("tasks/patching/dataset", "digits\n", ["dataset is 'digits\\n'", "line end"]),
        ("tasks/patching/dataset", False, ["yes, no, on, off", "quote it"]),
        ("finetune", None, ["finetune is null; expected a mapping", "section is empty"]),
        ("finetune", [], ["finetune is []; expected a mapping"]),
        ("prompts", {"mine": "a {}"}, ["prompts.mine is 'a {}'; expected a list", "Write it as a list: ['a {}']"]),
        ("prompts", {True: ["a {}"]}, ["prompts.True", "true or false", "write it in quotes"]),
        ("prompts", {"a\n": ["a {}"]}, ["prompts.a\\n is 'a\\n'"]),
        ("prompts", {"satellite": {}}, ["prompts.satellite is empty"]),
        ("evaluate/words/datasets/digits", {0: ["nought"], "0": ["zilch"]}, ["digits.0 occurs twice"]),
        ("datasets/digits/val", "x", ["datasets.digits.val is 'x'; expected a number or null"]),
        ("datasets/digits/val", 0, ["leave the split val without samples"]),
        ("datasets/demo_land_cover/size", 0, ["demo_land_cover.size is 0; expected at least 1"]),
        ("datasets/demo_land_cover/size", 500, ["leave the split test, train, val without samples"]),
        ("datasets/demo_land_cover/blocks", ["tv"], ["leave the split test without samples"]),
        ("datasets/demo_land_cover/archive", "$NOT_SET_AT_ALL/a", ["archive names the variable NOT_SET_AT_ALL"]),
        ("datasets/demo_land_cover/archive", "a{b}", ["archive is 'a{b}'; braces"]),
        ("data_root", "~nobody-at-all/x", ["no user nobody-at-all"]),
        ("data_root", "results", ["data_root and results_root are the same folder"]),
        ("log_root", "./results/", ["results_root and log_root are the same folder"]),
        ("store_root", "data/archives/stores", ["store_root", "is inside data_root/archives"]),
        ("results_root", str(WORKFLOW / "results"), ["is inside the workflow's code"]),
        ("data_root", "config.yaml", ["config.yaml is a file; name a folder"]),
        ("tasks/patching/dataset", "imagenet", ["is 'imagenet', which has no split train"]),
        (
            "align/crop_scale",
            [1, 0.5],
            ["align.crop_scale is [1, 0.5]", "the smaller share", "[0.5, 1]"],
        ),
        ("finetune/augmentation/crop_scale", [0, 1], ["a crop needs an area"]),
        ("clip/scratch/batch_size", 1500, ["the split train of digits has no more than"]),
        ("clip/scratch/warmup_steps", 5000, ["the training has no more than 1664 steps"]),
        ("train/gpus", 64, ["finetune.batch_size is 32, fewer samples than the 64 processes"]),
        ("paint/alphas", [0, 0.5, 0.5, 1], ["paint.alphas lists 0.5 twice"]),
        ("paint/alphas", [0, -0.0, 1], ["twice"]),
        ("paint/alphas", [0, 1e-12, 1], ["paint.alphas[1] is 1e-12", "at least 1e-09"]),
        ("tables/models", ["patchd"], ["tables.models names 'patchd'", "Did you mean 'patched'?"]),
        ("tables/datasets", ["demo"], ["tables.datasets names 'demo'"]),
        ("align/students/ms-vit/image_size", 33, ["the backbone takes 32 x 32 pixels"]),
        ("align/students/ms-vit/options/patch_size", 7, ["patches of 7 pixels do not divide"]),
        ("align/students/ms-vit/options/num_heads", 3, ["num_heads is 3, which does not divide embed_dim, 128"]),
        ("align/students/ms-vit/options/depth", 10**7, ["options.depth is 10000000", "up to 1,000"]),
        ("align/students/ms-vit/widen_rgb", True, ["widen_rgb is true, but pretrained is null"]),
        ("align/students", {"demo-clip": VIT}, ["align.students has 'demo-clip', which is also a CLIP"]),
        ("evaluate/encoders", ["dofa-vit-b-16"] * 2, ["lists 'dofa-vit-b-16' twice"]),
    ],
)
def test_a_mistake_is_named_with_what_to_write_instead(path: str, value: Any, parts: list[str]):
    message = fault(changed(path, value))
    for part in parts:
        assert part in message
    assert all(line.startswith("config.yaml: ") for line in message.splitlines())


def test_number_keys_mean_what_they_say():
    config = changed("evaluate/words/datasets/digits", {0: ["nought"], 1: ["unity"]})
    assert validate(config)["evaluate"]["words"]["datasets"]["digits"] == {"0": ["nought"], "1": ["unity"]}
    options = validate(changed("datasets/demo_land_cover/class_map", {1: "forest", 2: None}))["datasets"]
    assert options["demo_land_cover"]["class_map"] == {"1": "forest", "2": None}


def test_paths_are_expanded_wherever_they_stand(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCRATCH", "/scratch/it's mine")
    roots = {"data_root": "$SCRATCH/d/", "results_root": "./r", "compare": ["~/one", "two"]}
    config = config_with(roots)
    config["datasets"] = {"demo_land_cover": {"archive": "${SCRATCH}/a.zip", "rasters": "~{band}"}}
    config["evaluate"]["encoders"] = [{"name": "dofa-vit-b-16", "checkpoint": "~/dofa.pt"}]
    config["align"]["students"]["ms-vit"] = {**VIT, "pretrained": "~/vit.pt"}
    config["tables"]["datasets"] = config["evaluate"]["words"] = None
    checked = validate(config)
    assert checked["data_root"] == "/scratch/it's mine/d"
    assert checked["results_root"] == "r"
    assert checked["compare"] == [f"{tmp_path}/one", "two"]
    assert checked["datasets"]["demo_land_cover"] == {"archive": "/scratch/it's mine/a.zip", "rasters": "~{band}"}
    assert checked["evaluate"]["encoders"][0]["checkpoint"] == f"{tmp_path}/dofa.pt"
    assert checked["align"]["students"]["ms-vit"]["pretrained"] == f"{tmp_path}/vit.pt"


def test_alphas_that_differ_are_different_models():
    config = validate(changed("paint/alphas", [-0.0, 1e-5, 0.1234567, 0.12345671, 1]))
    (line,) = lines(config).values()
    models = [model_at(line, alpha) for alpha in config["paint"]["alphas"]]
    assert models == [f"demo-clip@{name}" for name in ("0", "0.00001", "0.1234567", "0.12345671", "1")]


def test_files_are_checked_before_another_reader_loses_what_is_in_them(tmp_path: Path):
    good, bad, odd = (tmp_path / name for name in ("good.yaml", "bad.yaml", "odd.yaml"))
    good.write_text("run: a\nprompts: {0: ['a {}']}\n")
    bad.write_text("run: a\nseed: 1\nrun: b\n")
    odd.write_text("prompts: {010: ['a {}']}\n")
    check_files([good, tmp_path / "absent.yaml"])
    with pytest.raises(UserError, match=r"bad.yaml, line 3: the key 'run' occurs twice"):
        check_files([good, bad])
    with pytest.raises(UserError, match=r"odd.yaml, line 1: YAML reads the key 010 as the int 8"):
        check_files([odd])


def test_the_configuration_is_a_mapping():
    with pytest.raises(UserError, match="holds no keys"):
        validate([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ('"patch_size": 16', '"patch_size": 7'),
        ('"head_width": 32', '"head_width": 48'),
        ('"layers": 4', '"layers": 4.0'),
        ('"embed_dim": 384', '"embed_dim": "384"'),
        ('"embed_dim": 384,', '"embed_dim": 384, "embed_dim": 512,'),
        ('"width": 256,', '"width": 256'),
    ],
)
def test_an_architecture_of_ones_own_is_checked(written: str, wrong: str, tmp_path: Path, monkeypatch):
    content = (WORKFLOW / "clip_configs" / "demo-clip.json").read_text().replace(written, wrong, 1)
    file = tmp_path / "clip_configs" / "demo-clip.json"
    file.parent.mkdir()
    file.write_text(content)
    monkeypatch.setattr(config_clip, "clip_architectures", lambda: {"demo-clip": file})
    assert "demo-clip.json" in fault(DEMO)
