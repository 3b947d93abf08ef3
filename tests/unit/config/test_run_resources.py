"""What a rule asks of a scheduler, by kind of job."""

import pytest
from demo_runs import PUBLISHED, TWO_CLIPS, run_with
from small_store import COUNTS, random_samples, write_store

from bandbridge.catalogue.datasets import load_dataset
from bandbridge.config.job_sizes import WARNING, JobResources, JobSizes


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "small.zarr"
    dataset = load_dataset("eurosat_ms")
    write_store(path, dataset, random_samples(dataset, COUNTS, 64, 0))
    return str(path / "zarr.json")


def asked(resources, wildcards=None, **named_input):
    return {
        key: value(wildcards or {}, named_input, attempt=1) if callable(value) else value
        for key, value in resources.items()
    }


def test_memory_and_minutes_come_from_inputs_and_wildcards(store):
    run = run_with()
    sizes, resources = JobSizes(run), JobResources(run)
    assert asked(resources.of(sizes.scoring), store=store)["mem_mb"] == sizes.scoring(store).mem_mb
    one = asked(resources.of(sizes.sweeping, splits=["val"], models=1), {"line": "demo-clip"}, store=store)
    assert one["runtime"] == sizes.sweeping(store, "demo-clip", ["val"]).minutes
    assert asked(resources.of(sizes.aligning), {"student": "ms-vit"}, store=store)["mem_mb"] > 6_000
    assert asked(resources.of(sizes.finetuning), {"line": "demo-clip"}, stores=[store])["mem_mb"] > 6_000


def test_a_wildcard_has_precedence_over_an_input_of_its_name(store):
    run = run_with()
    sizes = JobSizes(run)
    resources = JobResources(run).of(sizes.encoding_by_student, splits=["val"])
    named_input = {"store": store, "student": run.paths.aligned("ms-vit")}
    assert asked(resources, {"student": "ms-vit"}, **named_input)["mem_mb"] > 0


def test_a_further_attempt_asks_for_more_within_what_the_scheduler_allows(store):
    run = run_with()
    resources = JobResources(run, longest=50).of(JobSizes(run).probing)
    runtimes = [resources["runtime"]({}, {"store": store}, attempt=attempt) for attempt in (1, 2, 3)]
    memories = [resources["mem_mb"]({}, {"store": store}, attempt=attempt) for attempt in (1, 2, 3)]
    assert runtimes == [20, 40, 50]
    assert memories == [memories[0] * attempt for attempt in (1, 2, 3)]


def test_a_store_that_is_missing_is_asked_for_again(tmp_path):
    run = run_with()
    with pytest.raises(FileNotFoundError):
        asked(JobResources(run).of(JobSizes(run).scoring), store=str(tmp_path / "zarr.json"))


def test_a_job_with_a_gpu_goes_where_gpus_are(store):
    run = run_with()
    sizes = JobSizes(run)
    on_slurm = asked(JobResources(run, "gpu", "a100").on_gpu(sizes.encoding_by_another, splits=["val"]), store=store)
    assert (on_slurm["gpu"], on_slurm["gpu_model"], on_slurm["slurm_partition"]) == (1, "a100", "gpu")
    locally = asked(JobResources(run).on_gpu(sizes.encoding_by_another, splits=["val"]), store=store)
    assert (locally["gpu"], locally["gpu_model"], locally["slurm_partition"]) == (1, None, None)


@pytest.mark.parametrize(
    ("nodes", "model", "expected"),
    [
        (1, "a100", {"gpu": 4, "gpu_model": "a100", "gres": None}),
        (1, None, {"gpu": 4, "gpu_model": None, "gres": None}),
        (2, "a100", {"gpu": None, "gpu_model": None, "gres": "gpu:a100:4"}),
        (2, None, {"gpu": None, "gpu_model": None, "gres": "gpu:4"}),
    ],
)
def test_a_training_asks_for_gpus_by_number_or_node_by_node(nodes, model, expected):
    run = run_with({"train": {"gpus": 4, "nodes": nodes}})
    resources = JobResources(run, "gpu", model).training(JobSizes(run).aligning)
    assert {key: resources[key] for key in expected} == expected
    assert (resources["nodes"], resources["slurm_extra"]) == (nodes, WARNING)


def test_more_gpus_take_a_training_less_time(store):
    minutes = [
        JobSizes(run_with(TWO_CLIPS, {"train": {"gpus": gpus, "nodes": 1}, "finetune": {"epochs": 10**6}}))
        .finetuning([store], "ViT-L-14")
        .minutes
        for gpus in (1, 8)
    ]
    assert minutes[1] < minutes[0]


def test_what_is_not_converted_yet_is_measured_by_its_archives(tmp_path):
    (tmp_path / "archives/digits").mkdir(parents=True)
    sizes = JobSizes(run_with({"data_root": str(tmp_path)}, PUBLISHED))
    before = sizes.converting("digits").minutes
    with (tmp_path / "archives/digits/large.zip").open("wb") as file:
        file.truncate(10**11)
    assert sizes.converting("digits").minutes > before
    assert sizes.joining("digits").mem_mb > 2_000
