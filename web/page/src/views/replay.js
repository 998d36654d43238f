// Replay: a trace, the planner run over it again here, its asks by time, and what came of it.

import { diagnosis } from "../diagnosis.js";
import { button, el, missing, problem } from "../dom.js";
import { picture } from "../replay/picture.js";
import { rehearsal } from "../rehearsal.js";
import { steps } from "../steps.js";
import { record, rowsOf } from "../replay/rows.js";
import { time, told } from "../replay/units.js";
import { waterfall } from "../replay/waterfall.js";
import { table } from "../table.js";

export function mount(root, app) {
  const traces = app.traces ?? [app.sample];
  const file = el("input", { type: "file", accept: ".json,application/json,.trace", "aria-label": "Open a trace or a rehearsal" });
  file.addEventListener("change", () => file.files[0] && app.open(file.files[0]));
  if (app.rehearsed) {
    const back = app.traces ? "the trace" : "the sample";
    const close = button(`Back to ${back}`, () => {
      app.rehearsed = null;
      app.go("replay");
    });
    root.append(el("div", { class: "bar-top" }, el("label", { class: "field" }, "Trace or rehearsal", file), el("span", {}, app.rehearsed.name), close), ...rehearsal(app.rehearsed.shown));
    return;
  }
  const chosen = Math.min(Number(app.state.get("flow") ?? 1), traces.length) || 1;
  const flows = el("select", { "aria-label": "Request" }, ...traces.map((trace, at) => el("option", { value: at + 1 }, `${at + 1}  ${trace.call?.path?.split("/").pop() ?? "?"}`)));
  flows.value = chosen;
  const body = el("div", {});
  flows.addEventListener("change", () => {
    app.remember({ flow: flows.value });
    show();
  });
  root.append(el("div", { class: "bar-top" }, el("label", { class: "field" }, "Trace or rehearsal", file), traces.length > 1 ? flows : null, app.traces ? null : el("span", { class: "quiet" }, "the built-in sample")), body);
  const show = () => body.replaceChildren(trace(traces[Number(flows.value) - 1], app));
  show();
}

/** A trace, replayed. Also what Live opens, with `links` to more of a workflow. */
export function trace(recorded, app, links) {
  let replayed;
  let shown;
  let asks;
  try {
    replayed = app.planner.replay(recorded);
    shown = app.planner.show(recorded.call.path, replayed.reply, recorded.now, recorded.call);
    const words = app.planner.asks(recorded);
    asks = recorded.asks.map((ask, at) => ({ ...ask, words: words[at] }));
  } catch (error) {
    return problem(`This trace cannot be replayed: ${error.message}`, "It may be damaged, or of another vtflow.");
  }
  const detail = el("section", { class: "detail", "aria-live": "polite", tabindex: "-1" });
  const left = el("div", {}, verdict(recorded, replayed, app), waterfall(asks, recorded.took_us, (ask) => detail.replaceChildren(...askDetail(ask, app))), detail);
  const right = el("div", {}, ...result(replayed, shown, recorded, app, links));
  return el("div", { class: "two replay" }, right, left);
}

function verdict(recorded, { differences }, app) {
  const same = recorded.planner.digest === app.planner.planner().digest;
  if (!differences.length) {
    const by = same ? "the same planner" : `another planner (${recorded.planner.version} ${recorded.planner.digest.slice(0, 8)}) recorded it, and`;
    return el("p", { class: "same" }, `✓ replayed here: ${same ? `${by}, ` : `${by} `}the same reply, byte for byte`);
  }
  return el("div", { class: "problem" }, el("strong", {}, "Replayed here, it goes another way:"), el("ul", {}, ...differences.map((text) => el("li", {}, text))));
}

function result({ reply }, { workflows, keyspaces, title, notes, tables, diagnosis: found, plan, outcomes, missing: lacks, next_step }, recorded, app, links) {
  const out = [];
  const error = reply?.result?.error;
  const isPreview = recorded.call.options?.mode === "preview";
  if (error) out.push(problem(isPreview ? "It would be refused, and nothing changed:" : "The request failed:", error.message, next_step));
  if (lacks) out.push(missing(lacks));
  const problems = out.length;
  if (plan) out.push(...steps(plan, outcomes));
  if (found) out.push(...diagnosis(found, links));
  for (const note of notes) out.push(el("p", {}, note));
  if (workflows.length) {
    const [{ columns, rows }] = tables;
    workflows.forEach((workflow, at) => out.push(card(workflow, columns, rows[at], recorded, app, at === 0, links)));
  } else {
    tables.forEach((of) => out.push(table(of)));
  }
  if (keyspaces.length) out.push(el("ul", {}, ...keyspaces.map((name) => el("li", {}, name))));
  if (title && out.length > problems) out.splice(problems, 0, el("h2", {}, title));
  if (!out.length) out.push(el("p", { class: "quiet" }, app.planner.nothing(recorded.call, reply)));
  return out;
}

/** A workflow: its row as the summary, its streams as a picture. */
function card({ line, description, picture: drawn }, columns, row, recorded, app, isOpen, links) {
  const detail = el("div", { class: "detail", "aria-live": "polite" });
  const onOpen = (band) => {
    const found = rowsOf(recorded, band, app.planner.table);
    const rows = found.length ? found.map(record) : [el("p", { class: "quiet" }, "The trace has no rows of this stream.")];
    detail.replaceChildren(el("h3", {}, band.label), ...rows);
    detail.scrollIntoView({ block: "nearest" });
  };
  const cells = columns.map(({ heading, kind }, at) => ({ heading, kind, text: row.cells[at] })).filter(({ text }) => text);
  const notes = cells.filter(({ kind }) => kind === "note");
  const [name, ...facts] = cells.filter(({ kind }) => kind !== "note");
  return el(
    "details",
    { class: `workflow${row.has_trouble ? " trouble" : ""}`, open: isOpen },
    el("summary", {}, el("b", {}, name.text), ...facts.map(({ heading, text }) => el("span", { class: "fact" }, `${heading.toLowerCase()} `, el("span", {}, text)))),
    ...notes.map(({ text }) => el("p", { class: "note" }, text)),
    el("div", { class: "scroll" }, picture(drawn, onOpen)),
    legend(drawn),
    detail,
    links ? el("p", {}, ...links(line.keyspace, line.name)) : null,
    description.next.length ? el("p", { class: "quiet" }, "Next: ", ...description.next.map((step) => el("span", {}, `${step.why} `, step.command ? el("code", {}, step.command) : null, " "))) : null,
  );
}

function legend(drawn) {
  const states = [...new Set(drawn.bands.map((band) => band.state))];
  return el("p", { class: "legend" }, ...states.map((state) => el("span", { class: `key ${state.toLowerCase()}` }, state)), el("span", { class: "quiet" }, "thicker: more rows copied · choose a band to see its rows"));
}

function askDetail(ask, app) {
  const took = ask.answered_us === undefined || ask.answered_us === null ? "no answer" : `answered in ${time(ask.answered_us - ask.asked_us)}`;
  const { whom, place, what } = ask.words;
  const rows = ask.answer ? app.planner.table(ask.what, ask.answer) : null;
  const statement = ask.what.about?.statement;
  return [
    el("h3", {}, [whom, place, what].filter(Boolean).join("  ")),
    el("p", {}, `round ${ask.round}, ${took}: ${told(ask)}`),
    rows ? record({ title: `${rows.rows.length} rows`, statement, ...rows }) : statement ? el("code", { class: "statement" }, statement) : null,
  ];
}

