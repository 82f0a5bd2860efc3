"use strict";
(() => {
  // All text from data becomes text nodes only.
  const data = JSON.parse(document.getElementById("predictions").textContent);
  const get = (id) => document.getElementById(id);
  const STEP = 20;
  let limit = STEP;

  const element = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  };
  const option = (select, value, text) => {
    const made = element("option", text);
    made.value = value;
    select.append(made);
  };

  data.sets.forEach((set, i) => {
    option(get("set"), String(i), set.source === set.dataset ? set.dataset : `${set.dataset}, ${set.source}`);
  });
  const verdicts = data.columns.map((title) => {
    const label = element("label", `${title} is `);
    const select = element("select");
    for (const [value, text] of [["", "any"], ["1", "right"], ["0", "not right"]]) option(select, value, text);
    select.addEventListener("change", () => show(true));
    label.append(select);
    get("verdicts").append(label);
    return select;
  });

  const current = () => data.sets[Number(get("set").value)];

  const fillTemplates = () => {
    const ids = [...new Set(current().answers.map((answer) => answer[1]))];
    ids.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    get("template").replaceChildren();
    option(get("template"), "", "all");
    for (const id of ids) option(get("template"), id, id);
    // Several checkpoints through all templates are too much to begin with.
    get("template").value = ids.find((id) => /^t\d+$/.test(id)) ?? "";
  };

  const show = (anew) => {
    if (anew) limit = STEP;
    const set = current();
    const template = get("template").value;
    const wanted = get("contains").value.toLowerCase();
    const byRow = set.rows.map(() => []);
    for (const answer of set.answers) {
      // Checkpoints asked without templates answer once, whatever template is chosen.
      if (!template || answer[1] === template || !/^t\d+$/.test(answer[1])) byRow[answer[2]].push(answer);
    }
    const rows = set.rows.map((row, i) => [row, byRow[i]]).filter(([row, answers]) => {
      if (!answers.length) return false;
      const text = [row.text, ...row.references, ...answers.map((a) => a[3])].join("\n").toLowerCase();
      if (wanted && !text.includes(wanted)) return false;
      return verdicts.every((select, column) => {
        if (!select.value) return true;
        return answers.some((a) => a[0] === column && String(a[4] ?? 0) === select.value);
      });
    });
    get("found").textContent = `${rows.length} of ${set.rows.length} examples`
      + (data.left_out ? `; the page leaves out ${data.left_out} predictions that lie in the results folder` : "");
    get("examples").replaceChildren(...rows.slice(0, limit).map(([row, answers]) => example(row, answers)));
    get("more").hidden = rows.length <= limit;
  };

  const example = (row, answers) => {
    const box = element("div", undefined, "example");
    box.append(element("p", row.text || `row ${row.row}`, "text"));
    const table = element("table");
    const line = (head, text, name) => {
      const tr = element("tr");
      tr.append(element("th", head), element("td", text, name));
      table.append(tr);
    };
    line("right answer", row.references.join(" | "));
    for (const [column, template, , text, right] of answers) {
      const name = right === 1 ? "right" : right === 0 ? "wrong" : "";
      line(`${data.columns[column]}, ${template}`, text || "(nothing)", name);
    }
    box.append(table);
    return box;
  };

  get("set").addEventListener("change", () => { fillTemplates(); show(true); });
  get("template").addEventListener("change", () => show(true));
  get("contains").addEventListener("input", () => show(true));
  get("more").addEventListener("click", () => { limit += STEP; show(false); });
  if (data.sets.length) { fillTemplates(); show(true); }
})();
