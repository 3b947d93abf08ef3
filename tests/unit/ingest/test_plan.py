"""Plans: who is in which shard, the same for any number of jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandbridge.base.errors import UserError
from bandbridge.catalogue.datasets import load_dataset
from bandbridge.ingest import plan as plan_module
from bandbridge.ingest.plan import Plan, Refused, load_plan, make_plan, save_plan
from bandbridge.ingest.readers import Planned

SCENE = load_dataset("demo_scene")


def test_samples_are_sorted_by_split_and_id():
    plan = make_plan(SCENE, [Planned("b", "val"), Planned("c", "train"), Planned("a", "train"), Planned("d", "test")])
    assert plan.ids == {"train": ("a", "c"), "val": ("b",), "test": ("d",)}
    assert plan.refused == ()


def test_an_id_in_two_splits_is_refused_in_both_and_so_is_one_that_is_listed_twice():
    listed = [("a", "train"), ("a", "val"), ("b", "test"), ("b", "test"), ("c", "train")]
    plan = make_plan(SCENE, [Planned(*item) for item in listed])
    assert plan.ids == {"train": ("c",), "val": (), "test": ()}
    assert plan.refused == (
        Refused("a", "train", "id occurs 2 times, in train, val"),
        Refused("a", "val", "id occurs 2 times, in train, val"),
        Refused("b", "test", "id occurs 2 times, in test"),
        Refused("b", "test", "id occurs 2 times, in test"),
    )


def test_an_unknown_split_is_refused_by_name():
    plan = make_plan(SCENE, [Planned("a", "holdout"), Planned("b", "train")])
    assert plan.refused == (Refused("a", "holdout", "split is 'holdout', expected one of train, val, test"),)


def test_a_data_set_without_samples_is_an_error():
    with pytest.raises(UserError, match="demo_scene: its lists and archives name no sample"):
        make_plan(SCENE, [])


def test_a_plan_comes_back_from_its_file(tmp_path):
    names = ['comma, quote " and ü', "plain", "x/y"]
    plan = Plan({"train": tuple(names), "val": (), "test": ("t",)}, (Refused("r", "train", 'said "no", twice'),))
    save_plan(tmp_path / "plan.csv", plan)
    assert load_plan(tmp_path / "plan.csv", SCENE) == plan


@given(
    sizes=st.lists(st.integers(0, 23), min_size=3, max_size=3).filter(any),
    jobs=st.integers(1, 9),
    shard=st.integers(1, 8),
)
def test_the_shares_of_any_number_of_jobs_are_the_plan_in_order(sizes, jobs, shard):
    ids = {split: tuple(f"{split}{at:02d}" for at in range(n)) for split, n in zip(SCENE.splits, sizes, strict=True)}
    plan = make_plan(SCENE, [Planned(i, s) for s, names in ids.items() for i in names])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "SHARD", shard)
        shares = [plan.share(job, jobs) for job in range(jobs)]
        together = [part for share in shares for part in share]
        assert together == plan.shards()
    for split, names in ids.items():
        of_split = [part for part in together if part.split == split]
        assert tuple(name for part in of_split for name in part.ids) == names
        assert [part.number for part in of_split] == list(range(len(of_split)))
        assert all(len(part.ids) == shard for part in of_split[:-1])
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
