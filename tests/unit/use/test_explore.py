"""`bandbridge explore`: what it shows is what search and map say, in a real browser, without asking another host."""

import multiprocessing
import os
import re
import shutil
import signal
import socket
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlparse

import numpy as np
import pytest
import rasterio
from axe_playwright_python.sync_playwright import Axe
from band_images import BANDS, random_pixels, write_raster
from playwright.sync_api import expect, sync_playwright

from bandbridge.base.errors import UserError
from bandbridge.use import explore
from bandbridge.use.archive import embed_images
from bandbridge.use.explore import explored, spectra
from bandbridge.use.search import Query, all_cosines, query_vector

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
expect.set_options(timeout=300_000)
HOSTILE = "<img src=x onerror=document.title='taken'>"


# --- its content ------------------------------------------------------------------------------------------------------


def test_a_scene_is_coloured_by_the_cosine_of_the_window_around_each_pixel(model, scene):
    with explored(model, scene, 16, 8) as content:
        overview = content.overview
        assert overview.picture.shape == (40, 56, 4)
        cosines = all_cosines(content.archive, query_vector(model, Query(("a lake",))))
        spread = overview.spread(cosines)
        with rasterio.open(scene) as file:
            pixels = file.read()
    for row, col in ((0, 0), (8, 16), (24, 40)):
        expected = model.encode_images(pixels[:, row : row + 16, col : col + 16]) @ model.encode_text("a lake")
        np.testing.assert_allclose(spread[row + 4 : row + 12, col + 4 : col + 12], expected, atol=1e-5)
        assert cosines[overview.at(col + 8, row + 8)] == pytest.approx(expected, abs=1e-5)
    assert overview.at(-1, 3) is None
    assert overview.at(56, 3) is None
    assert overview.mean == pytest.approx(dict(zip(BANDS, pixels.mean(axis=(1, 2)), strict=True)))


def test_a_large_scene_is_drawn_small_and_tapped_at_its_own_pixels(model, scene, monkeypatch):
    monkeypatch.setattr(explore, "WIDEST", 28)
    with explored(model, scene, 8, 8) as content:
        assert content.overview.picture.shape == (20, 28, 4)
        record = content.archive.records([content.overview.at(50, 33)])[0]
        assert (record["row"], record["col"]) == (32, 48)


def test_windows_without_values_stay_clear(model, tmp_path):
    pixels = random_pixels()
    pixels[:, :, :24] = 0
    with explored(model, write_raster(tmp_path / "x.tif", pixels, BANDS, nodata=0), 16, 16) as content:
        spread = content.overview.spread(np.ones(content.archive.rows, np.float32))
        assert np.isnan(spread[:, :24]).all()
        assert not np.isnan(spread[:, 24:]).any()
        assert content.overview.at(3, 3) is None


def test_spectra_are_the_means_of_the_windows(model, scene):
    with explored(model, scene, 16, 8) as content, rasterio.open(scene) as file:
        pixels = file.read()
        (first, second) = spectra(content, content.archive.records([0, 23]))
    assert first == pytest.approx(dict(zip(BANDS, pixels[:, :16, :16].mean(axis=(1, 2)), strict=True)))
    assert second == pytest.approx(dict(zip(BANDS, pixels[:, 24:, 40:].mean(axis=(1, 2)), strict=True)))


def test_an_archive_of_several_images_has_places_and_no_overview(model, scene, tmp_path):
    other = rasterio.Affine(10, 0, 310_000, 0, -10, 5_800_000)
    second = write_raster(tmp_path / "second.tif", random_pixels(seed=1), BANDS, transform=other)
    embed_images(model, [scene, second], tmp_path / "a.parquet", size=16)
    with explored(model, tmp_path / "a.parquet", None, None) as content:
        assert content.overview is None
        assert content.places.shape == (24, 2)
        second.unlink()
        means = spectra(content, content.archive.records([0, 23]))
        assert [len(mean) for mean in means] == [5, 0]


def test_an_archive_of_one_scene_is_shown_as_the_scene(model, scene, tmp_path):
    embed_images(model, [scene], tmp_path / "a.parquet", size=16, stride=8)
    with explored(model, tmp_path / "a.parquet", None, None) as content:
        assert content.overview.cells.shape == (4, 6)
    scene.unlink()
    with explored(model, tmp_path / "a.parquet", None, None) as content:
        assert content.overview is None


def test_what_cannot_be_explored_is_refused(model, scene, tmp_path):
    embed_images(model, [scene], tmp_path / "a.parquet", size=16)
    empty = write_raster(tmp_path / "empty.tif", np.zeros((5, 40, 40), np.uint16), BANDS, nodata=0)
    for source, window, message in (
        (tmp_path / "none.tif", None, "none.tif not found"),
        (tmp_path / "a.parquet", 8, "leave out --window"),
        (scene, 64, "fewer than --window 64"),
        (empty, 16, "all 9 windows were left out"),
    ):
        with pytest.raises(UserError, match=message), explored(model, source, window, None):
            pass


# --- its page ---------------------------------------------------------------------------------------------------------


def run_command(arguments, output):
    """What a new process does, in a forked one: importing torch takes seconds."""
    import torch

    from bandbridge.use import cli

    torch.set_num_threads(1)  # threads of OpenMP do not survive a fork
    sys.argv = ["bandbridge", "explore", *map(str, arguments), "--no-browser"]
    with output.open("w", buffering=1) as file:
        sys.stdout = sys.stderr = file
        cli.main()


