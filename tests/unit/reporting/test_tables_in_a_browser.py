"""Wide tables in a real browser: at every width all of their columns can be reached, and everyone sees how."""

import shutil

import pytest
from full_rows import frame, full_curve, full_rows
from playwright.sync_api import sync_playwright

from bandbridge.reporting.tables.all import all_tables
from bandbridge.reporting.templates import asset, template

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

WIDTHS = (390, 1200, 1400, 1440)
# Of each container of a table: the room that it has, that which it needs, its bar, and whether the keyboard reaches it.
MEASURE = """
() => [...document.querySelectorAll("table")].map((table) => {
  const box = table.closest(".scroll");
  const seen = box.getBoundingClientRect();
  box.scrollLeft = 1e6;
  const end = table.rows[table.rows.length - 1].lastElementChild.getBoundingClientRect().right;
  return {
    name: table.getAttribute("aria-labelledby"),
    inner: box.clientWidth, needed: box.scrollWidth, bar: box.offsetHeight - box.clientHeight,
    tab: box.tabIndex, cut: seen.right - document.documentElement.clientWidth, beyond: end - seen.right,
  };
})
"""


@pytest.fixture(scope="module")
def page():
    with sync_playwright() as playwright:
        # Playwright hides scroll bars, unlike a browser of a reader.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--disable-gpu", "--disable-quic"],
            ignore_default_args=["--hide-scrollbars"],
        )
        page = browser.new_page()
        page.set_default_timeout(300_000)  # a machine that does other things besides may let a page wait
        yield page


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The report's own tables and style in a page, of a run with everything."""
    metrics = frame(full_rows(), tmp_path_factory.mktemp("metrics"))
    shown = all_tables(metrics, [full_curve()]).values()
    boxed = template("tables.html.j2").module.boxed
    body = "".join(boxed(table) for table in shown)
    path = tmp_path_factory.mktemp("page") / "index.html"
    head = f"<!doctype html><html lang=en><style>{asset('style.css')}</style>"
    path.write_text(f"{head}<body><nav></nav><main>{body}</main></body>", encoding="utf-8")
    return path


@pytest.mark.parametrize("width", WIDTHS)
def test_every_column_is_in_view_or_behind_a_bar_that_is_seen(page, tables, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(tables.as_uri())
    boxes = {box["name"]: box for box in page.evaluate(MEASURE)}
    assert {"text_retrieval-caption", "retrieval-caption", "classification-caption"} <= set(boxes)
    for name, box in boxes.items():
        assert box["cut"] <= 0, f"{name} is wider than the page"
        assert box["beyond"] <= 1, f"the last column of {name} cannot be scrolled into view"
        assert box["tab"] == 0
        assert box["needed"] <= box["inner"] or box["bar"] >= 8, f"{name} has no bar that is seen"
    assert any(box["needed"] > box["inner"] for box in boxes.values())
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_keyboard_scrolls_a_table(page, tables):
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(tables.as_uri())
    box = page.locator(".scroll", has=page.locator("[aria-labelledby=retrieval-caption]"))
    box.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 40")
