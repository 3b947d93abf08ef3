"""The report in a real browser: nothing fails, nothing is fetched, it fits every window, and what is on it answers."""

import json
from itertools import pairwise

import pandas as pd
import pytest
from browser import CHROMIUM, Browser
from synthetic_run import make_report, make_run

from bandbridge.metrics.rows import read_rows
from bandbridge.report import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")

WIDTHS = (390, 1440)
SCHEMES = ("light", "dark")

# Text that stands out less than WCAG 2.1 asks for in 1.4.3.
CONTRASTS = """
(() => {
  const parse = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    return numbers.length < 4 ? [...numbers, 1] : numbers;
  };
  const luminance = ([r, g, b]) => {
    const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return [255, 255, 255, 1];
  };
  const faults = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest("script, style, option, .unseen, .skip, #tip")) continue;
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const inSvg = element.ownerSVGElement;
    const ink = parse(inSvg ? style.fill : style.color);
    // Numbers on the shades of a confusion stand on what is drawn under them, not on the page.
    if (inSvg && element.closest("figure")?.querySelector("image")) continue;
    const [a, b] = [luminance(ink), luminance(ground(inSvg ? inSvg.parentElement : element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.push([node.textContent.trim().slice(0, 40), element.className, ratio]);
  }
  return faults;
})()
"""

NAMELESS = """
[...document.querySelectorAll(`a, button, input, select, summary, img, nav, section, article, [role=region], [role=tab],
  [role=group]`)].filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby")
    || e.getAttribute("alt") || (e.labels && e.labels.length) || e.textContent.trim()))
  .map((e) => e.outerHTML.slice(0, 120))
"""

