// A statement with its parts told apart: for reading, not for checking (the planner checks).

import { el } from "./dom.js";

const PARTS = /('(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)|(\/\*[^]*?\*\/|--[^\n]*)|\b(\d+(?:\.\d+)?)\b|\b(select|distinct|from|where|and|or|not|in|like|is|null|update|set|delete|order|by|group|having|limit|asc|desc|as|between|case|when|then|else|end)\b/gi;
const CLASSES = ["string", "comment", "number", "keyword"];

/** Spans for a statement. */
export function highlighted(text) {
  const out = [];
  let end = 0;
  for (const match of text.matchAll(PARTS)) {
    if (match.index > end) out.push(text.slice(end, match.index));
    const kind = match.slice(1).findIndex((part) => part !== undefined);
    out.push(el("span", { class: `sql-${CLASSES[kind]}` }, match[0]));
    end = match.index + match[0].length;
  }
  out.push(text.slice(end));
  return out;
}
