// The rows that a stream came from: its own row, its copy state and its log, as the tablet answered them.

import { el } from "../dom.js";

/** The tables of a stream: `{title, statement, columns, rows}` each, from the calls of its tablet in the trace. */
export function rowsOf(trace, band, tableOf) {
  const found = [];
  for (const ask of trace.asks) {
    if (ask.what.kind !== "tablet_call" || ask.what.tablet.alias !== band.tablet || !ask.answer) continue;
    const table = tableOf(ask.what, ask.answer);
    if (!table) continue;
    const key = table.columns.includes("vrepl_id") ? "vrepl_id" : "id";
    const at = table.columns.indexOf(key);
    if (at < 0) continue;
    const rows = table.rows.filter((row) => band.id === 0 || row[at] === String(band.id));
    if (rows.length) found.push({ title: ask.what.about.subject, statement: ask.what.about.statement, columns: table.columns, rows });
  }
  return found;
}

/** One row as a list of names and values (a stream's row has thirty columns: a wide table would have to be scrolled). */
export function record({ title, statement, columns, rows }) {
  const body =
    rows.length === 1
      ? el("dl", { class: "record" }, ...columns.flatMap((name, at) => [el("dt", {}, name), value(rows[0][at], "dd")]))
      : el(
          "div",
          { class: "scroll", tabindex: 0 },
          el(
            "table",
            {},
            el("thead", {}, el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, name)))),
            el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((cell) => value(cell, "td"))))),
          ),
        );
  return el("section", { class: "rows" }, el("h4", {}, title), statement ? el("code", { class: "statement" }, statement) : null, body);
}

function value(cell, tag) {
  if (cell === null || cell === undefined) return el(tag, { class: "null" }, "NULL");
  return el(tag, {}, cell === "" ? document.createTextNode("\u00a0") : cell);
}
