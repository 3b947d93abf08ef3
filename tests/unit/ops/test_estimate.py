"""What the doctor expects a run to take."""

import pytest
from configs import DEMO, config_with

from bandbridge.config.checks import validate
from bandbridge.config.resources import clip_network
from bandbridge.ops.doctor.estimate import GPUS, estimate, estimated

EUROSAT = {
    "clip": {"name": "ViT-B-32", "pretrained": "openai"},
    "datasets": {"demo_land_cover": None, "digits": None},
    "paint": {"select": {"criterion": "fixed"}},
    "tasks": {"patching": {"dataset": "eurosat_ms", "prompts": "satellite"}, "supported": None},
    "evaluate": {
        "datasets": {"demo_land_cover": None, "digits": None, "eurosat_ms": ["satellite"]},
        "linear_probe": {"datasets": ["eurosat_ms"]},
        "words": None,
    },
}


def eurosat_with(*changes):
    return validate(config_with(EUROSAT, *changes))


def test_fine_tuning_takes_three_passes_of_the_network_over_each_training_image():
    config = eurosat_with({"finetune": {"epochs": 2}})
    operations = 2 * 3 * clip_network("ViT-B-32").operations * 2 * 16_200
    assert estimate(config, "A100").gpu["fine-tuning"] == pytest.approx(operations / (312e12 * 0.1) / 3600)


def test_a_faster_gpu_takes_less_and_conversion_the_same():
    slow, fast = (estimate(eurosat_with(), gpu) for gpu in ("V100", "H100"))
    ratio = GPUS["H100"] / GPUS["V100"]
    for stage, hours in slow.gpu.items():
        assert hours == pytest.approx(ratio * fast.gpu[stage])
    assert slow.core == fast.core


def test_seeds_repeat_the_trainings_and_not_the_conversion():
    one, three = estimate(eurosat_with()), estimate(eurosat_with({"seeds": [0, 1, 2]}))
    assert three.gpu["alignment"] == pytest.approx(3 * one.gpu["alignment"])
    assert three.core["conversion"] == one.core["conversion"]


def test_more_alphas_take_longer_to_encode():
    few, many = (
        estimate(eurosat_with({"paint": {"alphas": alphas, "select": {"alpha": 1}}}))
        for alphas in ([0, 1], [0, 0.5, 1])
    )
    assert many.gpu["encoding"] > few.gpu["encoding"]
    assert many.gpu["fine-tuning"] == few.gpu["fine-tuning"]


def test_a_data_set_of_unknown_size_is_named_and_not_counted():
    text = " ".join(map(str, estimated(DEMO)))
    assert "not counted, because its size is unknown: demo_land_cover" in text


def test_every_figure_is_marked_as_an_estimate_with_its_assumption():
    gpu, core = estimated(eurosat_with(), "A100")
    assert gpu.result.startswith("estimate: ")
    assert "312 TFLOP/s by its data sheet, of which 10%" in gpu.result
    assert core.result.startswith("estimate: ")


def test_an_unknown_gpu_is_told_with_the_known_ones():
    (check,) = estimated(DEMO, "Abacus")
    assert "'Abacus'" in check.result
    assert "A100" in check.remedy
