"""Scripts take the same arguments from Snakemake and from the command line."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bandbridge.base import script as job

SCRIPT = '''
"""Doubles a number."""
from pathlib import Path
from bandbridge.base import script as job
from bandbridge.base.errors import UserError

def main(number: int, parts: list[Path], recipe: dict, result: Path, threads: int = 1) -> None:
    print("working")
    if number < 0:
        raise UserError("number is -1; give one that is not negative")
    result.write_text(f"{2 * number} {[path.name for path in parts]} {recipe} {threads}")

if __name__ == "__main__":
    job.run(main, globals().get("snakemake"))
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "double.py"
    path.write_text(SCRIPT)
    return path


def call(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(Path(job.__file__).parents[2])}
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env=environment)


def test_arguments_come_from_the_command_line(script: Path, tmp_path: Path):
    result = tmp_path / "result"
    completed = call(script, "--number", "4", "--parts", "a", "b", "--recipe", '{"x": 1}', "--result", str(result))
    assert completed.returncode == 0, completed.stderr
    assert result.read_text() == "8 ['a', 'b'] {'x': 1} 1"


def test_a_user_error_is_one_paragraph_without_a_traceback(script: Path, tmp_path: Path):
    completed = call(script, "--number", "-1", "--parts", "a", "--recipe", "{}", "--result", str(tmp_path / "result"))
    assert completed.returncode == 1
    assert completed.stderr.strip() == "Error: number is -1; give one that is not negative"


@pytest.mark.attack("names")
def test_names_in_an_error_do_not_steer_the_terminal(script: Path, tmp_path: Path):
    script.write_text(SCRIPT.replace("number is -1; give", "\\x1b[2Jnumber is\\n-1;\\tgive"))
    completed = call(script, "--number", "-1", "--parts", "a", "--recipe", "{}", "--result", str(tmp_path / "result"))
    assert completed.stderr.strip() == "Error: ?[2Jnumber is\n-1;     give one that is not negative"


class Named(list):
    """As Snakemake's input, output and params: a list whose items may have names."""

    def __init__(self, **items):
        super().__init__(items.values())
        self._items = items

    def items(self):
        return self._items.items()


def test_arguments_come_from_the_rule_by_name(tmp_path: Path):
    seen = {}

    def main(
        store: Path,
        embeddings: list[Path],
        alpha: float,
        threads: int,
        options: dict,
        head: Path | None,
        words: Path | None = None,
        train: dict | None = None,
    ) -> None:
        seen.update(store=store, embeddings=embeddings, alpha=alpha, threads=threads, options=options)
        seen.update(head=head, words=words, train=train)

    rule = SimpleNamespace(
        input=Named(store="a.zarr", head=["head.npz"], words=[]),
        output=Named(embeddings="one.zarr"),
        params=Named(alpha="0.5", options={"k": 1}, only_a_trigger=3),
        threads=2,
        resources={"gpu": 1, "mem_mb": 100},  # a profile caps these
        config={"train": {"gpus": 4, "nodes": 1}, "seed": 0},
        log=[],
    )
    job.run(main, rule)
    assert seen == {
        "store": Path("a.zarr"),
        "embeddings": [Path("one.zarr")],
        "alpha": 0.5,
        "threads": 2,
        "options": {"k": 1},
        "head": Path("head.npz"),
        "words": None,
        "train": None,  # of the configuration a script sees nothing that its rule does not state
    }


def test_a_rule_that_lacks_an_argument_says_which():
    def main(store: Path) -> None: ...

    rule = SimpleNamespace(input=Named(), output=Named(), params=Named(), threads=1, resources={}, config={}, log=[])
    with pytest.raises(TypeError, match="'store'"):
        job.run(main, rule)


def run_under_snakemake(tmp_path: Path, body: str) -> subprocess.CompletedProcess:
    """A script whose main does `body`, as a job with a log."""
    script = tmp_path / "script.py"
    script.write_text(
        "from types import SimpleNamespace as S\n"
        "from bandbridge.base import script as job\n"
        f"def main():\n    {body}\n"
        f"rule = S(input={{}}, output={{}}, params={{}}, threads=1, config={{}}, log=[{str(tmp_path / 'job.log')!r}])\n"
        "job.run(main, rule)\n"
    )
    package = {"PYTHONPATH": str(Path(job.__file__).parents[2])}
    return subprocess.run([sys.executable, script], env=os.environ | package, capture_output=True, text=True)


def test_an_error_nobody_foresaw_is_named_on_the_terminal_and_its_traceback_is_in_the_log(tmp_path: Path):
    completed = run_under_snakemake(tmp_path, "raise ZeroDivisionError('by nought')")
    assert completed.returncode != 0
    assert "Unexpected ZeroDivisionError: by nought" in completed.stderr
    assert str(tmp_path / "job.log") in completed.stderr
    assert "Traceback" not in completed.stderr
    assert "Traceback" in (tmp_path / "job.log").read_text()


def test_a_full_disk_is_told_as_such(tmp_path: Path):
    completed = run_under_snakemake(tmp_path, "raise OSError(28, 'No space left on device', 'model.safetensors')")
    assert completed.returncode == 1
    assert "the disk or the quota is full (model.safetensors); make room and run again" in completed.stderr


ONE_AT_A_TIME = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from bandbridge.base import runlock, script as job

runlock.SECONDS_BEFORE_WORD = 0

class Named(list):
    items = lambda self: {"result": Path(sys.argv[1], "result")}.items()

def main(result: Path) -> None:
    with result.open("a") as file:
        file.write("begins ")
        file.flush()
        while not Path(sys.argv[1], "may end").exists():
            time.sleep(0.01)
        file.write("ends ")

config = {"run": "demo", "data_root": "data", "store_root": None}
output = Named([f"{sys.argv[1]}/result"])
facts = dict(rule="align", wildcards=["ms-vit"], input=Named(), output=output, params=Named(), threads=1)
job.run(main, SimpleNamespace(**facts, config=config, log=[f"{sys.argv[1]}/job.log"], resources={}))
"""


@pytest.mark.slow
def test_a_job_that_outlives_its_snakemake_is_waited_for_and_never_done_a_third_time(tmp_path: Path):
    """The first is left over from a run that was killed; the second starts before the third, which replaces it."""
    (tmp_path / "script.py").write_text(ONE_AT_A_TIME)
    environment = {"PYTHONPATH": str(Path(job.__file__).parents[2])}

    def start() -> subprocess.Popen:
        (tmp_path / "job.log").unlink(missing_ok=True)  # as Snakemake does before a job
        command = [sys.executable, "script.py", str(tmp_path)]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        while not (tmp_path / "job.log").exists():
            time.sleep(0.01)
        return process

    first = start()
    while not (tmp_path / "result").exists():
        time.sleep(0.01)
    second, third = start(), start()
    for waiting in (second, third):
        assert any("Waiting for" in line for line in waiting.stderr)
    (tmp_path / "may end").touch()
    assert first.wait() == third.wait() == 0
    assert "this process is obsolete" in second.communicate()[1]
    assert (tmp_path / "result").read_text().split() == ["begins", "ends"] * 2
