"""The report, and the page that compares runs, in a real browser: they fit it and answer, and everyone can use them."""

import re
import shutil

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright
from small_store import load_script
from synthetic_run import ALPHAS, make_report, make_run

from bandbridge.reporting.page.write import write_report
from bandbridge.scoring.rows import read_rows

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
# A machine that does other things besides may let a page wait.
PATIENCE = 300_000
expect.set_options(timeout=PATIENCE)

WIDTHS = (390, 1440)
SCHEMES = ("light", "dark")
# Every width and every scheme: what stands where is the same in both schemes, and the inks at all widths.
LOOKS = tuple(zip(WIDTHS, SCHEMES, strict=True))


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        # Playwright adds what keeps a browser from asking for anything but its pages.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", "--disable-quic"])


@pytest.fixture(scope="module")
def opened(chromium):
    """Open a file as a page, in a wide window or a phone's."""
    windows = {phone: chromium.new_page(is_mobile=phone) for phone in (False, True)}

    def opened(path, width=1440, scheme="light", media="screen"):
        page = windows[width < 600]
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, media=media)
        return laid_out(page, path)

    return opened


def laid_out(page, path):
    """A page, opened anew, once all of it has its place."""
    page.set_default_timeout(PATIENCE)
    page.goto(path.as_uri())
    page.locator("html.settling").wait_for(state="detached")
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A run with everything, and its page."""
    return make_report(tmp_path_factory.mktemp("report"), further=True)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The page of two runs beside each other."""
    root = tmp_path_factory.mktemp("comparison")
    runs = [make_run(root / f"alpha-{alpha:g}", selected=alpha, further=True).root for alpha in ALPHAS[1:3]]
    load_script("compare").main(runs, root / "index.html")
    return root / "index.html"


@pytest.fixture
def page(report, opened):
    """The page, opened anew."""
    return opened(report[1])


@pytest.fixture(scope="module")
def still(report, chromium):
    """The page, for tests that only look at it."""
    return laid_out(chromium.new_page(), report[1])


def messages(page):
    """What a browser complains of: messages and exceptions."""
    return [*(message.text for message in page.console_messages()), *page.page_errors()]


def whole_width(page):
    return page.evaluate("document.documentElement.scrollWidth")


# --- it opens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_the_window_and_nothing_fails_or_is_fetched(report, opened, width, scheme):
    page = opened(report[1], width, scheme)
    expect(page.locator("html")).to_have_attribute("data-ready", "true")
    assert whole_width(page) <= width
    assert messages(page) == []
    assert [request.url for request in page.requests() if not request.is_navigation_request()] == []


def test_every_section_has_its_content(still):
    assert [text for text in still.locator("main > section").all_inner_texts() if len(text.strip()) < 60] == []
    links = still.locator("nav a").evaluate_all("(links) => links.map((a) => !!document.querySelector(a.hash))")
    assert len(links) == 11
    assert all(links)


def test_links_to_figures_lead_to_files(report, still):
    links = [link.get_attribute("href") for link in still.locator(".files a").all()]
    assert len(links) >= 40
    assert all((report[1].parent / link).stat().st_size > 0 for link in links)


