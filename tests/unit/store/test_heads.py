"""Zero-shot heads."""

from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from tiny import tiny_clip, tiny_head

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import Nomenclature, prompt_set
from bandbridge.models import text_heads
from bandbridge.store.heads import fill_templates, load_head, load_words, must_fit, save_head

TEMPLATES = ["a photo of {}.", "{} from above."]
NOMENCLATURE = Nomenclature("n", "N", ("Inland water", "Forest", "Sand"), ("inland water", "a forest", "sand"))


def test_the_head_is_open_clips_zero_shot_classifier():
    clip = tiny_clip()
    head = text_heads.build_head(clip, NOMENCLATURE, prompt_set(TEMPLATES))
    expected = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, NOMENCLATURE.prompt_names, TEMPLATES)
    np.testing.assert_allclose(head.weights, expected.T.numpy(), atol=1e-6)
    assert head.weights.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(head.weights, axis=1), 1, atol=1e-6)
    assert head.logit_scale == pytest.approx(clip.model.logit_scale.exp().item())
    assert head.classes == NOMENCLATURE.classes
    assert head.prompts[0] == ("a photo of inland water.", "inland water from above.")


def test_words_fill_the_templates_as_class_names_do():
    clip, words = tiny_clip(), {"Forest": ["trees", "woodland"], "Sand": ["a beach"]}
    head = text_heads.build_words_head(clip, words, prompt_set(TEMPLATES))
    listed = ["trees", "woodland", "a beach"]
    expected = open_clip.build_zero_shot_classifier(clip.model, clip.tokenizer, listed, TEMPLATES)
    np.testing.assert_allclose(head.weights, expected.T.numpy(), atol=1e-6)
    assert head.classes == tuple(listed)
    assert head.prompts[2] == ("a photo of a beach.", "a beach from above.")


def test_words_are_read_with_the_classes_that_they_stand_for(tmp_path):
    save_head(tmp_path / "words.npz", tiny_head(3))
    words = load_words(tmp_path / "words.npz", {"x": ["a", "b"], "y": ["c"]})
    assert words.head.classes == ("a", "b", "c")
    assert words.stands_for == ("x", "x", "y")
    with pytest.raises(UserError, match=r"of the words a, b, c; evaluate\.words has a, c"):
        load_words(tmp_path / "words.npz", {"x": ["a"], "y": ["c"]})


def test_classes_may_have_different_numbers_of_sentences(monkeypatch):
    monkeypatch.setattr(text_heads, "SENTENCES_AT_A_TIME", 2)
    clip = tiny_clip()
    head_of_texts = text_heads.text_head(clip, [["a", "b", "c"], ["d"]])
    vectors = clip.model.encode_text(clip.tokenizer(["a", "b", "c", "d"]), normalize=True).detach()
    first = vectors[:3].mean(dim=0)
    np.testing.assert_allclose(head_of_texts, torch.stack([first / first.norm(), vectors[3]]).numpy(), atol=1e-6)


def test_a_head_is_read_as_it_was_written_and_equal_heads_are_equal_bytes(tmp_path):
    head = tiny_head()
    for name in ("one.npz", "two.npz"):
        save_head(tmp_path / name, head)
    loaded = load_head(tmp_path / "one.npz")
    np.testing.assert_array_equal(loaded.weights, head.weights)
    assert (loaded.logit_scale, loaded.classes, loaded.prompts) == (head.logit_scale, head.classes, head.prompts)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_the_bias_of_a_head_is_kept(tmp_path):
    save_head(tmp_path / "head.npz", replace(tiny_head(), logit_bias=-10.5))
    assert load_head(tmp_path / "head.npz").logit_bias == -10.5
    assert tiny_head().logit_bias == 0


def test_every_template_takes_every_name():
    assert fill_templates(["{}", "an {} b"], ["x", "y"]) == [["x", "an x b"], ["y", "an y b"]]


def test_a_head_of_other_classes_is_refused():
    must_fit(tiny_head(2), ("a", "b"), "eurosat")
    with pytest.raises(UserError, match=r"a, b, c.*eurosat.*b, a"):
        must_fit(tiny_head(3), ("b", "a"), "eurosat")
