"""Two calls never write the same archive or map at once: the second stops and names the first."""

import multiprocessing
import os

import pytest

from bandbridge.base.errors import UserError
from bandbridge.use.archive import embed_images
from bandbridge.use.mapping import map_scene
from bandbridge.use.one_writer import only_writer


def hold(out, is_held, may_end):
    with only_writer(out, "bandbridge embed"):
        is_held.set()
        may_end.wait(300)


@pytest.fixture
def other_process(tmp_path):
    """The process id of one that writes `out`, and what ends it; it is killed if the test leaves it."""
    context = multiprocessing.get_context("fork")
    is_held, may_end = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "out.tif", is_held, may_end), daemon=True)
    process.start()
    assert is_held.wait(300)
    yield process, may_end
    process.kill()
    process.join()


@pytest.mark.parametrize("makes", ["archive", "map"])
def test_the_second_call_names_the_first_and_touches_nothing(model, scene, tmp_path, other_process, makes):
    process, may_end = other_process
    out, unfinished = tmp_path / "out.tif", tmp_path / ".out.tif.partial"
    unfinished.mkdir()
    (unfinished / "state.json").write_text("of the first call")

    def call():
        if makes == "archive":
            return embed_images(model, [scene], out, size=16)
        return map_scene(model, scene, model.labels(), out)

    with pytest.raises(UserError, match=rf"out.tif is being written by another process: .*process {process.pid} of"):
        call()
    assert (unfinished / "state.json").read_text() == "of the first call"
    assert not out.exists()
    may_end.set()
    process.join(300)
    call()
    assert out.is_file()
    assert not [path for path in tmp_path.iterdir() if ".lock" in path.name]


def test_a_killed_writer_blocks_nobody(tmp_path, other_process):
    process, _ = other_process
    process.kill()
    process.join()
    with only_writer(tmp_path / "out.tif", "bandbridge map"):
        pass


def test_an_error_inside_ends_the_lock(tmp_path):
    with pytest.raises(KeyError), only_writer(tmp_path / "out.tif", "bandbridge map"):
        raise KeyError
    with only_writer(tmp_path / "out.tif", "bandbridge map"):
        assert os.listdir(tmp_path)
    assert not os.listdir(tmp_path)
