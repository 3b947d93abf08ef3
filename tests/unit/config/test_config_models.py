"""The models are the one source of what a configuration may say; files that repeat it are held to them."""

import copy
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from random import Random
from typing import Any

import pytest
import yaml
from configs import DEMO, ROOT
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from mutated_configs import at, mutant, places

from bandbridge.base.errors import UserError
from bandbridge.base.model_faults import model_faults
from bandbridge.base.model_types import Section
from bandbridge.base.yaml_files import texts_of_keys
from bandbridge.catalogue import files
from bandbridge.catalogue.encoder_model import EncoderFile
from bandbridge.catalogue.encoders import encoder_content, encoder_names, facts_of
from bandbridge.catalogue.option_models import OPTION_MODELS
from bandbridge.config.sections.training import AlignRecipe, Finetune, RecipeChanges, Student
from bandbridge.config.sections.whole import Config
from bandbridge.models.students import StudentSpec
from bandbridge.ops.config_reference import Key, keys, look_up
from bandbridge.ops.schema_files import MODELS, json_schema, schema_text
from bandbridge.training import recipes

TEXT = (ROOT / "config.yaml").read_text()
KEYS = list(keys(json_schema(Config)))
# Each comment on one line, behind its key or above it.
LINES = re.sub(r"\n *#", "", re.sub(r" -+\n", ".\n", TEXT)).splitlines()


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_of_an_editor_is_what_the_models_make(name: str):
    written = (ROOT / "workflow/schemas" / f"{name}.schema.yaml").read_text()
    assert written == schema_text(name), "run `make docs`"


def validator(name: str) -> Any:
    """An editor's, but for the numbers 1.0, true, NaN and infinity, and for line ends behind a pattern's end."""

    def is_whole(_: Any, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def is_number(_: Any, value: Any) -> bool:
        return is_whole(_, value) or (isinstance(value, float) and math.isfinite(value))

    def matches(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
        if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
            yield ValidationError(f"{value!r} does not match {pattern!r}")

    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": is_whole, "number": is_number})
    strict: Any = extend(Draft202012Validator, validators={"pattern": matches}, type_checker=types)
    return strict(yaml.safe_load((ROOT / "workflow/schemas" / f"{name}.schema.yaml").read_text()))


def test_a_schema_refuses_what_the_models_refuse_and_nothing_else():
    random, schema = Random("schemas"), validator("config")
    refused = 0
    for _ in range(30):
        content, faults = texts_of_keys(mutant(random).config)
        if not faults:
            of_models = list(model_faults(content, Config))
            assert bool(of_models) == (not schema.is_valid(content)), of_models
            refused += bool(of_models)
    assert 10 < refused < 28


# --- config.yaml ------------------------------------------------------------------------------------------------------


STATED = [key for key in KEYS if look_up(DEMO, key.path)[0] and not key.path.endswith("<name>")]


@pytest.mark.parametrize("key", STATED, ids=lambda key: key.path)
def test_the_comment_of_a_key_begins_with_its_description(key: Key):
    description = key.schema.get("description", "").removesuffix(".")
    assert description
    first, last = key.path.split(".")[0], key.path.rpartition(".")[2]
    start = next(number for number, line in enumerate(LINES) if line.startswith(f"{first}:"))
    end = next((n for n, line in enumerate(LINES) if n > start and line[:1].isalpha()), len(LINES))
    numbers = [n for n in range(start, end) if re.match(rf" *{re.escape(last)}:", LINES[n])]
    places = [place for n in numbers for place in (LINES[n - 1], LINES[n])]
    assert any(re.search(rf"(^|#) (--- )?{re.escape(description)}", place, re.IGNORECASE) for place in places)


LEFT_OUT = [key for key in KEYS if not look_up(DEMO, key.path)[0] and not key.path.endswith("<name>")]


@pytest.mark.parametrize("key", LEFT_OUT, ids=lambda key: key.path)
def test_a_key_that_may_be_left_out_is_named_in_a_comment_of_its_section(key: Key):
    section, _, name = key.path.rpartition(".")
    first = section.split(".")[0]
    lines = re.search(rf"^{first}:.*\n((?: .*\n|\n)*)", TEXT, re.MULTILINE)
    assert lines is not None
    comments = " ".join(line.partition("#")[2] for line in lines[0].splitlines())
    assert re.search(rf"\b{name}\b", comments)


def test_the_default_configuration_has_no_key_that_the_models_lack():
    assert list(model_faults(DEMO, Config)) == []
    assert list(DEMO) == list(Config.model_fields)


# --- other places that know the keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        (Finetune, recipes.FinetuneRecipe),
        (AlignRecipe, recipes.AlignRecipe),
        (RecipeChanges, recipes.AlignRecipe),
    ],
)
def test_recipes_of_training_have_the_keys_of_the_models(model: type[Section], recipe: type):
    assert set(model.model_fields) == {field.name for field in fields(recipe)}


