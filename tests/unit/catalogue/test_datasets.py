"""The data sets, nomenclatures and prompt sets that ship: every file loads and agrees with the others."""

import dataclasses

import numpy as np
import pytest

from bandbridge.base.errors import UserError
from bandbridge.base.model_faults import model_faults
from bandbridge.catalogue.dataset_model import DatasetFile
from bandbridge.catalogue.datasets import (
    Nomenclature,
    conversion_facts,
    dataset_names,
    headline_metric,
    label_map,
    load_dataset,
    load_nomenclature,
    merged,
    nomenclature_names,
    prompt_set,
    prompt_set_names,
    read_yaml,
)
from bandbridge.catalogue.files import expand_bands
from bandbridge.catalogue.option_models import OPTIONS
from bandbridge.catalogue.reader_options import parse_options
from bandbridge.catalogue.sensors import sensor_of

# Files that no trustworthy checksum is known of; their data sets' files say so.
UNPINNED = {("eurosat_rgb", "EuroSAT_RGB.zip"), ("eurosat_rgb_spatial", "EuroSAT_RGB.zip")}


@pytest.fixture(params=dataset_names())
def dataset(request):
    return load_dataset(request.param)


def test_a_data_set_file_has_the_form_of_its_schema(dataset):
    assert list(model_faults(read_yaml("datasets", dataset.name), DatasetFile)) == []


def test_a_data_sets_nomenclatures_exist_and_its_labels_lead_to_each(dataset):
    assert set(dataset.nomenclatures) <= set(nomenclature_names())
    published = load_nomenclature(dataset.nomenclature)
    for name in dataset.nomenclatures:
        matrix = label_map(published, load_nomenclature(name))
        assert matrix.shape == (len(published.classes), len(load_nomenclature(name).classes))
        assert matrix.any(axis=0).all()
        assert matrix.sum(axis=1).max() == 1


def test_a_data_sets_reader_takes_its_options(dataset):
    parse_options(OPTIONS[dataset.reader], dataset)


def test_a_data_sets_bands_are_its_sensors(dataset):
    for modality in dataset.modalities:
        if modality.sensor is None:
            assert modality.is_rgb
            assert modality.composite is None
        else:
            assert set(modality.bands) == set(sensor_of(modality).band_names(modality.product))


def test_rgb_pictures_can_be_made(dataset):
    if not dataset.primary.is_rgb:
        assert set(dataset.primary.composite.bands) <= set(dataset.primary.bands)


def test_every_source_is_pinned_or_says_why_not_and_has_an_address(dataset):
    for source in dataset.sources:
        for part in source.parts or (source,):
            assert part.urls or part.manual or "==" in part.pip
            assert part.md5 or part.sha256 or (dataset.name, part.file) in UNPINNED or part.manual


def test_level_1c_composites_become_white_at_3558(dataset):
    # The demo scene's sun is low; its file says so.
    if dataset.primary.product == "L1C" and dataset.archives != "demo_scene":
        assert dataset.primary.composite.divisor == 3558


def test_a_conversion_depends_on_what_is_read_and_not_on_what_is_said_about_it():
    own = load_dataset("demo_scene")
    facts = conversion_facts(own)
    for change in (
        {"headline": "x"},
        {"title": "x"},
        {"licence": "x"},
        {"description": "x"},
        {"convert_jobs": 7},
        {"cite": ("x",)},
    ):
        assert conversion_facts(dataclasses.replace(own, **change)) == facts
    for change in ({"label_kind": "single"}, {"options": {**own.options, "size": 8}}, {"reader": "folder"}):
        assert conversion_facts(dataclasses.replace(own, **change)) != facts


def test_a_range_of_bands_is_written_out():
    assert expand_bands(["b008..b011", "pan"]) == ("b008", "b009", "b010", "b011", "pan")
    assert len(expand_bands(["1..224"])) == 224
    assert expand_bands(["B01", "B8A"]) == ("B01", "B8A")
    with pytest.raises(UserError, match=r"band range 'b3..b1' does not count up; write it like b001..b224"):
        expand_bands(["b3..b1"])


def test_labels_are_mapped_class_by_class_and_some_have_no_counterpart():
    fine = Nomenclature("fine", "", ("oak", "pine", "road"), ("oak", "pine", "road"), {})
    coarse = Nomenclature("coarse", "", ("tree", "rock"), ("tree", "rock"), {"fine": (("oak", "pine"), ())})
    assert label_map(fine, coarse).tolist() == [[1, 0], [1, 0], [0, 0]]
    assert label_map(fine, fine).tolist() == np.eye(3).tolist()
    with pytest.raises(UserError, match="nomenclature fine has no map from coarse; it has maps from: none"):
        label_map(coarse, fine)
    wrong = dataclasses.replace(coarse, maps={"fine": (("oak", "pin"), ())})
    with pytest.raises(UserError, match=r"coarse: maps.fine names 'pin', no class of fine. Did you mean 'pine'"):
        label_map(fine, wrong)


