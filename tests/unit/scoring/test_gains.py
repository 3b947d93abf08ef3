"""Gains between encoders, from the draws files that scoring leaves to the rows of the metrics table."""

import numpy as np
import pytest
from small_store import load_script

from bandbridge.base.errors import UserError
from bandbridge.base.files import write_json
from bandbridge.metrics.intervals import Estimate, paired_difference
from bandbridge.scoring.draws import HeadlineDraws, load_draws, save_draws
from bandbridge.scoring.rows import read_rows

BOOTSTRAP = {"resamples": 200, "level": 0.9}
N = {"val": 12, "test": 17}
SCENE = {"dataset": "scene", "nomenclature": "osm-8", "prompts": "plain"}
DIGITS = {"dataset": "digits", "nomenclature": "digits-10", "prompts": "digits", "metric": "accuracy"}


def draws_of(encoder, value=0.5, splits=("val", "test"), **meta):
    clip, _, alpha = encoder.partition("@")
    facts = {"run": "demo", "encoder": encoder, "clip": clip, "alpha": float(alpha) if alpha else None, **SCENE}
    facts |= {"modality": "rgb" if alpha else "s2", "metric": "map", "seed": 3, "resamples": 200}
    facts |= {"store_digest": "abc", "n": {split: N[split] for split in splits}, **meta}
    noise = {split: np.random.default_rng([N[split], len(encoder)]).normal(0, 0.01, 200) for split in splits}
    score = Estimate(value, value, 0.01, units=9, freedom=8)
    return HeadlineDraws(facts, dict.fromkeys(splits, score), {split: value + noise[split] for split in splits})


def gains(tmp_path, draws, references, selected=None, **options):
    paths = []
    for number, part in enumerate(draws):
        paths.append(tmp_path / f"{number}.draws.npz")
        save_draws(paths[-1], part)
    chosen = []
    for line, alpha in (selected or {}).items():
        chosen.append(tmp_path / f"{len(chosen)}.json")
        write_json(chosen[-1], {"line": line, "alpha": alpha, "criterion": "mean", "reason": "best"})
    table = tmp_path / "gains.csv"
    load_script("score_gains").main(
        draws=paths, selected=chosen, references=references, bootstrap=BOOTSTRAP, metrics=table, **options
    )
    return read_rows([table])


def test_a_gain_is_the_paired_difference_on_test_in_the_improved_encoders_name(tmp_path):
    before, after = draws_of("vit@0", 0.3), draws_of("vit@0.5", 0.5)
    frame = gains(tmp_path, [before, after], {"vit@0.5": {"gain": "vit@0"}})
    assert frame["metric"].tolist() == ["map_gain", "map_gain_p"]
    assert set(frame["encoder"]) == {"vit@0.5"}
    assert set(frame["split"]) == {"test"}
    assert set(frame["n"]) == {N["test"]}
    assert (frame[["run", "clip", "alpha", "task", *SCENE]] == ["demo", "vit", 0.5, "zero-shot", *SCENE.values()]).all(
        axis=None
    )
    scores = (after.estimates["test"], before.estimates["test"])
    drawn = (after.resampled["test"], before.resampled["test"])
    expected = paired_difference(*scores, *drawn, BOOTSTRAP["level"])
    assert set(frame["units"]) == {9}
    assert frame.loc[0, ["value", "ci_low", "ci_high"]].tolist() == pytest.approx(
        [expected.value, expected.low, expected.high]
    )
    assert frame.loc[1, "value"] == pytest.approx(expected.p)
    assert np.isnan(frame.loc[1, "ci_low"])


def test_a_student_is_compared_with_the_zero_shot_and_with_the_patched_model(tmp_path):
    draws = [draws_of("vit@0", 0.3), draws_of("vit@0.5", 0.5), draws_of("ms", 0.6, clip="vit")]
    references = {"ms": {"gain": "vit@0", "gain_over_patched": "vit@selected"}, "vit@selected": {"gain": "vit@0"}}
    frame = gains(tmp_path, draws, references, selected={"vit": 0.5, "other": 1})
    gain_of = frame.set_index(["encoder", "metric"])["value"].round(6)
    assert gain_of[[("ms", "map_gain"), ("ms", "map_gain_over_patched"), ("vit@0.5", "map_gain")]].tolist() == [
        0.3,
        0.1,
        0.2,
    ]
    assert set(frame[frame["encoder"] == "ms"]["modality"]) == {"s2"}
    assert len(frame) == 6


