"""Checkpoints of others: taken whatever wraps them, or refused in a sentence that says what they are."""

import os
import pickle
import zipfile
from contextlib import suppress

import open_clip
import pytest
import torch
from foreign_checkpoints import BAD, GOOD, ROUNDED, Harm, sharded, shifted, torch_saved, transformers_names, under
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import MODEL_CFG, same_weights

from bandbridge.base.errors import UserError
from bandbridge.base.file_kinds import weights_format
from bandbridge.models.checkpoint_files import read_checkpoint
from bandbridge.models.clip_checkpoints import load_file
from bandbridge.models.state_dicts import choose, differences


def tiny(seed):
    torch.manual_seed(seed)
    return open_clip.CLIP(**{**MODEL_CFG, "text_cfg": {**MODEL_CFG["text_cfg"], "vocab_size": 40}}).eval()


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*quantized tensor creation", "ignore:TypedStorage is deprecated"),
    pytest.mark.filterwarnings("ignore:Validating sparse tensor", "ignore:Detected pickle protocol"),
]

STATE = tiny(3).state_dict()


def loaded(path):
    """The weights of a tiny CLIP after a file was loaded into it, and what was said."""
    model = tiny(4)
    remark = load_file(model, read_checkpoint(path), "tiny", path)
    return model.state_dict(), remark


def written(directory, content, name="weights.pt"):
    path = directory / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", GOOD)
def test_weights_are_found_in_any_wrapping(tmp_path, kind):
    state, _ = loaded(written(tmp_path, GOOD[kind](STATE), "weights.bin"))
    assert same_weights(state, STATE)


@pytest.mark.parametrize("kind", ROUNDED)
def test_weights_of_half_precision_are_taken_as_they_are(tmp_path, kind):
    state, _ = loaded(written(tmp_path, ROUNDED[kind](STATE)))
    kept = torch.float16 if kind == "float16" else torch.bfloat16
    assert same_weights(state, {name: value.to(kept).float() for name, value in STATE.items()})


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path, kind):
    content, message = BAD[kind]
    path = written(tmp_path, content(STATE))
    with pytest.raises(UserError, match=message) as error:
        loaded(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 900


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["alone", "beside", "nested"])
def test_nothing_in_a_checkpoint_is_run(tmp_path, legacy, place):
    harm = Harm(tmp_path / "harmed")
    content = {"alone": harm, "beside": {"state_dict": STATE, "extra": harm}, "nested": {"a": [{"b": (harm,)}]}}[place]
    path = written(tmp_path, torch_saved(content, legacy))
    with pytest.raises(UserError, match=r"contains .*open, not only tensors and plain values"):
        loaded(path)
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(UserError, match="reading it could run code"):
        loaded(path)
    assert not (tmp_path / "harmed").exists()
    os.close(pickle.loads(pickle.dumps(harm)))  # what a reader that runs code does
    assert (tmp_path / "harmed").exists()


def test_a_format_is_recognised_by_content_whatever_the_name(tmp_path):
    for kind, expected in (("a state dict", "torch"), ("safetensors", "safetensors"), ("npz", "npz")):
        for name in ("a.safetensors", "b.pt", "c"):
            assert weights_format(written(tmp_path, GOOD[kind](STATE), name)) == expected


def test_which_of_two_sets_was_taken_is_said(tmp_path):
    _, remark = loaded(written(tmp_path, GOOD["a running average beside (timm)"](STATE)))
    assert remark == "weights under 'state_dict_ema' used, a running average; not those under 'state_dict'"
    _, remark = loaded(written(tmp_path, GOOD["transformers' CLIP in training"](STATE)))
    assert remark == "converted from transformers' names"
    _, remark = loaded(written(tmp_path, GOOD["a state dict"](STATE)))
    assert remark == ""


def test_an_average_that_lacks_tensors_is_not_taken(tmp_path):
    average = {name: value for name, value in shifted(STATE).items() if name != "visual.proj"}
    state, remark = loaded(written(tmp_path, torch_saved({"state_dict": STATE, "state_dict_ema": average})))
    assert same_weights(state, STATE)
    assert remark == ""


def test_equal_copies_are_one(tmp_path):
    state, _ = loaded(written(tmp_path, torch_saved({"best": STATE, "last": STATE})))
    assert same_weights(state, STATE)


