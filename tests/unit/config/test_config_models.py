"""The models are the one source of what a configuration may say; files that repeat it are held to them."""

import re
from dataclasses import fields
from random import Random

import pytest
import yaml
from configs import DEMO, ROOT
from mutated_configs import mutant

from bandbridge.base.model_faults import model_faults
from bandbridge.base.model_types import Section
from bandbridge.base.schema import schema_faults
from bandbridge.base.yaml_files import texts_of_keys
from bandbridge.config.models.config import Config
from bandbridge.config.models.training import AlignRecipe, Finetune, RecipeChanges, Student
from bandbridge.models.students import StudentSpec
from bandbridge.ops.config_reference import Key, keys, look_up, read_comments
from bandbridge.ops.schema_files import MODELS, json_schema, schema_text, sentence
from bandbridge.training import recipes

TEXT = (ROOT / "config.yaml").read_text()
KEYS = list(keys(json_schema(Config)))


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_of_an_editor_is_what_the_models_make(name: str):
    written = (ROOT / "workflow/schemas" / f"{name}.schema.yaml").read_text()
    assert written == schema_text(MODELS[name]), "run `make docs`"


def test_a_schema_refuses_what_the_models_refuse_and_nothing_else():
    random = Random("schemas")
    refused = 0
    for _ in range(100):
        content, faults = texts_of_keys(mutant(random).config)
        if not faults:
            of_models = list(model_faults(content, Config))
            assert bool(of_models) == bool(list(schema_faults(content, "config"))), of_models
            refused += bool(of_models)
    assert 20 < refused < 90


# --- config.yaml ------------------------------------------------------------------------------------------------------


def comments_of(key: Key) -> list[str]:
    """The comments of config.yaml that explain a key: beside it, above it, and the rule above a section."""
    comments = read_comments(TEXT)
    place, _ = look_up(DEMO, key.path)
    rules = re.findall(r"# --- (.*?) -+\n(?:#.*\n)*(\w+):", TEXT)
    ruled = [text for text, section in rules if section == place]
    return [*ruled, comments.of.get(place, ""), comments.above.get(place, "")]


@pytest.mark.parametrize("key", [key for key in KEYS if look_up(DEMO, key.path)[0]], ids=lambda key: key.path)
def test_the_comment_of_a_key_begins_with_its_description(key: Key):
    description = key.schema.get("description", "")
    assert any(sentence(comment).startswith(description.removesuffix(".")) for comment in comments_of(key))
    assert description or key.path.endswith("<name>")


@pytest.mark.parametrize("key", [key for key in KEYS if not look_up(DEMO, key.path)[0]], ids=lambda key: key.path)
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
    del optional["recipe"]
    assert StudentSpec.from_config(required) == StudentSpec.from_config({**required, **optional})


def test_a_description_reaches_the_schema_and_the_message():
    (about,) = [key.schema for key in KEYS if key.path == "embed.models_per_job"]
    assert about["description"].startswith("Alphas that share one pass over a data set")
    config = yaml.safe_load(TEXT)
    del config["embed"]["models_per_job"]
    (message,) = model_faults(config, Config)
    assert "embed.models_per_job is missing; models_per_job: alphas that share one pass" in message
