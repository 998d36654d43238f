// Replay: a trace, the planner run over it again here, its asks by time, and what came of it.

import { el, problem } from "../dom.js";
import { told, whom, subject, place, time } from "../replay/asks.js";
import { picture, describe } from "../replay/picture.js";
import { record, rowsOf } from "../replay/rows.js";
import { waterfall } from "../replay/waterfall.js";

export function mount(root, app) {
  const traces = app.traces ?? [app.sample];
  const file = el("input", { type: "file", accept: ".json,application/json,.trace", "aria-label": "Open a trace" });
  file.addEventListener("change", () => file.files[0] && app.open(file.files[0]));
  const chosen = Math.min(Number(app.state.get("flow") ?? 1), traces.length) || 1;
  const flows = el("select", { "aria-label": "Request" }, ...traces.map((trace, at) => el("option", { value: at + 1 }, `${at + 1}  ${trace.call?.path?.split("/").pop() ?? "?"}`)));
  flows.value = chosen;
  const body = el("div", {});
  flows.addEventListener("change", () => {
    app.remember({ flow: flows.value });
    show();
  });
  root.append(el("div", { class: "bar-top" }, el("label", { class: "field" }, "Trace", file), traces.length > 1 ? flows : null, app.traces ? null : el("span", { class: "quiet" }, "the built-in sample")), body);
  const show = () => body.replaceChildren(trace(traces[Number(flows.value) - 1], app));
  show();
}

/** A trace, replayed. Also what Live opens. */
export function trace(recorded, app) {
  let replayed;
  let shown;
  try {
    replayed = app.planner.replay(recorded);
    shown = app.planner.show(recorded.call.path, replayed.reply, recorded.now, recorded.call);
  } catch (error) {
    return problem(`This trace cannot be replayed: ${error.message}`, "It may be damaged, or of another vtflow.");
  }
  const detail = el("section", { class: "detail", "aria-live": "polite", tabindex: "-1" });
  const left = el("div", {}, verdict(recorded, replayed, app), waterfall(recorded, (ask) => detail.replaceChildren(...askDetail(ask, app))), detail);
  const right = el("div", {}, ...result(replayed, shown, recorded, app));
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

function result({ reply }, { workflows, migrations, keyspaces }, recorded, app) {
  const out = [];
  const error = reply?.result?.error;
  if (error) out.push(problem("The request failed:", error.message));
  const missing = reply?.failures ?? [];
  if (missing.length) {
    out.push(el("div", { class: "problem" }, el("strong", {}, `${missing.length} of it missing`), el("ul", {}, ...missing.map((failure) => el("li", {}, `${failure.keyspace}/${failure.shard ?? ""} ${failure.tablet ?? ""}: ${failure.message}`)))));
  }
  if (workflows.length) out.push(el("h2", {}, "Workflows"));
  workflows.forEach((workflow, at) => out.push(card(workflow, recorded, app, at === 0)));
  if (migrations.length) out.push(el("h2", {}, "Schema migrations"), migrationTable(migrations));
  if (keyspaces.length) out.push(el("h2", {}, "Keyspaces"), el("ul", {}, ...keyspaces.map((name) => el("li", {}, name))));
  if (!out.length) out.push(el("p", { class: "quiet" }, app.planner.nothing(recorded.call, reply)));
  return out;
}

function card({ line, description, picture: drawn }, recorded, app, isOpen) {
  const detail = el("div", { class: "detail", "aria-live": "polite" });
  const onOpen = (band) => {
    const tables = rowsOf(recorded, band, app.planner.table);
    const rows = tables.length ? tables.map(record) : [el("p", { class: "quiet" }, "The trace has no rows of this stream.")];
    detail.replaceChildren(el("h3", {}, describe(band, drawn)), ...rows);
    detail.scrollIntoView({ block: "nearest" });
  };
  const facts = [`${line.source} → ${line.target}`, line.streams];
  if (line.lag_seconds !== null && line.lag_seconds !== undefined) facts.push(`lag ${line.lag_seconds} s`);
  facts.push(`copied: ${line.copied}`);
  return el(
    "details",
    { class: `workflow${line.has_trouble ? " trouble" : ""}`, open: isOpen },
    el("summary", {}, el("b", {}, line.name), el("span", { class: "kind" }, line.kind), el("span", { class: "facts" }, facts.join(" · "))),
    line.note ? el("p", { class: "note" }, line.note) : null,
    el("div", { class: "scroll" }, picture(drawn, onOpen)),
    legend(drawn),
    detail,
    description.next.length ? el("p", { class: "quiet" }, "Next: ", ...description.next.map((step) => el("span", {}, `${step.why} `, step.command ? el("code", {}, step.command) : null, " "))) : null,
  );
}

function legend(drawn) {
  const states = [...new Set(drawn.bands.map((band) => band.state))];
  return el("p", { class: "legend" }, ...states.map((state) => el("span", { class: `key ${state.toLowerCase()}` }, state)), el("span", { class: "quiet" }, "thicker: more rows copied · choose a band to see its rows"));
}

function migrationTable(migrations) {
  const head = ["Migration", "Table", "Status", "Shards", "Note"];
  const rows = migrations.map((line) => el("tr", { class: line.has_trouble ? "trouble" : null }, ...[line.uuid, line.table, line.status, line.counted, line.note].map((text) => el("td", {}, text))));
  return el("div", { class: "scroll", tabindex: 0 }, el("table", {}, el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...rows)));
}

function askDetail(ask, app) {
  const took = ask.answered_us === undefined || ask.answered_us === null ? "no answer" : `answered in ${time(ask.answered_us - ask.asked_us)}`;
  const table = ask.answer ? app.planner.table(ask.what, ask.answer) : null;
  const statement = ask.what.about?.statement;
  return [
    el("h3", {}, [whom(ask.what), place(ask.what), subject(ask.what)].filter(Boolean).join("  ")),
    el("p", {}, `round ${ask.round}, ${took}: ${told(ask)}`),
    table ? record({ title: `${table.rows.length} rows`, statement, ...table }) : statement ? el("code", { class: "statement" }, statement) : null,
  ];
}