@pytest.mark.parametrize(
    ("name", "headline"), [("demo_scene", "map"), ("digits", "accuracy"), ("demo_land_cover", "balanced_accuracy")]
)
def test_a_data_set_has_the_headline_of_its_kind_unless_its_file_names_another(name, headline):
    assert load_dataset(name).headline == headline


@pytest.mark.parametrize(
    ("kind", "stated", "allowed"),
    [
        ("multi", "accuracy", "map"),
        ("single", "map", "accuracy, balanced_accuracy"),
        ("single", "balanced", "accuracy"),
    ],
)
def test_a_headline_must_suit_the_labels(kind, stated, allowed):
    message = f"set: headline is '{stated}'; allowed for labels of kind {kind}: {allowed}"
    with pytest.raises(UserError, match=message):
        headline_metric(kind, stated, "set")


def test_the_modalities_to_convert_can_be_chosen():
    assert load_dataset("demo_scene", {"modalities": ["s2"]}).streams == ("s2",)
    with pytest.raises(UserError, match=r"demo_scene: modalities names 's3'; there are: s2\."):
        load_dataset("demo_scene", {"modalities": ["s3"]})


@pytest.mark.parametrize("name", nomenclature_names())
def test_a_nomenclature_has_a_prompt_name_for_each_class(name):
    nomenclature = load_nomenclature(name)
    assert nomenclature.name == name
    assert len(set(nomenclature.classes)) == len(nomenclature.classes) == len(nomenclature.prompt_names)
    if name != "imagenet-1k":  # in open_clip's list two classes are missile and two sunglasses
        assert len(set(nomenclature.prompt_names)) == len(nomenclature.prompt_names)
    assert all(isinstance(text, str) and text for text in nomenclature.classes + nomenclature.prompt_names)


@pytest.mark.parametrize("name", prompt_set_names())
def test_a_template_has_one_place_for_the_class(name):
    templates = prompt_set(read_yaml("prompts", name)).templates
    assert templates
    assert all(template.count("{}") == 1 and template.format("x") for template in templates)


def test_eurosat_files_hold_b8a_last():
    for name in ("eurosat_ms", "eurosat_100"):
        assert load_dataset(name).primary.bands[-2:] == ("B12", "B8A")


def test_digits_read_as_number_words():
    nomenclature = load_nomenclature("digits-10")
    assert nomenclature.classes[3] == "3"
    assert nomenclature.prompt_names[3] == "three"


def test_sen12ms_can_be_treated_as_the_papers_code_does():
    physical, reference = (load_dataset("sen12ms", {"treatment": how}).primary for how in ("physical", "reference"))
    assert (physical.composite.divisor, physical.zero_bands) == (3558, ())
    assert (reference.composite.divisor, reference.zero_bands) == (2000, ("B10",))
    assert conversion_facts(load_dataset("sen12ms")) == conversion_facts(
        load_dataset("sen12ms", {"treatment": "reference"})
    )
    with pytest.raises(
        UserError, match=r"treatment is 'referenc'; allowed: physical, reference. Did you mean 'reference'"
    ):
        load_dataset("sen12ms", {"treatment": "referenc"})


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


def test_a_prompt_set_may_have_names_and_sentences_of_a_class_s_own():
    nomenclature = load_nomenclature("digits-10")
    first, second, *_ = nomenclature.classes
    prompts = {
        "templates": ["the digit {}."],
        "names": {first: "nought"},
        "classes": {second: ["a stroke", "it is {}"]},
    }
    sentences = prompt_set(prompts).sentences(nomenclature)
    assert sentences[0] == ("the digit nought.",)
    assert sentences[1] == ("a stroke", f"it is {nomenclature.prompt_names[1]}")
    assert sentences[2] == (f"the digit {nomenclature.prompt_names[2]}.",)
    assert prompt_set(["{}!"]).sentences(nomenclature)[2] == (f"{nomenclature.prompt_names[2]}!",)


def test_a_class_without_a_sentence_is_an_error():
    with pytest.raises(UserError, match="no prompts for"):
        prompt_set({"classes": {"0": ["nought"]}}).sentences(load_nomenclature("digits-10"))