def test_parts_kept_apart_are_joined_and_others_left_out(tmp_path):
    """As CROMA's checkpoints have them."""
    own = {"s2_encoder.proj.weight": torch.ones(2, 3), "s2_head.1.bias": torch.ones(2)}
    content = {
        "s2_encoder": {"proj.weight": own["s2_encoder.proj.weight"]},
        "s2_head": {"1.bias": own["s2_head.1.bias"]},
        "s1_encoder": {"proj.weight": torch.zeros(5)},
    }
    chosen = choose(content, own, tmp_path)
    assert same_weights(chosen.tensors, own)
    assert chosen.unused == ("s1_encoder.proj.weight",)


def test_of_student_and_teacher_of_other_sizes_the_one_that_fits_is_taken(tmp_path):
    larger = {name: torch.zeros(*value.shape, 2) for name, value in SMALL.items()} | {"d.weight": torch.ones(1)}
    chosen = choose({"student": SMALL, "teacher": larger}, SMALL, tmp_path)
    assert same_weights(chosen.tensors, SMALL)


# --- several files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [dict, transformers_names])
def test_a_model_in_several_files_is_read_by_its_index(tmp_path, names):
    state, _ = loaded(sharded(tmp_path / "model", names(STATE)))
    assert same_weights(state, STATE)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"visual.proj": "a-3.safetensors"}, r"lists 3 files, of which a-3\.safetensors not found"),
        ({"visual.proj": "../a-1.safetensors"}, "its files must be in the same folder"),
        ({"visual.proj": "/etc/passwd"}, "its files must be in the same folder"),
        ({"visual.more": "a-1.safetensors"}, r"the files that it lists lack visual\.more"),
    ],
)
def test_an_index_of_files_that_are_missing_or_elsewhere_is_refused(tmp_path, listed, message):
    with pytest.raises(UserError, match=message):
        loaded(sharded(tmp_path / "model", STATE, **listed))


def test_one_of_several_files_names_what_it_lacks(tmp_path):
    sharded(tmp_path / "model", STATE)
    with pytest.raises(UserError, match=r"a-1\.safetensors does not fit tiny: \d+ missing"):
        loaded(tmp_path / "a-1.safetensors")


def test_a_json_file_without_a_list_of_weights_is_refused(tmp_path):
    for text in ("{}", '{"weight_map": 3}', "{"):
        with pytest.raises(UserError, match="lists no weights"):
            loaded(written(tmp_path, text.encode(), "model.safetensors.index.json"))


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["model.safetensors"], r"is a directory.*use .*/model\.safetensors\."),
        (["a.pt", "b.bin"], r"use .*/a\.pt, or another of the 2"),
        (["model.safetensors.index.json", "model-1-of-2.safetensors"], r"use .*/model\.safetensors\.index\.json\."),
        ([".metadata", "__0_0.distcp"], "a checkpoint of torch.distributed; join it first: python -m torch.distr"),
        (["zero_to_fp32.py", "latest"], "a checkpoint of DeepSpeed"),
        (["saved_model.pb"], "a model of TensorFlow"),
        ([], r"expected the path of a \.safetensors"),
    ],
)
def test_a_folder_in_place_of_a_file_is_refused_with_what_is_in_it(tmp_path, files, message):
    for file in files:
        (tmp_path / file).touch()
    with pytest.raises(UserError, match=message):
        read_checkpoint(tmp_path)


def test_a_missing_file_and_one_that_is_no_file_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.pt: no such checkpoint"):
        read_checkpoint(tmp_path / "none.pt")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a regular file"):
        read_checkpoint(tmp_path / "pipe")


def test_a_program_of_torch_export_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/data/constants/a", "")
    with pytest.raises(UserError, match=r"program of torch\.export"):
        read_checkpoint(tmp_path / "model.pt2")


# --- properties -------------------------------------------------------------------------------------------------------

SMALL = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2), "b.c.weight": torch.ones(3, 1)}
WORDS = st.sampled_from(["module", "model", "clip_model", "_orig_mod", "net", "x1", "backbone", "visual"])


@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=3))
def test_any_prefix_and_any_containers_are_taken_off(containers, prefix):
    content = under("".join(f"{word}." for word in prefix), SMALL)
    for key in containers:
        content = {key: content, "epoch": 3}
    chosen = choose(content, SMALL, "weights.pt")
    assert same_weights(chosen.tensors, SMALL)
    assert not differences(chosen.tensors, SMALL)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["a state dict", "torch.save's format before 1.6", "safetensors", "npz"]), st.data())
def test_a_damaged_file_is_read_or_refused_and_never_crashes(tmp_path, kind, data):
    content = bytearray(GOOD[kind](SMALL))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    path = written(tmp_path, bytes(content[: data.draw(st.integers(0, len(content)))]))
    with suppress(UserError):  # any other exception fails
        choose(read_checkpoint(path), SMALL, path)
