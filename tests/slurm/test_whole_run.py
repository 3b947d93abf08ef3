"""A whole small run through SLURM: the same numbers, each job where and with what its rule asks for."""

import re
import shlex

from runs import Run, finished, sacct


def test_the_metrics_are_those_of_a_local_run(slurm_run: Run, local_run: Run):
    table = "results/small/metrics.csv"
    assert (slurm_run.root / table).read_bytes() == (local_run.root / table).read_bytes()


def test_every_job_got_what_its_rule_asks_for(slurm_run: Run):
    """Training and encoding a GPU and eight cores, the rest one core; memory and time as sbatch was told."""
    calls = [shlex.split(call) for call in re.findall(r"sbatch call: (sbatch .*?) --wrap", slurm_run.output)]
    submitted = {call[call.index("--comment") + 1]: call for call in calls}
    rows = sacct(*slurm_run.submitted())
    on_gpus = ("scratch_clip", "finetune", "align", "embed_")
    rules = set()
    for row in rows:
        assert row["State"] == "COMPLETED", row
        rule = row["Comment"].removeprefix("rule_").partition("_wildcards_")[0]
        rules.add(rule)
        granted = dict(item.split("=", 1) for item in row["ReqTRES"].split(","))
        needs_gpu = rule.startswith(on_gpus)
        assert (row["Partition"], granted.get("gres/gpu", "0")) == (("gpu", "1") if needs_gpu else ("cpu", "0")), row
        if needs_gpu:
            assert row["AllocCPUS"] == "8", row
        call = submitted[row["Comment"]]
        assert row["TimelimitRaw"] == call[call.index("-t") + 1], row
        assert row["ReqMem"] == f"{call[call.index('--mem') + 1]}M", row
    assert {"convert", "scratch_clip", "zero_shot_head", "finetune", "embed_train", "align", "select_alpha"} <= rules


def test_scores_share_jobs(slurm_run: Run):
    ran = re.findall(r"^Finished jobid: \d+ \(Rule: (\w+)\)", slurm_run.output, re.MULTILINE)
    assert len(slurm_run.submitted()) < len(ran)
    assert "score_zero_shot" in ran


def test_typed_again_it_submits_nothing(slurm_run: Run, tmp_path):
    assert finished(slurm_run.copy(tmp_path / "clone"), "--profile", "slurm").submitted() == []
