"""An archive whose making was killed resumes: each image is embedded once, and the file is the same to the byte."""

import os
import signal

import numpy as np
import pytest
from band_images import BANDS, random_pixels, write_raster
from small_store import make_store

from bandbridge.use import unfinished
from bandbridge.use.archive import embed_images, open_archive


@pytest.fixture(autouse=True)
def every_batch_is_kept(monkeypatch):
    monkeypatch.setattr(unfinished, "SECONDS_BETWEEN_PARTS", 0)


@pytest.fixture
def images(tmp_path):
    """Scenes of two sizes, one with a hole, and a file that is none."""
    folder = tmp_path / "images"
    pixels = random_pixels(seed=3)
    pixels[:, :24, 16:40] = 0
    write_raster(folder / "a.tif", random_pixels(), BANDS)
    (folder / "b.tif").write_text("hello")
    write_raster(folder / "c.tif", pixels, BANDS, nodata=0)
    write_raster(folder / "d.tif", random_pixels(height=24, width=24, seed=4), BANDS)
    return folder


def killed_after(model, monkeypatch, batches):
    """Count the embedded images; the process ends before another batch."""
    encode, counts = type(model).encode_pixels, []

    def counted(self, pixels, bands):
        if len(counts) == batches:
            raise KeyboardInterrupt
        counts.append(len(pixels))
        return encode(self, pixels, bands)

    monkeypatch.setattr(type(model), "encode_pixels", counted)
    return counts


def embed_until(batches, monkeypatch, model, *arguments, **options):
    """Embed, and stop after some batches; returns the counts of their images."""
    with monkeypatch.context() as patched:
        counts = killed_after(model, patched, batches)
        with pytest.raises(KeyboardInterrupt):
            embed_images(model, *arguments, **options)
    return counts


@pytest.mark.parametrize("options", [{"size": 16, "stride": 8}, {"size": 8}, {}])
@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_killed_archive_resumes_with_the_same_bytes(model, images, tmp_path, monkeypatch, capsys, options, batches):
    undisturbed = embed_images(model, [images], tmp_path / "undisturbed.parquet", **options)
    batches = batches if options else 1
    first = embed_until(batches, monkeypatch, model, [images], tmp_path / "a.parquet", **options)
    assert not (tmp_path / "a.parquet").exists()
    with monkeypatch.context() as patched:
        second = killed_after(model, patched, -1)
        done = embed_images(model, [images], tmp_path / "a.parquet", **options)
    assert f"resuming after {sum(first)} embeddings" in capsys.readouterr().err
    assert sum(first) + sum(second) == done.rows == undisturbed.rows
    assert (done.refused.windows, done.refused.images) == (undisturbed.refused.windows, undisturbed.refused.images)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()
    assert not list(tmp_path.glob(".*.partial"))


def test_a_store_resumes_in_the_midst_of_a_split(model, tmp_path, monkeypatch):
    store = make_store(tmp_path, "eurosat_ms").path
    embed_images(model, [store], tmp_path / "undisturbed.parquet")
    embed_until(2, monkeypatch, model, [store], tmp_path / "a.parquet")
    embed_images(model, [store], tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "undisturbed.parquet").read_bytes()


@pytest.mark.parametrize("change", ["image", "options", "model", "damage"])
def test_what_changed_since_starts_anew(model, images, tmp_path, monkeypatch, capsys, change):
    embed_until(2, monkeypatch, model, [images], tmp_path / "a.parquet", size=16)
    size = 16
    if change == "image":
        write_raster(images / "a.tif", random_pixels(seed=9), BANDS)
    elif change == "options":
        size = 8
    elif change == "model":
        monkeypatch.setattr(model, "digest", "0" * 64)
    else:
        next((tmp_path / ".a.parquet.partial").glob("*1.parquet")).write_bytes(b"half")
    embed_images(model, [images], tmp_path / "a.parquet", size=size)
    remarks = capsys.readouterr().err
    assert "of other images, model or options: deleted" in remarks
    assert "resuming" not in remarks
    embed_images(model, [images], tmp_path / "again.parquet", size=size)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()


def test_kill_9_leaves_what_can_be_resumed(model, images, tmp_path, monkeypatch):
    process = os.fork()
    if not process:
        killed_after(model, monkeypatch, 3)
        try:
            embed_images(model, [images], tmp_path / "a.parquet", size=8)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL
    with monkeypatch.context() as patched:
        counts = killed_after(model, patched, -1)
        done = embed_images(model, [images], tmp_path / "a.parquet", size=8)
    assert sum(counts) == done.rows - 3 * model.batch_size
    vectors = np.concatenate(list(open_archive(tmp_path / "a.parquet").vectors()))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
