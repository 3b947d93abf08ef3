"""An exported model's STAC item has the fields that the extension for models demands."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.base.errors import UserError
from bandbridge.use.mlm_fields import NAME, fitting_name, must_be_a_model
from bandbridge.use.stac_item import model_item

ARRAY = ("properties", "mlm:output", 0, "result")


@pytest.fixture
def item(model):
    return model_item(model, model.card, "model.safetensors")


def test_an_exports_item_is_accepted(item):
    must_be_a_model(item, "item.json")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("properties", "mlm:name"), "x", "properties.mlm:name"),
        (("properties", "mlm:tasks"), ["guessing"], "properties.mlm:tasks.0"),
        (("properties", "mlm:framework_version"), "2.x", "mlm:framework_version"),
        (("properties", "mlm:total_parameters"), "many", "mlm:total_parameters"),
        (("properties", "mlm:input"), [], "mlm:input"),
        (("properties", "bands"), [{"name": "B02"}], "bands lacks B03, B04, B08, B10"),
        ((*ARRAY, "shape"), [-2, 8], "result.shape.0"),
        ((*ARRAY, "shape"), [8], "shape has 1 sides, dim_order the names batch, feature"),
        ((*ARRAY, "data_type"), "float", "result.data_type"),
        (("assets", "model", "roles"), ["data"], "belong together"),
        (("stac_extensions",), [], "stac_extensions lacks https://stac-extensions"),
        (("assets",), {}, "no asset has the role mlm:model"),
    ],
)
def test_a_field_that_breaks_the_extension_is_named(item, place, value, message):
    *path, last = place
    content = item
    for step in path:
        content = content[step]
    content[last] = value
    with pytest.raises(UserError, match=rf"item\.json breaks STAC's extension for models: .*{re.escape(message)}"):
        must_be_a_model(item, "item.json")


def test_a_missing_field_is_named(item):
    del item["properties"]["mlm:architecture"]
    with pytest.raises(UserError, match=r"properties\.mlm:architecture"):
        must_be_a_model(item, "item.json")


@given(st.text(max_size=12))
def test_every_name_is_made_to_fit(name):
    assert re.match(NAME, fitting_name(name))


def test_names_that_fit_stay():
    assert [fitting_name(name) for name in ("ms-vit", "ms", "clip@0.5", "2x", "Wald")] == [
        "ms-vit", "model-ms", "clip-0.5", "model-2x", "Wald",
    ]  # fmt: skip
