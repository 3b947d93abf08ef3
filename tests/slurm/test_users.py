"""Two users at once on the data of a third, which they may only read."""

import shutil
from pathlib import Path

from clones import FEW_SCORES
from runs import Run, finished, sacct

METRICS = "results/small/metrics.csv"


def listed(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything but locks, which who may write takes, and who may not does without."""
    paths = [path for path in sorted(folder.rglob("*")) if ".locks" not in path.parts]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def test_their_runs_do_not_disturb_each_other(local_run: Run, tmp_path: Path):
    """Root may write anywhere; that the shared files have not changed stands for what others could not do."""
    shared = tmp_path / "shared"
    shutil.copytree(local_run.root / "data", shared)
    before = listed(shared)
    alone = local_run.copy(tmp_path / "alone", warm=True)
    alone.configure({"evaluate": FEW_SCORES})
    finished(alone, "--cores", "2", "--", METRICS)
    runs, processes = [], []
    for user in ("ann", "bob"):
        run = alone.copy(tmp_path / user).without("metrics")
        shutil.rmtree(run.root / "data")
        (run.root / "data").symlink_to(shared)
        runs.append(run)
        processes.append(run.start("--profile", "slurm", "--", METRICS))
    assert [process.wait(300) for process in processes] == [0, 0], runs[0].log() + runs[1].log()
    assert listed(shared) == before
    expected = (alone.root / METRICS).read_bytes()
    jobs = [run.submitted() for run in runs]
    assert not set(jobs[0]) & set(jobs[1])
    assert {row["State"] for row in sacct(*jobs[0], *jobs[1])} == {"COMPLETED"}
    assert all((run.root / METRICS).read_bytes() == expected for run in runs)