# WCAG 2.2, 2.5.8. Headings of tables have the whole cell.
SMALL_TARGETS = """
[...document.querySelectorAll("button, select, input, summary")].filter((e) => e.checkVisibility())
  .map((e) => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width && r.height < 24 && !e.closest("th"))
  .map(([e, r]) => [e.outerHTML.slice(0, 80), r.height])
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A run with everything, and its page."""
    return make_report(tmp_path_factory.mktemp("report"), further=True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(report, browser):
    """The page, opened anew."""
    return opened(browser, report[1])


def opened(browser, path, *options, **named):
    """The browser, once it has laid out all of a page."""
    browser.open(path.as_uri(), *options, **named)
    browser.evaluate("""new Promise((done) => {
      const look = () => document.documentElement.matches(".settling") ? setTimeout(look, 20) : done();
      look();
    })""")
    return browser


def faults_and_requests(browser):
    requests = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    return [e for e in browser.events if e["method"] != "Network.requestWillBeSent"], requests


def tip(browser):
    return browser.evaluate("document.querySelector('#tip').hidden ? '' : document.querySelector('#tip').innerText")


def scroll_to(browser, selector):
    """The box of an element, once the window shows it."""
    return browser.evaluate(f"""(() => {{
      const element = document.querySelector({json.dumps(selector)});
      element.scrollIntoView({{behavior: "instant", block: "center"}});
      const box = element.getBoundingClientRect();
      return [box.left, box.top, box.width, box.height];
    }})()""")


def settle(browser):
    browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


# --- it opens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_the_window_and_nothing_fails_or_is_fetched(report, browser, width, scheme):
    opened(browser, report[1], width, 900, scheme)
    assert browser.evaluate("document.documentElement.dataset.ready") == "true"
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    faults, requests = faults_and_requests(browser)
    assert faults == []
    folder = report[1].parent.as_uri()
    assert requests[0].startswith(folder)
    assert all(url.startswith(("data:", folder)) for url in requests)


def test_every_section_has_its_content(page):
    short = "filter((s) => s.innerText.trim().length < 60).map((s) => s.id)"
    assert page.evaluate(f"[...document.querySelectorAll('main > section')].{short}") == []
    links = page.evaluate("[...document.querySelectorAll('nav a')].map((a) => !!document.querySelector(a.hash))")
    assert len(links) == 11
    assert all(links)


def test_links_to_figures_lead_to_files(report, page):
    links = page.evaluate("[...document.querySelectorAll('.files a')].map((a) => a.getAttribute('href'))")
    assert len(links) >= 30
    assert all((report[1].parent / link).stat().st_size > 0 for link in links)


def test_it_reads_without_scripts(report, browser):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(report[1].as_uri(), 390)
        tree = browser.call("DOM.getDocument", depth=1)["root"]["nodeId"]
        shown = browser.call("DOM.querySelectorAll", nodeId=tree, selector="[hidden], .put-away")["nodeIds"]
        size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert shown == []
    assert size["width"] <= 390


def test_paper_has_everything(report, browser):
    opened(browser, report[1], 800, media="print")
    put_away = "[...document.querySelectorAll('.put-away, .drawing svg')].filter((e) => !e.checkVisibility()).length"
    assert browser.evaluate(put_away) == 0
    assert browser.evaluate("document.documentElement.scrollWidth") <= 800


# --- it answers -------------------------------------------------------------------------------------------------------


def test_a_point_under_the_pointer_tells_its_alpha_and_scores_with_intervals(report, page):
    box = page.evaluate("""(() => {
      const mark = document.querySelector("#patching .series[data-series=test] [data-key='alpha 0.4']");
      mark.scrollIntoView({behavior: "instant", block: "center"});
      const r = mark.getBoundingClientRect();
      return [r.left + r.width / 2, r.top + r.height / 2];
    })()""")
    page.hover(*box)
    settle(page)
    text = tip(page)
    assert text.startswith("α = 0.4, test, selected")
    assert "Demo scene: mAP 38.0 % (35.0 to 42.0)" in text
    assert "Handwritten digits: accuracy 99.4 %" in text
    # The same alpha is ringed in both figures: on both splits' lines, and in both panels of the second.
    assert page.evaluate("document.querySelectorAll('#patching .halo').length") == 6
    page.hover(5, 5)
    settle(page)
    assert tip(page) == ""


def test_arrow_keys_walk_through_the_points_and_say_them(page):
    page.evaluate("document.querySelector('#patching .drawing').focus()")
    page.press("ArrowRight")
    first = tip(page)
    page.press("ArrowRight")
    second = tip(page)
    assert first.startswith("α = 0, ")
    assert second.startswith("α = 0.4, ")
    assert page.evaluate("document.querySelector('[role=status]').textContent").startswith("α = 0.4, ")
    page.press("Escape")
    assert tip(page) == ""


def test_a_legend_hides_and_shows_its_series(page):
    state = """(() => {
      const figure = document.querySelector("#patching figure");
      const button = figure.querySelector("button.key");
      button.click();
      return [button.textContent.trim(), button.getAttribute("aria-pressed"),
        [...figure.querySelectorAll(".series")].filter((s) => getComputedStyle(s).display === "none")
          .map((s) => s.dataset.series)];
    })()"""
    name, pressed, hidden = page.evaluate(state)
    assert (name, pressed) == ("validation", "false")
    assert set(hidden) == {"validation"}
    assert page.evaluate(state) == ["validation", "true", []]


def test_every_entry_of_a_legend_is_a_button_for_what_is_drawn(page):
    dead = """[...document.querySelectorAll("figure")].flatMap((f) => [...f.querySelectorAll("span.key")]
      .filter(() => f.querySelectorAll(".key").length > 1).map((k) => k.textContent.trim()))"""
    assert page.evaluate(dead) == []


def test_a_class_picked_out_dims_the_points_of_others(page):
    dimmed = page.evaluate("""(() => {
      const select = document.querySelector(".highlight select");
      select.value = "farm";
      select.dispatchEvent(new Event("change"));
      return [...document.querySelectorAll(".highlight [data-key]")]
        .map((m) => [m.dataset.key.split("|").includes("farm"), m.classList.contains("dim")]);
    })()""")
    assert {True, False} == {of_class for of_class, _ in dimmed}
    assert all(of_class != dim for of_class, dim in dimmed)


def test_a_click_on_a_heading_sorts_the_lines(page):
    sort = """(() => {
      const table = document.querySelector("#classes table");
      table.tHead.querySelectorAll("th.number button")[1].click();
      return [...table.tBodies[0].rows].map((row) => row.cells[2].textContent.trim());
    })()"""
    falling = page.evaluate(sort)
    rising = page.evaluate(sort)
    numbers = [float(text) for text in falling if text != "–"]
    assert numbers == sorted(numbers, reverse=True)
    assert [float(text) for text in rising if text != "–"] == sorted(numbers)


def test_the_page_turns_dark_and_light(page):
    ground = "getComputedStyle(document.body.parentElement).backgroundColor"
    light = page.evaluate(ground)
    page.evaluate("document.querySelector('.theme').click()")
    dark = page.evaluate(ground)
    page.evaluate("document.querySelector('.theme').click()")
    assert dark != light
    assert page.evaluate(ground) == light


def test_bibtex_is_copied(page):
    page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.evaluate("""(() => { for (const d of document.querySelectorAll("#provenance details")) d.open = true; })()""")
    x, y, width, height = scroll_to(page, "#provenance .copy")
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x + width / 2, y=y + height / 2, button="left", clickCount=1)
    settle(page)
    assert page.evaluate("document.querySelector('#provenance .copy').textContent") == "Copied"


# --- its values -------------------------------------------------------------------------------------------------------


