"""Jobs of a test's run that continue in a warm process end as their own process would."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm_jobs import warm_jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd_open"),
]


def started(folder: Path, script: str) -> subprocess.Popen[str]:
    """A job's process, as Snakemake starts it."""
    file = folder / ".snakemake" / "scripts" / "job.py"
    file.parent.mkdir(parents=True)
    file.write_text(script)
    environment = warm_jobs.added_to({**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "2"})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, str(file)], cwd=folder, env=environment, **pipes)


def test_a_job_has_its_folder_environment_threads_and_streams(tmp_path: Path):
    script = (
        "import os, sys, torch\n"
        "print(os.getcwd(), os.environ['PYTHONPATH'].split(':')[0], sys.argv, torch.get_num_threads(), __name__)\n"
        "print('warned', file=sys.stderr)\n"
    )
    job = started(tmp_path, script)
    output, errors = job.communicate()
    assert output == f"{tmp_path} {tmp_path} ['{tmp_path}/.snakemake/scripts/job.py'] 2 __main__\n"
    assert (errors, job.returncode) == ("warned\n", 0)


@pytest.mark.parametrize(
    ("ending", "status", "error"),
    [
        ("sys.exit(75)", 75, ""),
        ("sys.exit('no such band')", 1, "no such band\n"),
        ("raise ValueError('no such band')", 1, "ValueError: no such band\n"),
        ("os.kill(os.getpid(), 9)", -9, ""),
    ],
)
def test_a_job_ends_with_its_status_and_its_error(tmp_path: Path, ending: str, status: int, error: str):
    job = started(tmp_path, f"import os, sys\n{ending}")
    assert job.communicate()[1].endswith(error)
    assert job.returncode == status


def test_a_signal_reaches_the_job(tmp_path: Path):
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    job = started(tmp_path, script)
    assert job.stdout.readline() == "ready\n"
    job.terminate()
    assert job.wait(timeout=300) == 3


def test_a_killed_job_leaves_nothing_behind(tmp_path: Path):
    job = started(tmp_path, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    fork = int(job.stdout.readline())
    assert fork != job.pid
    job.send_signal(signal.SIGKILL)
    job.wait()
    deadline = time.monotonic() + 300
    while Path(f"/proc/{fork}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{fork}").exists()
