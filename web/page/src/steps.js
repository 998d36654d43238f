// The plan of a change in the planner's words: its steps with every call, where writes are refused and from where there is no way back.

import { el } from "./dom.js";
import { highlighted } from "./sql.js";

/** Calls of a step that are shown without being asked for. */
const CALLS = 12;

/** What is otherwise from here on. */
export const mark = (text) => el("p", { class: "mark" }, text);

/** What is true while a step is done, in words. */
export const tags = (texts) => texts.filter(Boolean).map((text) => el("span", { class: "tag" }, text));

function step({ before, name, calls, after, is_refusing, is_past }, at) {
  const line = ({ text, writes }) => el("li", { class: writes ? "write" : null }, el("span", { class: "subject" }, writes ? "write" : "ask"), el("code", { class: "statement" }, text));
  const head = [el("b", {}, `${at + 1}. ${name}`), ...tags([is_refusing && "writes refused", is_past && "not taken back"])];
  const body = calls.length
    ? el("details", { open: calls.length <= CALLS }, el("summary", {}, ...head, el("span", { class: "quiet" }, ` ${calls.length}`)), el("ul", { class: "calls" }, ...calls.map(line)))
    : el("p", {}, ...head, el("span", { class: "quiet" }, " nothing to do"));
  return el("li", { class: is_refusing ? "refusing" : null }, ...before.map(mark), body, after ? mark(after) : null);
}

function target({ heading, rows, statements }) {
  const about = rows.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]);
  return el("li", {}, el("b", {}, heading), el("dl", { class: "record" }, ...about), ...statements.map((text) => el("code", { class: "statement" }, ...highlighted(text))));
}

/**
 * @param {object} plan the planner's plan as lines
 * @param {string[]} outcomes what became of it; none of a preview
 */
export function steps({ summary, steps: all, targets, besides, gone_heading, gone }, outcomes = []) {
  return [
    el("p", { class: "verdict" }, summary),
    el("ol", { class: "steps" }, ...all.map(step), ...targets.map(target)),
    el("ul", { class: "plain" }, ...besides.map(([label, text]) => el("li", {}, el("span", { class: "quiet" }, `${label}: `), text))),
    gone.length ? el("div", { class: "problem" }, el("strong", {}, `${gone_heading}:`), el("ul", {}, ...gone.map((text) => el("li", {}, text)))) : null,
    outcomes.length ? el("h3", {}, "What became of it") : null,
    outcomes.length ? el("ul", { class: "plain" }, ...outcomes.map((text) => el("li", {}, text))) : null,
  ].filter(Boolean);
}
