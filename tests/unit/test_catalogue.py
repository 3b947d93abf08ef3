"""The data sets, nomenclatures and prompt sets that ship: every file loads and agrees with the others."""

import pytest

from bandbridge.catalogue import (
    dataset_names,
    load_dataset,
    load_nomenclature,
    load_templates,
    merged,
    nomenclature_names,
    prompt_set_names,
    read_yaml,
)
from bandbridge.config import schema_faults
from bandbridge.errors import UserError
from bandbridge.readers import READERS
from bandbridge.readers.options import DigitsOptions, FolderOptions, SceneOptions, parse_options
from bandbridge.sensors import SENSORS

OPTIONS = {"digits": DigitsOptions, "folder": FolderOptions, "scene": SceneOptions}


@pytest.fixture(params=dataset_names())
def dataset(request):
    return load_dataset(request.param)


def test_a_data_set_file_has_the_form_of_its_schema(dataset):
    assert list(schema_faults(read_yaml("datasets", dataset.name), "dataset")) == []


def test_a_data_sets_nomenclature_exists(dataset):
    assert dataset.nomenclature in nomenclature_names()


def test_a_data_sets_reader_takes_its_options(dataset):
    assert OPTIONS.keys() == READERS.keys()
    parse_options(OPTIONS[dataset.reader], dataset)


def test_a_data_sets_bands_are_its_sensors(dataset):
    if dataset.sensor is None:
        assert dataset.modality == "rgb"
        assert dataset.composite is None
    else:
        assert set(dataset.bands) == set(SENSORS[dataset.sensor].band_names(dataset.product))
        assert set(dataset.composite.bands) <= set(dataset.bands)


def test_every_source_is_pinned_and_has_an_address(dataset):
    for source in dataset.sources:
        assert source.md5 or source.sha256
        assert source.urls or "==" in source.pip


def test_level_1c_composites_become_white_at_3558(dataset):
    # The demo scene's sun is low; its file says so.
    if dataset.product == "L1C" and dataset.name != "demo_scene":
        assert dataset.composite.divisor == 3558


@pytest.mark.parametrize("name", nomenclature_names())
def test_a_nomenclature_has_a_prompt_name_for_each_class(name):
    nomenclature = load_nomenclature(name)
    assert nomenclature.name == name
    assert len(set(nomenclature.classes)) == len(nomenclature.classes) == len(nomenclature.prompt_names)
    assert len(set(nomenclature.prompt_names)) == len(nomenclature.prompt_names)
    assert all(isinstance(text, str) and text for text in nomenclature.classes + nomenclature.prompt_names)


@pytest.mark.parametrize("name", prompt_set_names())
def test_a_template_has_one_place_for_the_class(name):
    templates = load_templates(name)
    assert templates
    assert all(template.count("{}") == 1 and template.format("x") for template in templates)


def test_eurosat_files_hold_b8a_last():
    for name in ("eurosat_ms", "eurosat_100"):
        assert load_dataset(name).bands[-2:] == ("B12", "B8A")


def test_digits_read_as_number_words():
    nomenclature = load_nomenclature("digits-10")
    assert nomenclature.classes[3] == "3"
    assert nomenclature.prompt_names[3] == "three"


def test_overrides_lie_over_the_options():
    own = load_dataset("demo_scene").options
    laid_over = load_dataset("demo_scene", {"size": 8, "class_map": {"heath": "scrub"}}).options
    assert laid_over == {**own, "size": 8, "class_map": {"heath": "scrub"}}
    assert own["size"] != 8


def test_mappings_are_merged_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}, "d": None}) == {"a": {"b": 1, "c": 4}, "d": None}


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(
        UserError, match=r"'digit' is not in workflow/datasets; there are: .*digits.* Did you mean 'digits'"
    ):
        load_dataset("digit")