def test_where_alpha_0_is_selected_the_patched_model_is_the_zero_shot_one(tmp_path):
    draws = [draws_of("vit@0"), draws_of("ms", 0.6)]
    references = {"ms": {"gain_over_patched": "joint@selected"}}
    frame = gains(tmp_path, draws, references, selected={"joint": 0}, starts={"joint": "vit@0"})
    assert frame["metric"].tolist() == ["map_gain_over_patched", "map_gain_over_patched_p"]


def test_each_task_is_compared_with_itself(tmp_path):
    tasks = [SCENE, SCENE | {"prompts": "satellite"}, SCENE | {"nomenclature": "osm-4"}, DIGITS]
    steps = {"vit@0": 0.1, "vit@1": 0.2}
    draws = [draws_of(name, (at + 1) * step, **task) for name, step in steps.items() for at, task in enumerate(tasks)]
    frame = gains(tmp_path, draws, {"vit@1": {"gain": "vit@0"}})
    gain_of = frame[~frame["metric"].str.endswith("_p")].set_index(["nomenclature", "prompts"])["value"].round(6)
    assert gain_of.to_dict() == {
        ("osm-8", "plain"): 0.1,
        ("osm-8", "satellite"): 0.2,
        ("osm-4", "plain"): 0.3,
        ("digits-10", "digits"): 0.4,
    }
    assert set(frame[frame["dataset"] == "digits"]["metric"]) == {"accuracy_gain", "accuracy_gain_p"}


def test_without_a_test_split_the_gain_is_that_on_val(tmp_path):
    draws = [draws_of("vit@0", splits=["val"]), draws_of("vit@1", splits=["val"])]
    assert set(gains(tmp_path, draws, {"vit@1": {"gain": "vit@0"}})["split"]) == {"val"}


def test_encoders_without_references_have_no_rows(tmp_path):
    assert gains(tmp_path, [draws_of("vit@0"), draws_of("remote")], {}).empty


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n": {"test": 16}, "splits": ["test"]}, "n 17 and 16"),
        ({"seed": 4}, "seed 3 and 4"),
        ({"resamples": 100}, "resamples 200 and 100"),
        ({"store_digest": "xyz"}, "store_digest abc and xyz"),
    ],
)
def test_draws_of_other_halves_are_an_error(tmp_path, change, told):
    draws = [draws_of("vit@1"), draws_of("vit@0", **change)]
    with pytest.raises(
        UserError, match=rf"vit@1 and vit@0 on scene \(test\) are not of the same half-samples: {told}\."
    ):
        gains(tmp_path, draws, {"vit@1": {"gain": "vit@0"}})


def test_an_encoder_without_draws_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"No draws of ms, vit@0: gains need"):
        gains(tmp_path, [draws_of("vit@1")], {"vit@1": {"gain": "vit@0"}, "ms": {"gain": "vit@1"}})


def test_a_reference_that_is_not_scored_on_the_task_is_an_error(tmp_path):
    draws = [draws_of("vit@1"), draws_of("vit@0", **DIGITS)]
    with pytest.raises(UserError, match=r"vit@1 is scored on scene / osm-8 / plain .* and vit@0, .* is not"):
        gains(tmp_path, draws, {"vit@1": {"gain": "vit@0"}})


def test_a_line_without_a_choice_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"joint@selected: no alpha was selected for joint, but for vit\."):
        gains(tmp_path, [draws_of("vit@0")], {"vit@0": {"gain": "joint@selected"}}, selected={"vit": 1})


def test_draws_of_an_earlier_version_are_an_error(tmp_path):
    path = tmp_path / "old.draws.npz"
    save_draws(path, draws_of("vit@0"))
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files if not name.endswith("/centre")}
    np.savez(path, **kept)
    with pytest.raises(UserError, match=r"old\.draws\.npz lacks test/centre: an earlier version .* run again"):
        load_draws(path)


def test_draws_read_back_as_they_were_written(tmp_path):
    path, draws = tmp_path / "a.draws.npz", draws_of("vit@0")
    save_draws(path, draws)
    again = load_draws(path)
    assert (again.meta, again.estimates, again.values) == (draws.meta, draws.estimates, {"val": 0.5, "test": 0.5})
