// The page reads without this. With it charts answer, tables sort and filter, long sections become tabs, and text can be
// copied.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const make = (tag, attributes = {}, ...content) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...content);
  return element;
};

// --- light and dark ---------------------------------------------------------------------------------------------------

{
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const button = make("button", { type: "button", class: "theme" });
  const shown = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const name = () => { button.textContent = shown() === "dark" ? "Light page" : "Dark page"; };
  button.addEventListener("click", () => { root.dataset.theme = shown() === "dark" ? "light" : "dark"; name(); });
  system.addEventListener("change", name);
  name();
  document.querySelector(".kicker").append(button);
}

// --- contents ---------------------------------------------------------------------------------------------------------

{
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const inView = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? inView.add(entry.target.id) : inView.delete(entry.target.id);
    const first = [...links.keys()].find((id) => inView.has(id));
    for (const [id, link] of links) id === first ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }, { rootMargin: "-25% 0px -65% 0px" });
  for (const section of all("main > section")) watch.observe(section);
}

// --- tabs -------------------------------------------------------------------------------------------------------------

// Three panels or more (or as many as data-least says) become tabs, of which one is shown; paper has them all.
for (const group of all(".tabs")) {
  const panels = [...group.children];
  if (panels.length < Number(group.dataset.least || 3)) continue;
  const choose = (index, focus = false) => {
    panels.forEach((panel, at) => panel.classList.toggle("put-away", at !== index));
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
    });
    if (focus) tabs[index].focus();
  };
  const list = make("div", { role: "tablist", "aria-label": group.dataset.tabs });
  const tabs = panels.map((panel, index) => {
    panel.id ||= `panel-${Math.random().toString(36).slice(2)}`;
    const tab = make("button", { type: "button", role: "tab", id: `${panel.id}-tab`, "aria-controls": panel.id }, panel.dataset.title);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => choose(index));
    return tab;
  });
  list.addEventListener("keydown", (event) => {
    const now = tabs.indexOf(document.activeElement);
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose((next + tabs.length) % tabs.length, true);
  });
  list.append(...tabs);
  group.classList.add("tabbed");
  group.prepend(list);
  const open = () => {
    const wanted = panels.findIndex((panel) => panel.id === location.hash.slice(1));
    if (wanted >= 0) { choose(wanted); panels[wanted].scrollIntoView(); }
  };
  window.addEventListener("hashchange", open);
  choose(0);
  open();
}

// --- charts -----------------------------------------------------------------------------------------------------------

// A drawing becomes a live chart when it comes into view: Vega-Lite's, with the page's colours.
const theme = JSON.parse(document.getElementById("theme").textContent);
const inks = theme.params.map(({ name }) => name);
const LEAST = 640; // pixels: a phone scrolls a wide chart within itself rather than squeeze it
const views = new Map();
// Vega's tips, which it would put outside of the page's parts; what they say is also in the lists of numbers.
document.querySelector("main").append(make("div", { id: "vg-tooltip-element", class: "vg-tooltip custom-theme", "aria-hidden": "true" }));

// Letters keep their size: what is drawn between the axes takes the width that the column has.
function fit(spec, drawing) {
  const [, , width] = drawing.querySelector("svg").getAttribute("viewBox").split(" ").map(Number);
  const { wide, keepsAspect } = spec.usermeta;
  const room = wide ? Math.max(drawing.clientWidth, LEAST) : drawing.clientWidth;
  const panels = spec.hconcat || spec.vconcat || [spec.spec || spec];
  if (keepsAspect && room >= width) return spec;
  for (const panel of panels) {
    const wider = spec.autosize ? room : panel.width + (room - width) / (spec.hconcat ? panels.length : 1);
    if (keepsAspect) panel.height *= wider / panel.width;
    panel.width = wider;
  }
  return spec;
}

async function enliven(drawing) {
  const figure = drawing.closest("figure");
  const still = drawing.querySelector(".chart-wrapper");
  const spec = fit(JSON.parse(figure.querySelector("script").textContent), drawing);
  const bound = make("div");
  figure.prepend(bound);
  const font = getComputedStyle(document.body).fontFamily;
  const { view } = await vegaEmbed(drawing, spec, {
    bind: bound,
    actions: { export: { png: true, svg: true }, source: false, compiled: false, editor: false },
    config: { ...theme, font },
    downloadFileName: figure.dataset.name,
    logLevel: 1, // errors; what a chart without data says is none
    renderer: "svg",
    scaleFactor: { png: 2, svg: 1 },
    tooltip: { theme: "custom" },
  });
  drawing.dataset.live = "true";
  views.set(drawing, view);
  const live = drawing.querySelector(".chart-wrapper");
  live.setAttribute("role", "img");
  live.removeAttribute("aria-roledescription");
  live.setAttribute("aria-label", still.getAttribute("aria-label"));
  live.querySelector("svg").setAttribute("aria-hidden", "true");
  drawing.querySelector("summary").setAttribute("aria-label", "Save this chart");
  share(view, drawing);
  saveInColour(view);
  // Vega-Embed makes a link's file when a pointer presses it; keys press nothing.
  for (const link of all(".vega-actions a", drawing)) {
    link.removeAttribute("target");
    link.addEventListener("click", async (event) => {
      if (!link.href.endsWith("#")) return;
      event.preventDefault();
      const kind = link.download.split(".").pop();
      make("a", { href: await view.toImageURL(kind, 2), download: link.download }).click();
    });
  }
}

