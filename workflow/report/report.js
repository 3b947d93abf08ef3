// The page reads without this. With it figures answer to pointer and keys, legends hide and show what they name, tables
// sort and filter, long sections become tabs, and text can be copied.
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

// --- figures ----------------------------------------------------------------------------------------------------------

const tip = make("div", { id: "tip", hidden: "" });
const spoken = make("div", { class: "unseen", role: "status" });
document.querySelector("main").append(tip, spoken);
const SVG = "http://www.w3.org/2000/svg";
const REACH = 28; // pixels from a point within which the pointer means it

function showTip(mark, box) {
  const [first, ...rest] = mark.dataset.tip.split("\n");
  tip.replaceChildren(make("b", {}, first), ...rest.map((line) => make("div", {}, line)));
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  const x = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), document.documentElement.clientWidth - width - 8);
  const above = box.top - height - 12;
  tip.style.left = `${x + window.scrollX}px`;
  tip.style.top = `${(above > 4 ? above : box.bottom + 12) + window.scrollY}px`;
}

// A ring around a point, and around what stands for the same in the figures beside it.
function ring(mark) {
  const svg = mark.ownerSVGElement;
  const box = mark.getBoundingClientRect();
  const here = new DOMPoint(box.left + box.width / 2, box.top + box.height / 2).matrixTransform(svg.getScreenCTM().inverse());
  const circle = document.createElementNS(SVG, "circle");
  circle.setAttribute("class", "halo");
  circle.setAttribute("cx", here.x);
  circle.setAttribute("cy", here.y);
  circle.setAttribute("r", 7);
  svg.append(circle);
}

for (const drawing of all(".drawing")) {
  const svg = drawing.querySelector("svg");
  const linked = drawing.closest(".linked") || drawing;
  let marks = null, active = -1;
  const visible = (mark) => !mark.closest(".off") && !mark.classList.contains("dim");
  const points = () => {
    marks ||= all("[data-tip]", svg);
    return marks.filter(visible);
  };
  if (!svg.querySelector("[data-tip]")) continue;
  svg.setAttribute("aria-hidden", "true");
  drawing.setAttribute("role", "group");
  drawing.setAttribute("aria-roledescription", "figure to walk through");
  drawing.setAttribute("aria-describedby", "walk");
  drawing.tabIndex = 0;

  const clear = () => {
    tip.hidden = true;
    for (const circle of all(".halo", linked)) circle.remove();
    active = -1;
  };
  const show = (mark) => {
    for (const circle of all(".halo", linked)) circle.remove();
    const same = mark.dataset.key && linked !== drawing
      ? all(".drawing [data-tip]", linked).filter((other) => other.dataset.key === mark.dataset.key && visible(other) && !other.closest(".put-away"))
      : [mark];
    for (const one of same) ring(one);
    showTip(mark, mark.getBoundingClientRect());
  };
  const nearest = (event) => {
    let best = null, least = REACH;
    for (const mark of points()) {
      const box = mark.getBoundingClientRect();
      const dx = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
      const dy = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
      const distance = Math.hypot(dx, dy);
      if (distance < least) { least = distance; best = mark; }
    }
    return best;
  };
  let waiting = 0;
  drawing.addEventListener("pointermove", (event) => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      const mark = nearest(event);
      if (mark) { if (points()[active] !== mark) { active = points().indexOf(mark); show(mark); } } else clear();
    });
  });
  drawing.addEventListener("pointerdown", (event) => { const mark = nearest(event); if (mark) { active = points().indexOf(mark); show(mark); } });
  drawing.addEventListener("pointerleave", () => { cancelAnimationFrame(waiting); clear(); });
  drawing.addEventListener("blur", clear);
  drawing.addEventListener("keydown", (event) => {
    const there = points();
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") clear();
    if (step === undefined && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    const from = active < 0 && step < 0 ? 0 : active;
    const next = event.key === "Home" ? 0 : event.key === "End" ? there.length - 1 : (from + step + there.length) % there.length;
    if (!there[next]) return;
    show(there[next]);
    active = next;
    spoken.textContent = there[next].dataset.tip.replaceAll("\n", ", ");
  });
}
// Figures are described by it; by itself it is neither seen nor read out.
document.body.append(make("p", { id: "walk", hidden: "" }, "Arrow keys walk through the points."));

// A legend's entry hides what it names, and shows it again.
for (const figure of all("figure")) {
  const keys = all(".key", figure);
  const named = (key) => all(".series", figure).filter((part) => part.dataset.series === key.dataset.series);
  const ready = keys.filter((key) => named(key).length);
  if (ready.length < 2) continue;
  for (const key of ready) {
    const button = make("button", { type: "button", class: "key", "aria-pressed": "true" }, ...key.childNodes);
    button.dataset.series = key.dataset.series;
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      for (const part of named(button)) part.classList.toggle("off", !on);
    });
    key.replaceWith(button);
  }
}

// The points of one class among those of all.
for (const holder of all(".highlight")) {
  const classes = JSON.parse(holder.dataset.classes);
  if (classes.length < 2) continue;
  const select = make("select", {}, make("option", { value: "" }, "all classes"), ...classes.map((name) => make("option", { value: name }, name)));
  select.addEventListener("change", () => {
    for (const mark of all("[data-key]", holder))
      mark.classList.toggle("dim", select.value !== "" && !mark.dataset.key.split("|").includes(select.value));
  });
  holder.prepend(make("label", { class: "choice" }, "Show ", select));
}

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
