// The waterfall of a trace: a bar for each ask, from its release to its answer, in the order of the release.
//
// Colour says what came of it, and so does the text at the end of the bar: colour never carries meaning alone.

import { el } from "../dom.js";
import { linear, ticks } from "../scale.js";
import { size, time, told } from "./units.js";

/** More bars than this are shown only when asked for: the slowest stay. */
const BARS = 200;

/**
 * @param {object[]} asks those of a trace, each with the planner's `words`
 * @param {number} took the trace's microseconds
 * @param {(ask: object) => void} onOpen called with the ask whose bar was chosen
 */
export function waterfall(asks, took, onOpen) {
  const end = Math.max(1, took, ...asks.map((ask) => ask.answered_us ?? 0));
  const scale = linear(end, 100);
  const slowest = slowestTablet(asks);
  const list = el("ol", { class: "bars", "aria-label": "Asks by time" });
  const fill = (shown) => list.replaceChildren(...shown.map((ask) => bar(ask, scale, end, ask === slowest, onOpen)));
  const figure = el("section", { class: "waterfall" }, el("h2", {}, "Asks"), summary(asks, took, slowest), axis(scale, end), list);
  if (asks.length <= BARS) {
    fill(asks);
    return figure;
  }
  const wait = (ask) => (ask.answered_us ?? end) - ask.asked_us;
  const kept = new Set([...asks].sort((a, b) => wait(b) - wait(a)).slice(0, BARS));
  fill(asks.filter((ask) => kept.has(ask)));
  const more = el("button", { type: "button", class: "more" }, `Show the ${asks.length - BARS} faster ones too`);
  more.addEventListener("click", () => {
    fill(asks);
    more.remove();
  });
  figure.append(more);
  return figure;
}

function summary(asks, took, slowest) {
  const failed = asks.filter((ask) => ask.words.outcome === "failed").length;
  const received = asks.reduce((sum, ask) => sum + ask.words.bytes, 0);
  const rounds = Math.max(0, ...asks.map((ask) => ask.round));
  const text = `${asks.length} asks in ${rounds} rounds, ${time(took)}, ${size(received)} received`;
  const parts = [text];
  if (failed) parts.push(`${failed} failed`);
  if (slowest) parts.push(`slowest: ${slowest.words.whom}, ${time(slowest.answered_us - slowest.asked_us)}`);
  return el("p", { class: "sum" }, parts.join(" · "));
}

/** Round times above bars. */
export function axis(scale, end) {
  const marks = ticks(end, 4).filter((tick) => tick < end * 0.96).map((tick) => el("span", { style: `left:${scale(tick)}%` }, time(Math.round(tick))));
  return el("div", { class: "axis", "aria-hidden": "true" }, ...marks);
}

function slowestTablet(asks) {
  const calls = asks.filter((ask) => ask.what.kind === "tablet_call" && ask.answered_us !== undefined);
  return calls.reduce((worst, ask) => {
    const took = ask.answered_us - ask.asked_us;
    return !worst || took > worst.answered_us - worst.asked_us ? ask : worst;
  }, null);
}

function bar(ask, scale, last, isSlowest, onOpen) {
  const start = ask.asked_us;
  const answered = ask.answered_us ?? last;
  const sent = Math.min(Math.max(ask.sent_us ?? start, start), answered);
  const part = (kind, from, to) =>
    el("i", { class: kind, style: `left:${scale(from)}%;width:${Math.max(scale(to) - scale(from), kind === "waiting" ? 0.4 : 0)}%` });
  const { whom, place, what, outcome: how } = ask.words;
  const times = [`round ${ask.round}`, `asked at ${time(start)}`];
  if (ask.sent_us !== undefined && ask.sent_us !== null && ask.sent_us > start) times.push(`sent at ${time(ask.sent_us)}`);
  times.push(ask.answered_us === undefined || ask.answered_us === null ? "never answered" : `answered at ${time(ask.answered_us)}`);
  const title = [`${whom} ${what}`, place, times.join(", "), told(ask)].filter(Boolean).join("\n");
  const button = el(
    "button",
    { type: "button", class: `bar ${how}${isSlowest ? " slowest" : ""}`, title, "aria-label": title.replaceAll("\n", ", ") },
    el("span", { class: "who" }, whom),
    el("span", { class: "what" }, [what, place].filter(Boolean).join("  ")),
    el("span", { class: "track" }, part("queued", start, sent), part("waiting", sent, answered)),
    el("span", { class: "end" }, how === "ok" ? time(answered - start) : how === "none" ? "no answer" : how),
  );
  button.addEventListener("click", () => onOpen(ask));
  return el("li", {}, button);
}