def test_absent_keys_of_a_student_mean_what_the_model_says():
    stated = {key: value for key, value in DEMO["align"]["students"]["ms-vit"].items() if key != "recipe"}
    optional = {key: field.default for key, field in Student.model_fields.items() if not field.is_required()}
    required = {key: value for key, value in stated.items() if key not in optional}
    del optional["recipe"], optional["weights"]
    assert StudentSpec.from_config(required) == StudentSpec.from_config({**required, **optional})


def test_a_description_reaches_the_schema_and_the_message():
    (about,) = [key.schema for key in KEYS if key.path == "embed.models_per_job"]
    assert about["description"].startswith("Alphas that share one pass over a data set")
    config = yaml.safe_load(TEXT)
    del config["embed"]["models_per_job"]
    (message,) = model_faults(config, Config)
    assert "embed.models_per_job is missing; models_per_job: alphas that share one pass" in message


# --- files of workflow/ -----------------------------------------------------------------------------------------------

# Folder of workflow/ -> the schema of its files.
FOLDERS = {
    "datasets": "dataset",
    "encoders": "encoder",
    "nomenclatures": "nomenclature",
    "prompts": "prompts",
    "published": "published",
    "text_towers": "text_tower",
}
ODD = (None, "", "1e-5", "rgb", "a\n", "{x}", [], [1], ["a", "a"], [0.5, 2], {}, {"a": 1}, 0, -1, 2.5, True, 10**30)


def mutated(random: Random, content: dict[str, Any]) -> dict[str, Any]:
    """A copy with one value changed, lost, or under another key."""
    copied = copy.deepcopy(content)
    place = random.choice(list(places(copied)))
    section = at(copied, place[:-1])
    match random.choice(("changed", "changed", "lost", "misspelt")):
        case "lost":
            del section[place[-1]]
        case "misspelt" if isinstance(section, dict):
            section[f"{place[-1]}s"] = section.pop(place[-1])
        case _:
            section[place[-1]] = copy.deepcopy(random.choice(ODD))
    return copied


def faults_of(folder: str, content: dict[str, Any]) -> list[str]:
    """What the models say of a file; of a data set's, also of its options."""
    faults = list(model_faults(content, files.MODELS[folder]))
    if folder == "datasets" and not faults:
        faults = list(model_faults(content.get("options", {}), OPTION_MODELS[content["reader"]], under="options"))
    return faults


@pytest.mark.parametrize(("folder", "name"), FOLDERS.items())
def test_the_schema_of_a_folder_refuses_what_its_model_refuses(folder: str, name: str):
    random, schema = Random(folder), validator(name)
    contents = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "workflow" / folder).glob("*.yaml"))]
    assert not any(faults_of(folder, content) for content in contents)
    for _ in range(60):
        content = mutated(random, random.choice(contents))
        faults = faults_of(folder, content)
        assert bool(faults) == (not schema.is_valid(content)), (faults, content)


def test_a_mistake_in_a_file_of_an_encoder_is_a_sentence():
    random, names = Random("encoders"), encoder_names()
    for _ in range(100):
        content = mutated(random, encoder_content(random.choice(names)))
        # Nothing else is raised.
        with suppress(UserError):
            facts_of(content)


def test_numbers_and_bands_of_an_encoder_say_which_types_they_may_have():
    content = encoder_content("ssl4eo-dino-vit-s-16")
    content = {
        **content,
        "input": {**content["input"], "bands": "RGB", "normalisation": {"kind": "scale", "divisor": "1e4"}},
    }
    bands, divisor = model_faults(content, EncoderFile)
    assert bands == "input.bands is 'RGB'; allowed: rgb, a list. Did you mean 'rgb'?"
    assert divisor == (
        "input.normalisation.divisor is '1e4'; expected a number or a list. YAML reads it as text; write 1.0e+4."
    )


def test_keys_that_look_like_steps_of_a_check_are_keys():
    config = {**DEMO, "\0mapping": 1, "[key]": 1, "prompts": {"[key]": ["a {}"]}}
    unknown, odd, name = model_faults(config, Config)
    assert unknown.startswith("\\x00mapping is not a known key; allowed: run, seed")
    assert odd.startswith("[key] is not a known key; allowed: run, seed")
    assert name.startswith("prompts.[key] is '[key]'; allowed are letters")