def test_what_the_page_shows_are_the_values_of_the_metrics(report, page):
    run, _ = report
    metrics = read_rows([run.metrics])
    wanted = metrics[(metrics["task"] == "zero-shot") & (metrics["split"] == "test") & (metrics["class"] == "")]
    wanted = wanted[(wanted["dataset"] == "demo_scene") & (wanted["metric"] == "map")]
    cells = page.evaluate("""(() => {
      const table = document.querySelector("#classification table");
      const heads = [...table.tHead.rows].at(-1).cells;
      return [...table.tBodies[0].rows].filter((row) => !row.classList.contains("published")).flatMap((row) =>
        [...row.cells].slice(1).map((cell, index) =>
          [row.cells[0].textContent.trim(), heads[index + 1].textContent.trim(), cell.dataset.value, cell.innerText]));
    })()""")
    shown = {
        (model, "plain" if "plain" in head else "satellite"): (float(value), text)
        for model, head, value, text in cells
        if value and "osm-landuse-8" in head
    }
    names = {"demo-vit@0": "Zero-shot (α = 0)", "demo-vit@0.4": "Patched (α = 0.4)"}
    names |= {"demo-vit@1": "Fine-tuned (α = 1)", "ms-vit": "Aligned (ms-vit)"}
    compared = 0
    for row in wanted[wanted["encoder"].isin(names)].itertuples():
        value, text = shown[names[row.encoder], row.prompts]
        assert value == pytest.approx(100 * row.value)
        assert f"{100 * row.value:.1f}" in text
        assert f"{100 * row.ci_low:.1f} to {100 * row.ci_high:.1f}" in text
        compared += 1
    assert compared == 8


# --- for everyone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_stands_out_from_its_ground(report, browser, scheme):
    opened(browser, report[1], 1440, 900, scheme)
    assert browser.evaluate(CONTRASTS) == []


def test_everything_has_a_name_and_a_place(page):
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("['header', 'nav', 'main', 'h1'].map((t) => document.querySelectorAll(t).length)") == [1] * 4
    assert page.evaluate("document.documentElement.lang") == "en"
    # Headings go down one level at a time.
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4, h5')].map((h) => Number(h.tagName[1]))")
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_ids_are_unique_and_references_lead_somewhere(page):
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    names = ("aria-labelledby", "aria-describedby", "aria-controls")
    for name in names:
        found = page.evaluate(f"[...document.querySelectorAll('[{name}]')].map((e) => e.getAttribute('{name}'))")
        assert set(found) <= set(ids)


def test_what_is_clicked_is_large_enough_for_a_finger(report, browser):
    opened(browser, report[1], 390)
    assert browser.evaluate(SMALL_TARGETS) == []


def test_focus_can_be_seen(page):
    page.evaluate("document.querySelector('#patching .drawing').focus()")
    page.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline not in ("none", "")


# --- a large page -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A page with more data sets and students than stand beside each other."""
    root = tmp_path_factory.mktemp("large")
    run = make_run(root, further=True)
    metrics, curves = run.read()
    sets = [metrics[metrics["dataset"] == "demo_scene"].assign(dataset=f"set-{number}") for number in range(5)]
    student = metrics[metrics["encoder"] == "ms-vit"]
    students = [student.assign(encoder=f"student-{number}") for number in range(12)]
    write_report(root / "page.html", run.config, pd.concat([metrics, *sets, *students], ignore_index=True), curves)
    return root / "page.html"


def test_many_panels_become_tabs_that_keys_turn(large, browser):
    opened(browser, large, 390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    tabs = "document.querySelectorAll('#classes [role=tab]')"
    shown = """[...document.querySelectorAll('#classes .tabs')][0].querySelectorAll(':scope > [role=tabpanel]').values()
      .filter((p) => p.checkVisibility()).map((p) => p.dataset.title).toArray()"""
    assert browser.evaluate(f"{tabs}.length") == 6
    assert browser.evaluate(shown) == ["Demo scene"]
    browser.evaluate(f"{tabs}[0].focus()")
    browser.press("ArrowRight")
    assert browser.evaluate(shown) == ["set-0"]
    assert browser.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    browser.press("End")
    assert browser.evaluate(shown) == ["set-4"]


def test_words_leave_the_lines_of_a_long_table_that_have_them(large, browser):
    opened(browser, large)
    left = """(() => {
      const field = document.querySelector("#classification input[type=search]");
      field.value = "student-7";
      field.dispatchEvent(new Event("input"));
      const table = field.closest(".table").querySelector("table");
      return [[...table.tBodies[0].rows].filter((row) => row.checkVisibility()).map((row) => row.cells[0].textContent),
        field.parentElement.querySelector("output").textContent];
    })()"""
    names, count = browser.evaluate(left)
    assert names == ["Aligned (student-7)"]
    assert count.startswith("1 of ")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_of_patching_alone_has_a_whole_page(tmp_path, browser, width):
    run = make_run(tmp_path, students=False, supported=False, probe=False)
    write_report(tmp_path / "page.html", run.config, *run.read())
    opened(browser, tmp_path / "page.html", width)
    assert faults_and_requests(browser)[0] == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.querySelectorAll('#patching .drawing').length") == 1
    browser.evaluate("document.querySelector('#patching .drawing').focus()")
    browser.press("End")
    assert tip(browser).startswith("α = 1, test")