def test_it_reads_without_scripts(report, chromium):
    page = chromium.new_page(java_script_enabled=False, is_mobile=True, viewport={"width": 390, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(report[1].as_uri())
    expect(page.locator("[hidden], .put-away")).to_have_count(0)
    assert whole_width(page) <= 390


def test_paper_has_everything(report, opened):
    page = opened(report[1], 800, media="print")
    expect(page.locator(".put-away, .drawing svg.marks").filter(visible=False)).to_have_count(0)
    assert whole_width(page) <= 800


# --- its charts -------------------------------------------------------------------------------------------------------


def enlivened(drawing):
    """A drawing, once the live chart has taken its place."""
    drawing.scroll_into_view_if_needed()
    expect(drawing).to_have_attribute("data-live", "true")
    return drawing


def walk(page):
    """Scroll through a page, so that all of its charts are live."""
    drawings = page.locator(".drawing:visible")
    for number in range(drawings.count()):
        enlivened(drawings.nth(number))


# The centre of the mark of this type whose datum has these values.
CENTRE = """(drawing, [type, wanted]) => {
  const mark = [...drawing.querySelectorAll("path")].find(({ __data__: item }) => item?.mark?.marktype === type
    && item.datum && Object.entries(wanted).every(([name, value]) => item.datum[name] === value));
  const box = mark.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}"""


def point_at(page, drawing, **wanted):
    page.mouse.move(*drawing.evaluate(CENTRE, ["symbol", wanted]))


def axis_labels(drawing):
    return drawing.locator(".role-axis-label text").all_text_contents()


def test_a_point_under_the_pointer_tells_its_alpha_and_scores_with_intervals(page):
    first, second = (enlivened(page.locator("#patching .drawing").nth(number)) for number in range(2))
    point_at(page, first, series="test", key="0.4")
    tip = page.locator("#vg-tooltip-element")
    expect(tip).to_contain_text("0.4, selected")
    expect(tip).to_contain_text("mAP 38.0 % (35.0 to 42.0)")
    expect(tip).to_contain_text("accuracy 99.4 %")
    # The same alpha is ringed in both charts.
    ringed = "(drawing) => views.get(drawing).data('pointed_store').map((row) => row.values[0])"
    for drawing in (first, second):
        assert drawing.evaluate(ringed) == ["0.4"]
    page.mouse.move(5, 5)
    expect(tip).not_to_have_class(re.compile("visible"))
    assert second.evaluate(ringed) == []


def test_a_click_in_a_legend_leaves_what_it_names(page):
    drawing = enlivened(page.locator("#patching .drawing").first)
    opacities = """(drawing) => Object.fromEntries([...drawing.querySelectorAll(".mark-symbol path")]
      .map(({ __data__: item }) => item).filter(({ mark, datum, opacity }) => mark.role === "mark" && opacity > 0)
      .map((item) => [item.datum.series, item.opacity]))"""
    assert drawing.evaluate(opacities) == {"validation": 1, "test": 1}
    drawing.locator(".role-legend-label text", has_text="test").click(force=True)
    assert drawing.evaluate(opacities) == {"validation": 0.08, "test": 1}
    drawing.locator(".role-legend-label text", has_text="test").click(force=True)
    assert drawing.evaluate(opacities) == {"validation": 1, "test": 1}


def test_the_wheel_zooms_with_ctrl_and_scrolls_without(page):
    drawing = enlivened(page.locator("#patching .drawing").first)
    point_at(page, drawing, series="test", key="0.7")
    before, scrolled = axis_labels(drawing), page.evaluate("window.scrollY")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    expect(drawing.locator(".role-axis-label text").first).not_to_have_text(before[0])
    assert page.evaluate("window.scrollY") == scrolled
    zoomed = axis_labels(drawing)
    page.mouse.wheel(0, 200)
    page.wait_for_function("(before) => window.scrollY > before", arg=scrolled)
    assert axis_labels(drawing) == zoomed


def test_the_menu_of_a_chart_saves_it_in_the_colours_of_the_page(page):
    drawing = enlivened(page.locator("#patching .drawing").first)
    menu = drawing.locator("summary")
    expect(menu).to_have_accessible_name("Save this chart")
    menu.press("Enter")
    for kind, start in (("PNG", "data:image/png;base64,"), ("SVG", "blob:")):
        link = drawing.get_by_role("link", name=f"Save as {kind}")
        expect(link).to_have_attribute("download", f"paint-demo-vit-demo-scene-front.{kind.lower()}")
        link.dispatch_event("mousedown")
        expect(link).to_have_attribute("href", re.compile(f"^{re.escape(start)}"))
    read = "(link) => fetch(link.href).then((file) => file.text())"
    content = drawing.get_by_role("link", name="Save as SVG").evaluate(read)
    assert "#0b62a8" in content
    assert "var(" not in content
    expect(drawing.locator('path[stroke="var(--blue)"]').first).to_be_attached()


def test_keys_save_a_chart_too(page):
    drawing = enlivened(page.locator("#patching .drawing").first)
    drawing.locator("summary").press("Enter")
    with page.expect_download() as download:
        drawing.get_by_role("link", name="Save as SVG").press("Enter")
    assert download.value.suggested_filename == "paint-demo-vit-demo-scene-front.svg"


def test_a_class_picked_out_dims_the_points_of_others(page):
    drawing = enlivened(page.locator("#space .drawing"))
    page.get_by_label("Show").select_option("farm")
    shown = """(drawing) => [...drawing.querySelectorAll(".mark-symbol path")].map(({ __data__: item }) => item)
      .filter(({ datum, opacity }) => datum.part === "point" && opacity > 0)
      .map(({ datum, opacity }) => [datum.classes.includes("farm"), opacity < 0.1])"""
    page.wait_for_function(f"({shown})(document.querySelector('#space .drawing')).some(([, dim]) => dim)")
    dimmed = drawing.evaluate(shown)
    assert {True, False} == {of_class for of_class, _ in dimmed}
    assert all(of_class != dim for of_class, dim in dimmed)


def test_a_chart_follows_the_page_from_light_to_dark_and_to_paper(page):
    drawing = enlivened(page.locator("#patching .drawing").first)
    label = drawing.locator(".role-axis-label text").first
    expect(label).to_have_css("fill", "rgb(98, 105, 112)")
    page.get_by_role("button", name="Dark page").click()
    expect(label).to_have_css("fill", "rgb(155, 162, 168)")
    page.emulate_media(media="print")
    expect(label).to_have_css("fill", "rgb(68, 68, 68)")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_chart_comes_alive_and_fits(report, opened, width):
    page = opened(report[1], width)
    walk(page)
    assert whole_width(page) <= width
    assert messages(page) == []
    # Letters keep their size: no chart is shrunk or stretched.
    shrunk = """[...document.querySelectorAll(".drawing[data-live] svg.marks")].map((svg) => [
      svg.closest("figure").dataset.name, svg.getBoundingClientRect().width / svg.viewBox.baseVal.width])
      .filter(([, scale]) => Math.abs(scale - 1) > 0.03)"""
    assert page.evaluate(shrunk) == []


# --- it answers -------------------------------------------------------------------------------------------------------


def test_a_click_on_a_heading_sorts_the_lines(page):
    page.locator("#classes summary").first.click()
    table = page.locator("#classes table").first
    heading = table.locator("th.number").nth(1)
    cells = table.locator("tbody tr > :nth-child(3)")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    numbers = [float(text) for text in cells.all_inner_texts() if text != "–"]
    assert numbers == sorted(numbers, reverse=True)
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert [float(text) for text in cells.all_inner_texts() if text != "–"] == sorted(numbers)


def test_the_page_turns_dark_and_light(page):
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark page").click()
    assert page.evaluate(ground) != light
    page.get_by_role("button", name="Light page").click()
    assert page.evaluate(ground) == light


def test_bibtex_is_copied(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#provenance summary").evaluate_all("(all) => all.forEach((summary) => summary.click())")
    copy = page.locator("#provenance .copy").first
    copy.click()
    expect(copy).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("@")


# --- its values -------------------------------------------------------------------------------------------------------


def test_what_the_page_shows_are_the_values_of_the_metrics(report, still):
    run, _ = report
    metrics = read_rows([run.metrics])
    wanted = metrics[(metrics["task"] == "zero-shot") & (metrics["split"] == "test") & (metrics["class"] == "")]
    wanted = wanted[(wanted["dataset"] == "demo_scene") & (wanted["metric"] == "map")]
    cells = still.locator("#classification table").first.evaluate("""(table) => {
      const heads = [...table.tHead.rows].at(-1).cells;
      return [...table.tBodies[0].rows].filter((row) => !row.classList.contains("published")).flatMap((row) =>
        [...row.cells].slice(1).map((cell, index) =>
          [row.cells[0].textContent.trim(), heads[index + 1].textContent.trim(), cell.dataset.value, cell.innerText]));
    }""")
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

# axe cannot tell how the letters of a drawing stand out: those of each ink, on the page.
PALE_LETTERS = """() => {
  const { Color, getContrast } = axe.commons.color;
  const [paper, ...inks] = [
    getComputedStyle(document.documentElement).backgroundColor,
    ...new Set([...document.querySelectorAll(".drawing text")].map((letters) => getComputedStyle(letters).fill)),
  ].map((colour) => new Color().parseString(colour));
  return inks.filter((ink) => getContrast(paper, ink) < 4.5).map((ink) => ink.toHexString());
}"""


def assert_accessible(page):
    """axe has nothing to say against a page, whatever the weight, nor against what is folded away in it."""
    page.locator("details").evaluate_all("(all) => all.forEach((details) => { details.open = true; })")
    # Of its rules the one on targets, WCAG 2.2's 2.5.8, has to be asked for.
    options = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
    violations = Axe().run(page, options=options)
    assert violations.violations_count == 0, violations.generate_report()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_report_is_accessible(report, opened, width, scheme):
    page = opened(report[1], width, scheme)
    walk(page)
    point_at(page, enlivened(page.locator("#patching .drawing").first), series="test", key="0.4")
    expect(page.locator("#vg-tooltip-element")).to_be_visible()
    assert_accessible(page)
    assert page.evaluate(PALE_LETTERS) == []


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_comparison_is_accessible_and_fits_the_window(comparison, opened, width, scheme):
    page = opened(comparison, width, scheme)
    assert whole_width(page) <= width
    assert messages(page) == []
    assert_accessible(page)


def test_parts_of_the_page_have_names(still):
    parts = still.locator(":is(section, article, [role=region], [role=group]):not([aria-label], [aria-labelledby])")
    expect(parts).to_have_count(0)


def test_ids_are_unique_and_references_lead_somewhere(still):
    ids = still.locator("[id]").evaluate_all("(all) => all.map((e) => e.id)")
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby", "aria-describedby", "aria-controls"):
        values = still.locator(f"[{name}]").evaluate_all(f"(all) => all.map((e) => e.getAttribute('{name}'))")
        assert set(values) <= set(ids)


def test_focus_can_be_seen(page):
    page.locator("#patching summary").first.focus()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).not_to_have_css("outline-style", "none")


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


def test_many_panels_become_tabs_that_keys_turn(large, opened):
    page = opened(large, 390)
    assert whole_width(page) <= 390
    tabs = page.locator("#classes").get_by_role("tab")
    shown = page.locator("#classes").get_by_role("tabpanel")
    expect(tabs).to_have_count(6)
    expect(shown).to_have_accessible_name("Demo scene")
    tabs.first.press("ArrowRight")
    expect(shown).to_have_accessible_name("set-0")
    expect(tabs.nth(1)).to_be_focused()
    expect(tabs.nth(1)).to_have_attribute("aria-selected", "true")
    tabs.nth(1).press("End")
    expect(shown).to_have_accessible_name("set-4")


def test_words_leave_the_lines_of_a_long_table_that_have_them(large, opened):
    section = opened(large).locator("#classification")
    section.get_by_role("searchbox").first.fill("student-7")
    expect(section.locator("output").first).to_have_text(re.compile("^1 of "))
    expect(section.locator("table").first.get_by_role("rowheader")).to_have_text(["Aligned (student-7)"])


@pytest.mark.parametrize("width", WIDTHS)
def test_a_run_of_patching_alone_has_a_whole_page(tmp_path, opened, width):
    run = make_run(tmp_path, students=False, supported=False, probe=False)
    write_report(tmp_path / "page.html", run.config, *run.read())
    page = opened(tmp_path / "page.html", width)
    assert messages(page) == []
    assert whole_width(page) <= width
    expect(page.locator("#patching .drawing")).to_have_count(1)
    drawing = enlivened(page.locator("#patching .drawing"))
    point_at(page, drawing, series="test", key="1")
    expect(page.locator("#vg-tooltip-element")).to_contain_text("mAP 43.4 %")
