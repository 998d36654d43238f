// The planner's tables: headings and cells as they come, trouble marked, a keyspace as a link to its own screen.

import { el } from "./dom.js";

const link = (keyspace, text) => el("a", { href: `#live?${new URLSearchParams({ keyspace })}` }, text);

/** `columns`: `{heading, kind}` each; `rows`: `{cells, has_trouble, is_beneath, keyspace}` each. */
export function table({ columns, rows }, attributes = {}) {
  const head = el("tr", {}, ...columns.map(({ heading }) => el("th", { scope: "col" }, heading)));
  const cell = (row) => (text, at) =>
    el("td", { "data-kind": columns[at].kind }, at === 0 && typeof row.keyspace === "string" ? link(row.keyspace, text) : text);
  const body = rows.map((row) => {
    const classes = [row.has_trouble && "trouble", row.is_beneath && "beneath"].filter(Boolean).join(" ");
    return el("tr", { class: classes || null }, ...row.cells.map(cell(row)));
  });
  return el("div", { class: "scroll", tabindex: 0 }, el("table", { class: "list", ...attributes }, el("thead", {}, head), el("tbody", {}, ...body)));
}
