"""What takes seconds and few bytes is kept from one command to the next, and is what would be computed again."""

import os
import shutil

import numpy as np
import pytest

import bandbridge
from bandbridge.models import text_heads
from bandbridge.use import cache, calibration, text_side
from bandbridge.use.cache import cached
from bandbridge.use.calibration import cached_fit, fit

WORDS = ["a lake", "a town"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counted:
    """A computation that counts its calls and returns their number."""

    calls = 0

    def __call__(self):
        self.calls += 1
        return {"number": np.array(self.calls)}


def test_an_equal_key_computes_once_and_another_key_again():
    compute = Counted()
    numbers = [int(cached("kind", {"a": key}, compute)["number"]) for key in (1, 1, 2, 1)]
    assert numbers == [1, 1, 2, 1]


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_result_is_computed_again_and_replaced(folder, content):
    compute = Counted()
    cached("kind", {"a": 1}, compute)
    (path,) = (folder / "kind").iterdir()
    if content is None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert [int(cached("kind", {"a": 1}, compute)["number"]) for _ in range(2)] == [2, 2]


def test_without_a_writable_cache_everything_is_computed(folder):
    folder.write_text("in the way")
    compute = Counted()
    assert [int(cached("kind", {"a": 1}, compute)["number"]) for _ in range(2)] == [1, 2]


def test_the_oldest_results_are_deleted(folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_RESULTS", 3)
    for number in range(3):
        before = set((folder / "kind").glob("*"))
        cached("kind", {"a": number}, Counted())
        (path,) = set((folder / "kind").iterdir()) - before
        os.utime(path, ns=(number, number))
    cached("kind", {"a": 3}, Counted())
    recomputed = []
    for number in range(3, -1, -1):
        compute = Counted()
        cached("kind", {"a": number}, compute)
        recomputed.append(compute.calls)
    assert recomputed == [0, 0, 0, 1]


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(run_folder, tmp_path):
    return shutil.copytree(run_folder, tmp_path / "run")


@pytest.fixture
def loads(monkeypatch):
    """The folders of the text encoders that are loaded."""
    folders, load = [], text_side.load_clip

    def load_clip(path):
        folders.append(path)
        return load(path)

    monkeypatch.setattr(text_side, "load_clip", load_clip)
    return folders


def vectors(run, words=WORDS, **options):
    return bandbridge.load(run, device="cpu", precision="float32", **options).encode_text(words, "none")


def test_words_that_were_embedded_before_need_no_text_encoder(run, loads):
    first, again = vectors(run), vectors(run)
    assert len(loads) == 1
    np.testing.assert_array_equal(first, again)
    model = bandbridge.load(run, device="cpu", precision="float32")
    np.testing.assert_array_equal(first, text_heads.text_head(model.text, [[word] for word in WORDS]))


def test_other_words_and_another_text_encoder_are_embedded_anew(run, loads):
    first = vectors(run)
    np.testing.assert_array_equal(vectors(run, WORDS[::-1]), first[::-1])
    weights = run / "clip" / "tiny"
    shutil.copytree(weights, run.parent / "other")
    np.testing.assert_array_equal(vectors(run, text=run.parent / "other"), first)  # the same files elsewhere
    assert len(loads) == 2
    (weights / "remark.txt").write_text("another file")
    vectors(run)
    assert len(loads) == 3


def test_words_in_one_process_are_written_once(run, folder):
    model = bandbridge.load(run, device="cpu", precision="float32")
    for word in WORDS:
        model.encode_text(word)
    assert len(list((folder / "words").iterdir())) == 1


# --- calibrations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_calibration_is_fitted_once(kind, monkeypatch):
    rng = np.random.default_rng(0)
    cosines = rng.uniform(-0.5, 0.5, (200, 3)).astype(np.float32)
    labels = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, 200)]
    expected = fit(cosines, labels, kind, "made_up", "val")
    assert cached_fit(cosines, labels, kind, "made_up", "val") == expected
    monkeypatch.setattr(calibration, "fit", None)
    assert cached_fit(cosines, labels, kind, "made_up", "val") == expected
    with pytest.raises(TypeError):
        cached_fit(cosines, 1 - labels, kind, "made_up", "val")


def test_samples_without_labels_calibrate_nothing_once_and_again():
    for _ in range(2):
        assert cached_fit(np.zeros((30, 2), np.float32), np.zeros((30, 2), np.uint8), "single", "x", "val") is None
