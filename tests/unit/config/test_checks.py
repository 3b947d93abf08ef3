"""A wrong configuration is refused before any job, with the key, what was found and what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from configs import DEMO, MISSING, ROOT, changed, config_with

from bandbridge.base.errors import UserError
from bandbridge.config.checks import validate
from bandbridge.config.missing_weights import absent_checkpoints
from bandbridge.config.networks import clip_id, clips
from bandbridge.config.scored import evaluated, main_prompts, open_words, templates


def test_the_default_configuration_is_valid():
    assert validate(DEMO) == DEMO


@pytest.mark.parametrize("preset", sorted((ROOT / "workflow/presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_valid(preset: Path):
    # A preset may be laid over another, which its first lines name.
    command = next(line for line in preset.read_text().splitlines() if "--configfile" in line)
    files = command.split("--configfile")[1].split()
    validate(config_with(*(yaml.safe_load((ROOT / file).read_text()) for file in files)))


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("paint/select/criterion", "meen", ["paint.select.criterion is 'meen'", "mean, max_loss, fixed", "'mean'?"]),
        ("paint/alfas", [0, 1], ["paint.alfas is not a known key", "alphas, coefficients", "Did you mean 'alphas'?"]),
        ("finetune/epochs", "ten", ["finetune.epochs is 'ten'", "a whole number"]),
        ("finetune/epochs", 0, ["finetune.epochs is 0", "at least 1"]),
        ("finetune/learning_rate", 0, ["finetune.learning_rate is 0", "more than 0"]),
        ("paint/alphas", [0, 0.5, 1.2, 1], ["paint.alphas[2] is 1.2", "at most 1"]),
        ("paint/alphas", [0, -0.1, 1], ["paint.alphas[1] is -0.1", "at least 0"]),
        ("paint/alphas", [0, 0.5], ["paint.alphas lacks 1", "fine-tuned"]),
        ("seed", MISSING, ["seed is missing"]),
        ("finetune/clip_norm", MISSING, ["finetune.clip_norm is missing"]),
        ("run", "my run", ["run is 'my run'", "letters"]),
        ("tasks/patching/dataset", "demo_scen", ["tasks.patching.dataset", "'demo_scen'", "mean 'demo_scene'?"]),
        ("tasks/patching/nomenclature", "demo-land-cover-6", ["is 'demo-land-cover-6'", "'demo-land-cover-5'?"]),
        ("tasks/patching/prompts", "satelite", ["tasks.patching.prompts", "'satelite'", "Did you mean 'satellite'?"]),
        (
            "tasks/patching",
            [{"dataset": "demo_scene", "prompts": "plain"}] * 2,
            ["tasks.patching lists the data set 'demo_scene' twice"],
        ),
        ("tasks/patching", [{"dataset": "demo_scene", "prompts": "plane"}], ["tasks.patching[0].prompts", "'plain'"]),
        ("tasks/patching", [], ["tasks.patching"]),
        (
            "prompts",
            {"satellite": {"templates": ["{}"], "classes": {"forrest": ["trees"]}}},
            ["prompt set 'satellite'", "'forrest'", "not a class of demo_land_cover", "Did you mean 'forest'"],
        ),
        ("prompts", {"satellite": {"classes": {"forest": ["trees"]}}}, ["has no templates"]),
        ("paint/several", "sequentialy", ["Did you mean 'sequentially'"]),
        (
            "align/task",
            {"dataset": "digits", "prompts": "digits"},
            ["RGB images only", "align.task", "with students: {ms-vit: null}"],
        ),
        ("tasks/supported", {"dataset": "demo_land_cover", "prompts": "plain"}, ["also a patching task", "another"]),
        ("tasks/supported", {"dataset": "digits"}, ["tasks.supported.prompts is missing"]),
        ("tasks/supported", None, ["paint.select.criterion is 'max_loss'", "use 'fixed'"]),
        ("datasets/demo_land_cover/strid", 16, ["demo_land_cover.strid is not an option", "Did you mean 'stride'?"]),
        ("datasets/demo_zcene", {}, ["names the data set 'demo_zcene'", "Did you mean 'demo_scene'?"]),
        ("prompts/mine", ["a photo"], ["prompts.mine[0] is 'a photo'", "exactly one {}"]),
        ("evaluate/datasets/eurosat_ms", ["nope"], ["evaluate.datasets.eurosat_ms", "'nope'"]),
        ("evaluate/linear_probe/datasets", ["eurosat_ms"], ["not evaluated", "demo_land_cover"]),
        ("align/students/ms-vit/scaling", "standardize", ["scaling is 'standardize'", "Did you mean 'standardise'?"]),
        ("align/students/ms-vit/bands", ["red"], ["students.ms-vit.bands has red", "which demo_land_cover lacks"]),
        ("align/students/ms-vit/modality", "s1", ["modality is 's1'", "demo_land_cover is converted to: s2"]),
        ("align/students/ms-vit/recipe", {"los": "mse"}, ["recipe.los is not a known key", "Did you mean 'loss'"]),
        ("align/cache_teacher", True, ["align.cache_teacher is true", "set crop_scale to [1, 1] and flip to 0"]),
        (
            "align/students/ms-vit/recipe",
            {"distillation_weight": 0, "label_weight": 0},
            ["align.students.ms-vit.recipe", "are both 0"],
        ),
        ("embed/precision", "half", ["embed.precision is 'half'", "auto, bfloat16, float16, float32"]),
        ("clip/name", ["ViT-B-32", "ViT-B-16"], ["clip.name lists several"]),
        ("clip/name", "ViT-B32", ["clip.name is 'ViT-B32'", "open_clip", "Did you mean 'ViT-B-32'?"]),
        ("evaluate/nomenclatures", {"digits": ["digits-11"]}, ["evaluate.nomenclatures.digits names 'digits-11'"]),
        ("clip/scratch", MISSING, ["clip.scratch is missing"]),
        ("finetune/class_weights", "inverse", ["finetune.class_weights is 'inverse'", "balanced, root"]),
        ("align/students/ms-vit/recipe", {"class_weights": "roots"}, ["class_weights is 'roots'", "mean 'root'?"]),
        ("clip/scratch/dataset", "demo_scene", ["multi-label", "need one class"]),
    ],
)
def test_a_fault_is_named_with_what_is_allowed(path: str, value: Any, parts: list[str]):
    with pytest.raises(UserError) as caught:
        validate(changed(path, value), source="config.yaml")
    message = str(caught.value)
    assert message.startswith("config.yaml: ")
    for part in parts:
        assert part in message


def test_a_fixed_alpha_must_be_in_the_list():
    config = changed("paint/select", {"criterion": "fixed", "max_loss": 0, "alpha": 0.55})
    with pytest.raises(UserError, match=r"paint.select.alpha is 0.55, which is not in paint.alphas"):
        validate(config)


def test_all_faults_are_told_at_once():
    config = changed("seed", -1)
    config["finetune"]["epochs"] = 0
    with pytest.raises(UserError) as caught:
        validate(config)
    assert len(str(caught.value).splitlines()) == 2


def test_null_removes_an_entry_that_a_preset_does_not_want():
    config = changed("align/students/ms-vit", None)
    assert validate(config)["align"]["students"] == {}


def test_weights_without_a_checksum_need_consent_before_any_job(tmp_path: Path):
    name = "remoteclip-vit-b-32"
    expected = f"evaluate.encoders, {name}: nobody states a checksum of RemoteCLIP-ViT-B-32.pt.*unpinned: true"
    with pytest.raises(UserError, match=expected):
        validate(changed("evaluate/encoders", [name]))
    validate(changed("evaluate/encoders", [{"name": name, "unpinned": True}]))
    validate(changed("evaluate/encoders", [{"name": name, "checkpoint": "my.pt"}]))
    validate(changed("evaluate/encoders", ["ssl4eo-moco-vit-s-16"]))
    student = next(iter(DEMO["align"]["students"]))
    with pytest.raises(UserError, match=rf"align\.students\.{student}\.pretrained: nobody states a checksum"):
        validate(changed(f"align/students/{student}/pretrained", "satmae-vit-l-8"))
    own = changed("evaluate/encoders", [name]) | {"data_root": str(tmp_path)}
    copied = tmp_path / "archives" / "encoders" / "RemoteCLIP-ViT-B-32.pt"
    copied.parent.mkdir(parents=True)
    copied.write_bytes(b"weights")
    validate(own)


def test_a_run_without_supported_task_is_valid_with_a_fixed_alpha():
    config = changed("tasks/supported", None)
    config["paint"]["select"]["criterion"] = "fixed"
    assert validate(config)["tasks"]["supported"] is None


def test_the_tasks_own_prompts_are_always_scored():
    config = changed("evaluate/datasets", {"demo_land_cover": ["plain"]})
    assert evaluated(config) == {"demo_land_cover": ("plain", "satellite"), "digits": ("digits",)}


def test_the_users_templates_come_before_the_repositorys():
    config = changed("prompts", {"mine": ["{} from above"]})
    assert templates(config, "mine") == ("{} from above",)
    assert all("{}" in template for template in templates(config, "satellite"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ViT-B-32", "ViT-B-32"), ("hf-hub:laion/CLIP-ViT-B-32", "CLIP-ViT-B-32"), ("my model", "my-model")],
)
def test_a_clip_is_named_after_its_architecture(name: str, expected: str):
    assert clip_id(name) == expected
    assert list(clips(changed("clip/name", name))) == [expected]


@pytest.mark.parametrize("source", ["scratch", "openai", "laion2b_s34b_b79k", "hf-hub:someone/some-clip"])
def test_weights_that_are_no_file_are_not_looked_for(source: str):
    assert absent_checkpoints(changed("clip/pretrained", source)) == []


@pytest.mark.parametrize("name", ["weights.pt", "folder/clip"])
def test_a_checkpoint_that_is_not_there_is_found_out_before_the_first_job(tmp_path: Path, name: str):
    path = tmp_path / name
    (fault,) = absent_checkpoints(changed("clip/pretrained", str(path)))
    assert fault.startswith(f"clip.pretrained: {path} not found")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x10" + bytes(7) + b"{}")
    assert absent_checkpoints(changed("clip/pretrained", str(path))) == []


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ({"forrest": ["trees"]}, ["has words for 'forrest'", "not a class of demo-land-cover-5", "mean 'forest'?"]),
        ({"forest": ["trees", "Meadow"]}, ["demo_land_cover.forest lists 'Meadow', a class's name or prompt"]),
        ({"forest": ["A satellite  photo of forest."]}, ["a class's name or prompt"]),
        ({"forest": ["trees"], "meadow": ["Trees"]}, ["lists 'Trees' for meadow, and before that for forest"]),
        ({"forest": ["trees", "trees"]}, ["list each word once"]),
        ({"forest": [" "]}, ["forest lists an empty word"]),
        ({"forest": [""]}, ["evaluate.words.datasets.demo_land_cover.forest[0]"]),
        ({"forest": []}, ["evaluate.words.datasets.demo_land_cover.forest"]),
        ({"forest": "trees"}, ["forest is 'trees'; expected a list"]),
    ],
)
def test_a_word_that_measures_nothing_is_named(words: dict[str, Any], parts: list[str]):
    with pytest.raises(UserError) as caught:
        validate(changed("evaluate/words/datasets/demo_land_cover", words))
    for part in parts:
        assert part in str(caught.value)


def test_words_are_for_data_sets_that_are_evaluated():
    config = changed("evaluate/words/datasets", {"demo_land_kover": {"forest": ["trees"]}})
    with pytest.raises(UserError, match=r"'demo_land_kover', which is not evaluated.*Did you mean 'demo_land_cover'"):
        validate(config)


def test_words_need_templates_to_fill():
    sentences = {name: [f"much {name}"] for name in ("farmland", "forest", "meadow", "residential area", "water")}
    config = changed("prompts", {"satellite": {"classes": sentences}})
    with pytest.raises(UserError, match="the prompt set 'satellite' has no templates for the words to fill"):
        validate(config)


def test_words_can_be_taken_away():
    one = validate(changed("evaluate/words/datasets", {"demo_land_cover": None, "digits": {"0": ["nought"]}}))
    assert open_words(one) == {"digits": {"0": ["nought"]}}
    assert open_words(validate(changed("evaluate/words", None))) == {}


def test_the_prompts_that_stand_for_a_data_set_are_its_tasks():
    config = changed("evaluate/datasets/demo_land_cover", ["plain", "satellite"])
    assert main_prompts(config, "demo_land_cover") == "satellite"
    config["evaluate"]["datasets"]["eurosat_ms"] = ["plain", "satellite"]
    assert main_prompts(config, "eurosat_ms") == "plain"
