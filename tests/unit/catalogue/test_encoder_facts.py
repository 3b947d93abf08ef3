"""What the files of workflow/encoders may say, and what follows from it."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import dataset_names, load_dataset
from bandbridge.catalogue.encoders import (
    chosen_modality,
    encoder_content,
    encoder_names,
    facts_of,
    load_encoder_facts,
    sees,
)
from bandbridge.catalogue.sensors import SENTINEL_2
from bandbridge.config.networks import other_encoders

PICTURES, BANDS, GROUPS = "remoteclip-vit-b-32", "llama3-ms-clip-base", "satmae-vit-l-8"
ALL = tuple(band.name for band in SENTINEL_2.bands)


def changed(name, **values):
    """The content of an encoder's file with other values; 'input.size' names a value inside another."""
    content = copy.deepcopy(encoder_content(name))
    for key, value in values.items():
        *path, last = key.split("__")
        target = content
        for part in path:
            target = target[part]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return content


@pytest.mark.parametrize("name", encoder_names())
def test_every_encoder_of_the_catalogue_is_complete(name):
    facts = load_encoder_facts(name)
    assert facts.title
    assert facts.cite
    assert (facts.tag is None) != (facts.source is None)
    assert facts.has_text == (facts.kind == "open_clip")
    assert set(facts.bands) <= set(ALL)
    for values in (facts.normalisation.mean, facts.normalisation.std, facts.wavelengths or None):
        assert values is None or len(values) == facts.channels


def test_an_unknown_encoder_is_named_with_its_like():
    with pytest.raises(UserError, match="Did you mean 'remoteclip-vit-b-32'"):
        load_encoder_facts("remoteclip-vit-b32")


def test_a_local_checkpoint_takes_the_place_of_the_published_weights():
    assert load_encoder_facts(PICTURES, "/data/mine.pt").checkpoint == "/data/mine.pt"


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (PICTURES, {"kind": "openclip"}, r"kind is 'openclip'; allowed: open_clip.* Did you mean 'open_clip'"),
        (PICTURES, {"colour": 1}, "colour is not a known key"),
        (PICTURES, {"input__size": 0}, "input.size is 0; expected at least 1"),
        (PICTURES, {"quick_gelu": None}, "quick_gelu is missing"),
        (PICTURES, {"has_text": False}, "an open_clip model has a text side"),
        (PICTURES, {"weights__tag": "openai"}, "weights has both of tag and file"),
        (PICTURES, {"weights": {}}, "weights has neither of tag and file"),
        (PICTURES, {"weights__urls": None}, "weights.file has no urls"),
        (PICTURES, {"weights__sha256": "abc"}, r"weights\.sha256 is 'abc'"),
        (PICTURES, {"input__normalisation": {"kind": "scale"}}, "expected picture"),
        (PICTURES, {"input__normalisation__mean": [0.1, 0.1, 0.1]}, "has its own"),
        (PICTURES, {"input__resize_to": 200}, "input.resize_to is 200, less than input.size 224"),
        ("dinov2-vit-b-14", {"has_text": True}, "only encoders of the kind open_clip have a text side"),
        ("dinov2-vit-b-14", {"input__normalisation__std": None}, "lacks mean or std"),
        (BANDS, {"input__normalisation__mean": [1.0]}, "mean has 1 values; expected one for each of 10 bands"),
        (BANDS, {"input__normalisation__std": None}, "only one of mean and std"),
        (BANDS, {"weights": {"tag": "openai"}}, "name the file whose patch embedding"),
        (PICTURES, {"options": {"a": 1}}, "options has no meaning for the kind open_clip"),
        (GROUPS, {"quick_gelu": True}, "quick_gelu has no meaning for the kind satmae"),
        (GROUPS, {"weights__prefix": "a."}, "prefix has no meaning for the kind satmae"),
        ("dofa-vit-b-16", {"input__wavelengths": None}, "input.wavelengths is missing; DOFA"),
        ("dofa-vit-b-16", {"input__wavelengths": [0.6]}, "input.wavelengths has 1 values; expected one"),
        (GROUPS, {"options__groups": [["B02"], ["B11", "B12"]]}, "expected each of input.bands once"),
        (GROUPS, {"input__bands": "rgb"}, "SatMAE's network has groups of bands"),
    ],
)
def test_a_fault_is_named_with_its_file_and_key(name, values, message):
    with pytest.raises(UserError, match=message) as raised:
        facts_of(changed(name, **values))
    assert f"workflow/encoders/{name}.yaml: " in str(raised.value)


