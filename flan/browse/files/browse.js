"use strict";
(() => {
  const root = document.documentElement;
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const store = (theme) => { try { localStorage.setItem("theme", theme); } catch { /* private mode */ } };
  if (stored()) root.dataset.theme = stored();
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    store(root.dataset.theme);
  });

  // A dataset's page: which row its templates show.
  const buttons = document.querySelectorAll("[data-show]");
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      for (const part of document.querySelectorAll("[data-row]")) {
        part.hidden = part.dataset.row !== button.dataset.show;
      }
    });
  }

  // The index: search. Text from the index only ever becomes text nodes.
  const search = document.getElementById("search");
  if (!search) return;
  const LIMIT = 60;
  const index = JSON.parse(document.getElementById("index").textContent);
  const hits = document.getElementById("hits");
  const list = document.getElementById("hit-list");
  const summary = document.getElementById("summary");
  const everything = summary.textContent;

  const element = (tag, ...children) => {
    const made = document.createElement(tag);
    made.append(...children);
    return made;
  };

  const marked = (text, words) => {
    const lower = text.toLowerCase();
    const first = Math.max(0, Math.min(...words.map((w) => lower.indexOf(w)).filter((i) => i >= 0)) - 60);
    const start = Number.isFinite(first) ? first : 0;
    const shown = text.slice(start, start + 220);
    const pieces = [start ? "…" : ""];
    let place = 0;
    while (place < shown.length) {
      const rest = shown.slice(place).toLowerCase();
      let next = null;
      for (const word of words) {
        const at = rest.indexOf(word);
        if (at >= 0 && (next === null || at < next.at)) next = { at, length: word.length };
      }
      if (next === null) break;
      pieces.push(shown.slice(place, place + next.at));
      pieces.push(element("mark", shown.slice(place + next.at, place + next.at + next.length)));
      place += next.at + next.length;
    }
    pieces.push(shown.slice(place), start + 220 < text.length ? "…" : "");
    return element("p", ...pieces);
  };

  const hit = (dataset, template, words) => {
    const link = element("a", element("b", template.id), ` ${dataset.title} `, element("code", dataset.name), marked(template.text, words));
    link.href = `${encodeURIComponent(dataset.name)}.html#${encodeURIComponent(template.id)}`;
    return element("li", link);
  };

  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (text) => words.every((word) => text.toLowerCase().includes(word));
    const names = new Set();
    const found = [];
    for (const dataset of index) {
      if (has([dataset.name, dataset.title, dataset.cluster, ...dataset.tfds].join(" "))) names.add(dataset.name);
      if (!words.length) continue;
      for (const template of dataset.templates) {
        if (has([template.text, ...template.options].join(" "))) found.push([dataset, template]);
      }
    }
    for (const card of document.querySelectorAll("[data-name]")) card.hidden = !names.has(card.dataset.name);
    for (const cluster of document.querySelectorAll(".cluster")) {
      cluster.hidden = !cluster.querySelector("[data-name]:not([hidden])");
    }
    list.replaceChildren(...found.slice(0, LIMIT).map(([dataset, template]) => hit(dataset, template, words)));
    hits.hidden = !found.length;
    summary.textContent = words.length
      ? `${names.size} datasets and ${found.length} templates match` + (found.length > LIMIT ? `; the first ${LIMIT} templates are shown` : "")
      : everything;
  };
  search.addEventListener("input", update);
  // A link may carry a search: index.html#q=premise
  const linked = new URLSearchParams(location.hash.slice(1)).get("q");
  if (linked) search.value = linked;
  if (search.value) update();
})();
