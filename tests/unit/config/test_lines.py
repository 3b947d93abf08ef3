"""The PAINT lines of a configuration: one task, several jointly, one after the other, in parallel."""

import pytest

from bandbridge.config.lines import final_lines, lines, model_at

SCENE = {"dataset": "demo_scene", "prompts": "satellite"}
DIGITS = {"dataset": "digits", "prompts": "digits"}
EUROSAT = {"dataset": "eurosat_ms", "prompts": "plain"}


def config(patching, supported=None, several="jointly", names="demo-vit"):
    return {
        "clip": {"name": names, "pretrained": "openai"},
        "tasks": {"patching": patching, "supported": supported},
        "paint": {"several": several},
    }


@pytest.mark.parametrize("several", ["jointly", "sequentially", "in_parallel"])
@pytest.mark.parametrize("patching", [SCENE, [SCENE]])
def test_one_task_is_one_line_however_it_is_written(patching, several):
    (line,) = lines(config(patching, DIGITS, several)).values()
    assert (line.name, line.clip, line.tag) == ("demo-vit", "demo-vit", "demo_scene")
    assert (line.patching, line.kept, line.start, line.parts) == ((SCENE,), (DIGITS,), None, ())


def test_jointly_one_line_is_for_all_tasks():
    (line,) = lines(config([SCENE, EUROSAT], DIGITS)).values()
    assert line.tag == "demo_scene+eurosat_ms"
    assert line.patching == (SCENE, EUROSAT)


def test_sequentially_a_line_starts_where_the_one_before_ended_and_keeps_its_task():
    first, second, third = lines(config([SCENE, EUROSAT, DIGITS], None, "sequentially")).values()
    assert [line.tag for line in (first, second, third)] == ["demo_scene", "eurosat_ms", "digits"]
    assert [line.start for line in (first, second, third)] == [None, first.name, second.name]
    assert third.kept == (SCENE, EUROSAT)
    assert final_lines(config([SCENE, EUROSAT, DIGITS], None, "sequentially")) == {"demo-vit": third.name}
    assert model_at(second, 0.0) == f"{second.name}@0"  # what was chosen before, not the zero-shot model


def test_in_parallel_each_task_has_a_line_and_one_adds_them_up():
    *parts, both = lines(config([SCENE, EUROSAT], DIGITS, "in_parallel")).values()
    assert [part.patching for part in parts] == [(SCENE,), (EUROSAT,)]
    assert both.parts == tuple(part.name for part in parts)
    assert both.name == final_lines(config([SCENE, EUROSAT], DIGITS, "in_parallel"))["demo-vit"] == "demo-vit"
    assert {model_at(line, 0.0) for line in (*parts, both)} == {"demo-vit@0"}
    assert len({model_at(line, 0.5) for line in (*parts, both)}) == 3


def test_every_clip_has_its_own_lines():
    named_lines = lines(config([SCENE, EUROSAT], DIGITS, "in_parallel", ["ViT-B-32", "ViT-L-14"]))
    assert len(named_lines) == 6
    assert {line.clip for line in named_lines.values()} == {"ViT-B-32", "ViT-L-14"}
