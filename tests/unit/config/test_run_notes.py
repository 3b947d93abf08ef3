"""What a run leaves out or takes twice."""

from configs import DEMO, changed

from bandbridge.config.run_notes import run_notes


def test_a_student_of_bands_is_not_scored_on_pictures():
    assert run_notes(DEMO) == ["ms-vit is not scored on digits, which has only RGB images."]


def test_an_encoder_that_sees_no_bands_of_a_data_set_and_has_no_text_is_named_with_the_reason():
    config = changed("align/students", {})
    config["evaluate"]["encoders"] = [{"name": "satmae-vit-l-8", "checkpoint": "x.pth"}]
    unseen, without_text = run_notes(config)
    assert unseen.startswith("satmae-vit-l-8 is not scored on digits: satmae-vit-l-8 sees the bands B02")
    assert without_text.startswith("satmae-vit-l-8 has no text encoder: it is scored only by probes and neighbours")


def test_an_encoder_that_sees_everything_is_not_mentioned():
    config = changed("align/students", {})
    config["evaluate"]["encoders"] = ["remoteclip-vit-b-32"]
    assert run_notes(config) == []


def test_prompt_sets_of_the_same_sentences_are_named():
    config = changed("align/students", {})
    config["prompts"] = {"mine": ["a photo of a {}."], "copy": ["a photo of a {}."], "other": ["{}"]}
    config["evaluate"]["datasets"]["digits"] = ["mine", "copy", "other"]
    assert run_notes(config) == [
        "The prompt sets mine and copy are the same sentences in digits-10, and so are their scores on digits."
    ]
