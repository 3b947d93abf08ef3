"""A run with several seeds: what is made for each, and what once."""

from pathlib import Path

import pytest
from configs import DEMO, config_with
from demo_runs import IN_PARALLEL, OTHERS, TWO_CLIPS

from bandbridge.base.errors import UserError
from bandbridge.config.checks import validate
from bandbridge.config.compared import compared_runs, seed_files
from bandbridge.config.seeds import Seeds, seed_faults, seeds_of
from bandbridge.config.sweeps import sweeps

SEEDS = {"seeds": [3, 1]}


def seeds_with(*changes):
    return Seeds(config_with(*changes))


def test_one_seed_has_the_paths_of_a_run():
    seeds = seeds_with({"seed": 7})
    assert not seeds.several
    assert seeds_of(DEMO) == [0]
    assert list(seeds.each) == ["7"]
    paths = seeds.each["7"].run.paths
    assert (paths.metrics, paths.run_logs) == ("results/demo/metrics.csv", "logs/demo")
    assert paths.shared is paths
    assert not seeds.any.run.shares_zero_shot


def test_every_seed_has_its_folder_and_the_rules_a_wildcard():
    seeds = seeds_with(SEEDS)
    assert seeds.several
    assert [one.run.paths.metrics for one in seeds.each.values()] == [
        "results/demo/seed-3/metrics.csv",
        "results/demo/seed-1/metrics.csv",
    ]
    assert seeds.any.run.paths.metrics == "results/demo/seed-{seed}/metrics.csv"
    assert seeds.each["1"].run.paths.run_logs == "logs/demo/seed-1"
    assert seeds.any.run.paths.shared.run_logs == "logs/demo"
    assert seeds.each["1"].run.config["seed"] == 1


def test_a_clip_that_is_trained_is_of_the_seed_and_so_are_its_heads():
    run = seeds_with(SEEDS).each["1"].run
    assert run.clip_paths.clip("demo-clip").startswith("results/demo/seed-1/clip/")
    assert run.embeddings("demo-clip@0", "digits", "val").startswith("results/demo/seed-1/")
    assert not run.shares_zero_shot


def test_a_clip_that_is_loaded_is_shared_with_its_heads_and_embeddings():
    run = seeds_with(SEEDS, TWO_CLIPS, OTHERS).each["1"].run
    assert run.clip_paths.clip("ViT-B-32").startswith("results/demo/clip/")
    assert run.align_head("ms-vit-ViT-B-32").startswith("results/demo/heads/")
    shared = ("ViT-B-32@0", "remoteclip-vit-b-32")
    assert all(run.embeddings(name, "digits", "val").startswith("results/demo/embeddings/") for name in shared)
    own = ("ViT-B-32@0.5", "ms-vit-ViT-B-32")
    assert all(run.embeddings(name, "digits", "val").startswith("results/demo/seed-1/") for name in own)


@pytest.mark.parametrize("changes", [(), (TWO_CLIPS,), (TWO_CLIPS, IN_PARALLEL)], ids=str)
def test_no_two_jobs_encode_the_same(changes):
    seeds = seeds_with(SEEDS, *changes)
    encoded = [
        one.run.embeddings(model, dataset, "val")
        for number, one in enumerate(seeds.each.values())
        for _, dataset, _, models in sweeps(one.run, number == 0)
        for model in models
    ]
    assert len(set(encoded)) == len(encoded)
    needed = {
        one.run.embeddings(model, dataset, "val")
        for one in seeds.each.values()
        for line in one.run.lines
        for dataset in one.run.datasets_of(line)
        for model in one.run.models_of(line)
    }
    assert needed == set(encoded)


def test_a_method_is_called_on_the_run_of_the_job_s_seed():
    seeds = seeds_with(SEEDS)
    for function, owner in (
        (seeds.any.run.finetuned, "run"),
        (seeds.any.scores.samples, "scores"),
        (seeds.any.applied.maps, "applied"),
    ):
        assert seeds.bound_to(function, "1").__self__ is getattr(seeds.each["1"], owner)
        assert seeds.bound_to(function, None) is function
    assert seeds.bound_to(len, "1") is len
    assert seeds.bound_to(seeds.any.run.finetuned, "3")("demo-clip").startswith("results/demo/seed-3/finetune/")


@pytest.mark.parametrize(
    ("listed", "fault"), [([1, 2, 1], "seeds lists 1 more than once"), ([4], "set seed: 4"), ([], None), ([0, 1], None)]
)
def test_a_seed_is_listed_once_and_not_alone(listed, fault):
    faults = list(seed_faults({"seeds": listed}))
    assert (fault in faults[0]) if fault else not faults


def test_seeds_of_the_command_line_arrive_as_text():
    assert validate({**DEMO, "seeds": ["0", "12"]})["seeds"] == [0, 12]


@pytest.mark.parametrize("listed", [[0, -1], ["one", 2], 3, ["01", 2]])
def test_what_is_no_list_of_seeds_is_refused(listed):
    with pytest.raises(UserError, match="seeds"):
        validate({**DEMO, "seeds": listed})


def test_a_run_with_several_seeds_is_compared_as_a_run_for_each(tmp_path: Path):
    for seed in ("seed-10", "seed-2", "seeds"):
        (tmp_path / "many" / seed).mkdir(parents=True)
    for name in ("one", "both"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").touch()
    (tmp_path / "both/seed-0").mkdir()
    config = {"compare": ["many", "one", "both"], "results_root": str(tmp_path)}
    assert [Path(run).relative_to(tmp_path).as_posix() for run in compared_runs(config)] == [
        "many/seed-2",
        "many/seed-10",
        "one",
        "both",
    ]


def test_mean_and_deviation_lie_in_the_runs_own_folder():
    files = seed_files({**DEMO, **SEEDS})
    assert files["page"] == "results/demo/seeds/index.html"
    assert {"results/demo/seeds/seeds.csv", "results/demo/seeds/seeds.tex"} < set(files.values())