@contextmanager
def served(output, *arguments):
    """The address of the page of a command that runs meanwhile, and ends when it is interrupted."""
    process = multiprocessing.get_context("fork").Process(target=run_command, args=(arguments, output), daemon=True)
    process.start()
    try:
        while not (address := re.search(r"http://\S+\n", output.read_text() if output.exists() else "")):
            assert process.is_alive(), output.read_text()
            time.sleep(0.05)
        yield address[0].strip()
        os.kill(process.pid, signal.SIGINT)
        process.join(300)
        assert process.exitcode == 0
        assert "Traceback" not in output.read_text()
    finally:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def addresses(run_folder, tmp_path_factory):
    """Of a scene's page and of an archive's, both with names that would be elements in a careless page."""
    folder = tmp_path_factory.mktemp("explore")
    scene = write_raster(folder / f"{HOSTILE}.tif", random_pixels(), BANDS)
    second = write_raster(folder / f"2{HOSTILE}.tif", random_pixels(seed=1), BANDS)
    from bandbridge.use.sources import load

    embed_images(load(run_folder, device="cpu"), [scene, second], folder / f"{HOSTILE}.parquet", size=16)
    with (
        served(folder / "scene.log", run_folder, scene, "--window", 16, "--stride", 8) as of_scene,
        served(folder / "archive.log", run_folder, folder / f"{HOSTILE}.parquet") as of_archive,
    ):
        yield {"scene": of_scene, "archive": of_archive}


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", "--disable-quic"])


@pytest.mark.slow
@pytest.mark.browser
@in_a_browser
@pytest.mark.parametrize(("kind", "width"), [("scene", 1440), ("scene", 390), ("archive", 390)])
def test_words_show_the_best_places_to_everyone_and_nothing_else_is_asked_for(addresses, chromium, kind, width):
    page = chromium.new_page(viewport={"width": width, "height": 900}, is_mobile=width < 600)
    page.set_default_timeout(300_000)
    dialogs, hosts = [], set()
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for event in ("request", "websocket"):
        page.on(event, lambda request: hosts.add(urlparse(request.url.removeprefix("blob:")).netloc))
    page.goto(addresses[kind])
    expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    words = page.get_by_label("Find", exact=True).first
    words.fill(HOSTILE)
    words.press("Enter")
    status = page.get_by_role("status")
    expect(status).to_contain_text(f'"{HOSTILE}": cosines from')
    expect(page.get_by_alt_text(re.compile("^Place "))).to_have_count(12)
    assert page.get_by_alt_text("Place 1", exact=True).evaluate("image => image.naturalWidth") == 160

    unlike = page.get_by_label("But not like")
    unlike.fill(HOSTILE)
    unlike.press("Enter")
    expect(status).to_contain_text("cancels out")
    unlike.fill("a town")
    unlike.press("Enter")
    expect(status).to_contain_text('not "a town": cosines from')

    if kind == "scene":
        box = page.locator(".bk-Figure").first.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        expect(status).to_contain_text("its spectrum is drawn in orange")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert hosts == {urlparse(addresses[kind]).netloc}
    assert (dialogs, page.locator("img[src='x']").count()) == ([], 0)
    assert page.title() != "taken"
    # The policy of the page itself holds the browser to this machine; none of its own parts breaks it.
    assert [message.text for message in page.console_messages() if message.type == "error"] == []
    assert page.page_errors() == []
    page.get_by_role("combobox", name="Best places").select_option("6")
    expect(page.get_by_alt_text(re.compile("^Place "))).to_have_count(6)
    if kind == "scene":
        page.mouse.move(0, 0)
        plot = page.locator(".bk-Figure").first
        coloured = plot.screenshot()
        page.get_by_role("combobox", name="Strength of the colours").select_option("0.0")
        deadline = time.monotonic() + 300
        while plot.screenshot() == coloured:
            assert time.monotonic() < deadline
    page.mouse.move(0, 0)  # what a plot shows under the pointer belongs to no region of the page
    # Of its rules the one on targets, WCAG 2.2's 2.5.8, has to be asked for.
    options = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
    violations = Axe().run(page, options=options).response["violations"]
    assert {found["id"]: [node["html"] for node in found["nodes"]] for found in violations} == {}
    assert page.evaluate("fetch('http://127.0.0.2:1/').then(() => 'asked', (error) => error.message)") != "asked"
    refused = [message.text for message in page.console_messages() if "Content Security Policy" in message.text]
    assert refused
    page.close()


@pytest.mark.slow
@pytest.mark.browser
@in_a_browser
def test_the_page_needs_its_secret(addresses):
    import requests

    address = addresses["scene"]
    root, secret = address.rsplit("/", 1)
    assert len(secret) >= 16
    assert requests.get(address).status_code == 200
    for path in ("/", "/explore", "/ws", f"/{secret[:-1]}"):
        response = requests.get(f"{root}{path}")
        assert response.status_code == 404
        assert secret not in response.text
    other = requests.get(
        f"{address}/ws", headers={"Origin": "http://elsewhere", "Connection": "Upgrade", "Upgrade": "websocket"}
    )
    assert other.status_code >= 400


def test_a_port_that_is_taken_is_refused(model, scene):
    from bandbridge.use.explore_page import serve

    with explored(model, scene, 16, 16) as content, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--port is {port}, which cannot be used"):
            serve(content, port, opens_browser=False)


def test_without_panel_it_says_what_to_install(run_folder, scene, monkeypatch):
    import importlib.util

    from bandbridge.use import cli

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'bandbridge\[explore\]'"):
        cli.explore(str(run_folder), scene)
