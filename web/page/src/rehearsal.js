// A rehearsal: the steps of a change by time, with the rounds of their calls and the time in which writes are refused; then what a copy does not
// know, what is wrong afterwards, and what becomes of it when one thing goes wrong.

import { diagnosis } from "./diagnosis.js";
import { el, problem } from "./dom.js";
import { axis } from "./replay/waterfall.js";
import { time } from "./replay/units.js";
import { linear } from "./scale.js";
import { mark, tags } from "./steps.js";
import { table } from "./table.js";

const SIGNS = { healthy: "✓", refused: "✗", not_healthy: "✗", could_not_look: "?" };
/** Calls of a step that are shown without being asked for. */
const CALLS = 12;

/** A bar from one time to another, and behind it the time in which writes are refused. */
function track(scale, refused, kind, from, to) {
  const part = (name, at, end, least) => el("i", { class: name, style: `left:${scale(at)}%;width:${Math.max(scale(end) - scale(at), least)}%` });
  return el("span", { class: "track", "aria-hidden": "true" }, refused ? part("refused", refused[0], refused[1], 0.2) : null, part(kind, from, to, 0.4));
}

function call(of, scale, refused) {
  const { text, writes, round, begins_us: from, ends_us: to, told, failed } = of;
  return el(
    "details",
    { class: `timed-call${failed ? " failed" : ""}` },
    el("summary", {}, el("span", { class: "who" }, `${round} `, el("span", { class: writes ? "subject write" : "subject" }, writes ? "write " : "ask "), text), track(scale, refused, "waiting", from, to), el("span", { class: "end" }, failed ? "failed" : time(to - from))),
    el("code", { class: "statement" }, text),
    el("p", { class: "quiet" }, told),
    failed ? el("p", { class: "note" }, `failed: ${failed}`) : null,
  );
}

function step({ before, number, name, counted, calls, after, is_refusing, is_past, span_us: span }, scale, refused) {
  const head = [el("b", {}, number ? `${number}. ${name}` : name), ...tags([is_refusing && "writes refused", is_past && "not taken back"]), el("span", { class: "quiet" }, ` ${counted}`)];
  const line = el("span", { class: "who" }, ...head);
  const body = span
    ? el("details", { open: Boolean(number) && calls.length <= CALLS }, el("summary", {}, line, track(scale, refused, "whole", ...span), el("span", { class: "end" }, time(span[1] - span[0]))), ...calls.map((of) => call(of, scale, refused)))
    : el("p", {}, line);
  return el("li", { class: is_refusing ? "refusing" : null }, ...before.map(mark), body, after ? mark(after) : null);
}

function waterfall({ steps, refused_us: refused, estimate_us: estimate }) {
  const end = Math.max(1, estimate, ...steps.map(({ span_us: span }) => span?.[1] ?? 0));
  const scale = linear(end, 100);
  const legend = el(
    "p",
    { class: "legend" },
    el("span", { class: "quiet" }, "in front of each call: its round; bars: estimated times"),
    refused ? el("span", { class: "key refused" }, `writes are refused, ${time(refused[1] - refused[0])}`) : null,
  );
  return el("section", { class: "timed" }, el("h2", {}, "Steps"), legend, axis(scale, end), el("ol", { class: "steps", "aria-label": "Steps by time" }, ...steps.map((of) => step(of, scale, refused))));
}

const lines = (texts) => texts.map((text) => el("p", {}, text));

/** @param {object} of the planner's rehearsal as lines */
export function rehearsal(of) {
  const { verdict, summary, head, steps, error, notes, times, not_known_heading: heading, not_known: unknown, gone_heading: goneHeading, gone, after, diagnosis: found, faults } = of;
  return [
    el("p", { class: `verdict ${verdict}` }, `${SIGNS[verdict]} ${summary}`),
    ...lines(head),
    error.length ? problem(error[0], ...error.slice(1)) : null,
    ...lines(times),
    ...lines(notes),
    steps.length ? waterfall(of) : null,
    unknown.length ? el("h3", {}, heading) : null,
    unknown.length ? el("ul", { class: "plain" }, ...unknown.map((text) => el("li", {}, text))) : null,
    gone.length ? el("h3", {}, goneHeading) : null,
    gone.length ? el("ul", { class: "plain" }, ...gone.map((text) => el("li", {}, text))) : null,
    after ? el("p", {}, after) : null,
    ...(found ? diagnosis(found) : []),
    faults ? el("h2", {}, "With one thing going wrong") : null,
    ...(faults ? [...lines(faults[1]), table(faults[0])] : []),
  ].filter(Boolean);
}
