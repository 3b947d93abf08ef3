"""What users are told to edit after an error of SLURM."""

from pathlib import Path

from bandbridge.ops import slurm


def test_cures_come_from_snakemakes_log_and_from_those_of_the_jobs(tmp_path: Path):
    job = tmp_path / "slurm_logs" / "rule_plan" / "7.log"
    job.parent.mkdir(parents=True)
    job.write_text("/usr/bin/python: No module named snakemake\n")
    log = tmp_path / "snakemake.log"
    log.write_text(f"sbatch: error: invalid partition specified: cpus\nlog: a.log, {job} (check log file(s))\n")
    partition, environment = slurm.cures_of([str(log)])
    assert "cpu_partition" in partition
    assert "--sdm conda" in environment
    assert slurm.cures_of(str(tmp_path / "absent.log")) == []