// Charts of the same things mark the one that is pointed at in any of them.
function share(view, drawing) {
  const group = drawing.closest(".linked");
  if (!group) return;
  view.addSignalListener("pointed", () => {
    const marked = view.data("pointed_store");
    for (const other of all(".drawing", group)) {
      if (other !== drawing && views.has(other)) views.get(other).data("pointed_store", marked.map((row) => ({ ...row }))).run();
    }
  });
}

// A saved chart is by itself: the page's variables become the colours that they have now.
function saveInColour(view) {
  const draw = view.toImageURL.bind(view);
  const set = (value) => inks.forEach((name) => view.signal(name, value(name)));
  view.toImageURL = async (...options) => {
    const page = getComputedStyle(document.documentElement);
    set((name) => page.getPropertyValue(`--${name}`).trim());
    const url = await draw(...options);
    set((name) => `var(--${name})`);
    view.run();
    return url;
  };
}

{
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      enliven(target);
    }
  }, { rootMargin: "300px 0px" });
  for (const drawing of all(".drawing")) near.observe(drawing);
}
const spoken = make("div", { class: "unseen", role: "status" });
document.querySelector("main").append(spoken);

// --- tables -----------------------------------------------------------------------------------------------------------

// A click on a column's heading sorts by it: numbers from the largest, text from A; a second click turns it round.
for (const table of all("table.sortable")) {
  const body = table.tBodies[0];
  if (body.rows.length < 3) continue;
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headings.forEach((heading, column) => {
    const label = make("span", {}, ...heading.childNodes);
    const button = make("button", { type: "button" }, label);
    heading.append(button);
    button.addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const value = (row) => {
        const cell = row.cells[column];
        const text = cell.dataset.value ?? cell.textContent.trim();
        return numeric ? (text === "" || text === "–" ? -Infinity : Number(text.replace("−", "-").replace(/,/g, ""))) : text;
      };
      const first = numeric ? "descending" : "ascending";
      const second = numeric ? "ascending" : "descending";
      const order = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const compare = (a, b) => (numeric ? Math.sign(a - b) || 0 : a.localeCompare(b, "en", { numeric: true }));
      body.append(...[...body.rows].sort((a, b) => sign * compare(value(a), value(b))));
    });
  });
}

// Long tables have a field that leaves only the lines with all of its words.
for (const table of all("table.sortable")) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 13) continue;
  const name = table.getAttribute("aria-label") || table.closest("[aria-label]")?.getAttribute("aria-label") || "table";
  const count = make("output", {}, `${rows.length} lines`);
  const field = make("input", { type: "search", placeholder: "Filter lines", "aria-label": `Filter the lines of ${name}` });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const text = [...row.cells].filter((cell) => !cell.classList.contains("number")).map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += row.hidden ? 0 : 1;
    }
    count.textContent = left === rows.length ? `${left} lines` : `${left} of ${rows.length} lines`;
  });
  (table.closest(".scroll") || table).before(make("p", { class: "filter" }, field, " ", count));
}

// --- copies -----------------------------------------------------------------------------------------------------------

for (const block of all("[data-copy]")) {
  const words = `Copy ${block.dataset.copy}`;
  const button = make("button", { type: "button", class: "copy" }, words);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(block.textContent);
    } catch {
      // Some browsers keep the clipboard from pages that were opened as files.
      getSelection().selectAllChildren(block);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    spoken.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 2000);
  });
  block.before(button);
}
document.documentElement.dataset.ready = "true";

// --- what is out of sight ---------------------------------------------------------------------------------------------

{
  const later = window.requestIdleCallback || ((work) => setTimeout(work, 50));
  const sections = all("main > section");
  const settle = () => {
    const next = sections.shift();
    if (next) {
      next.classList.add("settled");
      later(settle, { timeout: 500 });
    } else {
      document.documentElement.classList.remove("settling");
    }
  };
  // A section's place is not known before those above it are laid out.
  if (location.hash) sections.splice(0).forEach((section) => section.classList.add("settled"));
  later(settle, { timeout: 500 });
}