def test_a_band_that_no_sensor_has_cannot_be_filled():
    bands = [*encoder_content(BANDS)["input"]["bands"][:-1], "B13"]
    with pytest.raises(UserError, match="'B13', which no described sensor has"):
        facts_of(changed(BANDS, input__bands=bands))


# --- which modality of a store --------------------------------------------------------------------------------------


def modalities(**bands):
    return {name: {"bands": list(names)} for name, names in bands.items()}


def test_an_encoder_of_pictures_sees_the_modality_that_composites_are_made_of():
    facts = load_encoder_facts(PICTURES)
    assert chosen_modality(facts, modalities(rgb=("red", "green", "blue")), "resisc45") == "rgb"
    assert chosen_modality(facts, modalities(s2=ALL, s1=("VV", "VH")), "ben") == "s2"


def test_an_encoder_of_bands_refuses_a_store_of_pictures():
    with pytest.raises(UserError, match=r"sees the bands B02 .*resisc45 has rgb: red green blue.*evaluate\.encoders"):
        chosen_modality(load_encoder_facts(BANDS), modalities(rgb=("red", "green", "blue")), "resisc45")


def test_a_modality_with_all_bands_comes_before_one_with_some():
    assert chosen_modality(load_encoder_facts(BANDS), modalities(few=ALL[:3], s2=ALL), "mine") == "s2"


def test_absent_bands_are_filled_or_an_error_as_the_file_says():
    available = modalities(s1=("VV", "VH"), s2=ALL[:8])
    assert chosen_modality(load_encoder_facts(BANDS), available, "mine") == "s2"
    with pytest.raises(UserError, match=r"sees B8A, B11, B12, which mine lacks.*fill: zero"):
        chosen_modality(facts_of(changed(BANDS, input__fill="error")), available, "mine")


@pytest.mark.slow
@given(st.lists(st.sets(st.sampled_from(ALL)), min_size=1, max_size=4))
def test_the_chosen_modality_has_no_fewer_of_the_bands_than_any_complete_one(found):
    facts = load_encoder_facts(BANDS)
    available = {f"m{number}": {"bands": sorted(bands)} for number, bands in enumerate(found)}
    try:
        chosen = set(available[chosen_modality(facts, available, "mine")]["bands"])
    except UserError:
        assert not any(bands & set(facts.bands) for bands in found)
    else:
        assert chosen & set(facts.bands)
        assert set(facts.bands) <= chosen or not any(set(facts.bands) <= bands for bands in found)


@pytest.mark.parametrize("dataset", dataset_names())
def test_every_data_set_serves_an_encoder_of_pictures(dataset):
    about = load_dataset(dataset)
    available = {modality.name: {"bands": list(modality.bands)} for modality in about.modalities}
    assert chosen_modality(load_encoder_facts(PICTURES), available, dataset) == about.primary.name
    assert sees(load_encoder_facts(PICTURES), about)


def test_encoders_of_bands_see_data_sets_that_have_some_or_all_of_them():
    bands, strict = load_encoder_facts(BANDS), load_encoder_facts("croma-base")
    assert sees(bands, load_dataset("bigearthnet_v2"))
    assert sees(strict, load_dataset("eurosat_ms"))
    assert not sees(bands, load_dataset("resisc45"))
    assert not sees(
        facts_of(changed("croma-base", input__bands=[*strict.bands[:-1], "B10"])), load_dataset("bigearthnet_v2")
    )


def test_the_configs_list_of_encoders_names_them_with_or_without_a_checkpoint():
    entries = [PICTURES, {"name": BANDS, "checkpoint": "/data/mine.pt"}]
    assert other_encoders({"evaluate": {"encoders": entries}}) == {PICTURES: None, BANDS: "/data/mine.pt"}
