"""What a user is told to edit."""

from runs import Run, wait_for

HEAD = "results/small/heads/demo-vit/digits.digits-10.digits.npz"
PROFILE = "profiles/slurm/config.yaml"


def failed(run: Run, *edits: tuple[str, str], target: str = HEAD) -> str:
    profile = run.root / PROFILE
    for old, new in edits:
        text = profile.read_text()
        assert old in text
        profile.write_text(text.replace(old, new))
    process = run.start("--profile", "slurm", "--retries", "0", "--forcerun", "zero_shot_head", "--", target)
    assert process.wait(120) != 0, run.log()
    return run.log()


def test_a_wrong_partition(heads_done: Run):
    log = failed(heads_done, ("cpu_partition: cpu ", "cpu_partition: cpus "))
    assert f"the cluster has no such partition: set cpu_partition and gpu_partition in {PROFILE}" in log


def test_a_wrong_account(heads_done: Run):
    log = failed(heads_done, ("account: null ", "account: other "))
    assert f"you may not use this account: set account in {PROFILE}" in log


def test_a_gpu_that_is_not_there(heads_done: Run):
    target = "results/small/finetune/demo-vit.scene_crop/model.safetensors"
    log = failed(heads_done, ("gpu_model: null ", "gpu_model: h100 "), target=target)
    assert "gpu_model" in log.split("SLURM: ")[-1]


def test_a_node_without_the_environment(heads_done: Run):
    """Its jobs start another Python, which has nothing installed."""
    module = heads_done.root / "snakemake.py"  # found before the real one by `python -m snakemake` in this folder
    process = heads_done.start("--profile", "slurm", "--retries", "0", "--forcerun", "zero_shot_head", "--", HEAD)
    wait_for(lambda: "Building DAG" in heads_done.log() or process.poll() is not None)
    module.write_text("raise ModuleNotFoundError(\"No module named 'snakemake'\")\n")
    assert process.wait(120) != 0, heads_done.log()
    assert "the compute node lacks the environment" in heads_done.log()
