// Live: the served cluster, read again every few seconds. It opens on all keyspaces at a glance, their workflows and their schema migrations, trouble
// first; a keyspace that is opened, and every diagnosis, is a fresh trace that this page's planner replays.

import { button, el, problem } from "../dom.js";
import { table } from "../table.js";
import { trace } from "./replay.js";

/** Milliseconds between two readings. */
const PAUSE = 5000;

/** What is shown of the cluster or of a keyspace, by the fragment's `show`. */
const VIEWS = [
  ["", "Workflows"],
  ["diagnosis", "Diagnosis"],
];

/** Changes of one workflow: each is only previewed here. */
const CHANGES = [
  ["switch", "all", "Switch"],
  ["switch", "reads", "Switch reads"],
  ["switch", "writes", "Switch writes"],
  ["reverse", "all", "Reverse"],
  ["complete", "", "Complete"],
  ["cancel", "", "Cancel"],
];

/** Keyspaces that are read at once. */
const AT_ONCE = 4;

export function mount(root, app) {
  const list = el("nav", { class: "keyspaces", "aria-label": "Keyspaces" });
  const views = el("nav", { class: "keyspaces", "aria-label": "What is shown" });
  const body = el("div", {});
  root.append(list, views, body);
  let keyspace = app.state.get("keyspace") ?? "";
  let view = app.state.get("show") ?? "";
  /** Of a diagnosis: one workflow, or all of the keyspace. Of a change: whose traffic. */
  let workflow = app.state.get("workflow") ?? "";
  const isOne = (of) => of.slice(0, 2).join("-") === app.state.get("change");
  let change = CHANGES.find(isOne) ?? CHANGES[0];
  if (view === "change" && !(keyspace && workflow)) view = "";
  if (view !== "change" && !VIEWS.some(([name]) => name === view)) view = "";
  let isGone = false;
  let timer = null;
  let last = "";
  /** Counts what was chosen: an answer to an earlier choice is not shown. */
  let choice = 0;

  async function keyspaces() {
    const call = { path: "/vtctlservice.Vtctld/GetKeyspaces", request: { text: "" }, options: {} };
    const recorded = await app.server.trace(call);
    const replayed = app.planner.replay(recorded);
    const shown = app.planner.show(recorded.call.path, replayed.reply, recorded.now);
    const error = replayed.reply?.result?.error;
    if (error) throw Object.assign(new Error(error.message), { nextStep: shown.next_step });
    return shown.keyspaces;
  }

  function buttons(names) {
    const kept = view === "change" ? "" : view;
    const all = button("All keyspaces", () => choose("", kept), { "aria-pressed": String(!keyspace) });
    list.replaceChildren(all, ...names.map((name) => button(name, () => choose(name, kept), { "aria-pressed": String(name === keyspace) })));
    views.replaceChildren(...VIEWS.map(([name, text]) => button(text, () => choose(keyspace, name), { "aria-pressed": String(name === view) })));
    if (view !== "change") return;
    const changes = CHANGES.map((of) => button(of[2], () => choose(keyspace, view, workflow, of), { "aria-pressed": String(of === change) }));
    views.append(el("span", { class: "quiet" }, ` ${workflow}, what it would do: `), ...changes);
  }

  function choose(name, shows, of = "", what = CHANGES[0]) {
    [keyspace, view, workflow, change] = [name, shows, of, what];
    last = "";
    choice += 1;
    app.remember({ keyspace, show: view, workflow, change: view === "change" ? change.slice(0, 2).join("-") : "" });
    body.replaceChildren(el("p", { class: "quiet" }, "reading …"));
    refresh();
  }

  function request() {
    if (view === "change") return { kind: "traffic", keyspace, workflow, change: change[0], ...(change[1] ? { whose: change[1] } : {}) };
    if (view === "diagnosis") return { kind: "diagnosis", keyspace, workflow };
    return { kind: "workflows", keyspace, logs: true };
  }

  function heading() {
    const of = [keyspace, workflow].filter(Boolean).join(".");
    if (view === "change") return `${change[2]} ${of}: what it would touch; nothing is changed`;
    return view ? `Diagnosis of ${of || "all keyspaces"}` : of;
  }

  /** More of a workflow. */
  function links(of, name) {
    const link = (show, text) => el("a", { href: `#live?${new URLSearchParams({ keyspace: of || keyspace, show, workflow: name })}` }, text);
    return [view && workflow ? null : link("diagnosis", "Diagnosis of this workflow"), " ", link("change", "What a change would touch")];
  }

  /** One request, for itself: that it fails hides nothing of another. */
  async function one(wanted) {
    try {
      const { reply, now } = await app.server.trace(app.planner.call(wanted));
      return reply ? { reply, now } : { error: "it has no reply" };
    } catch (error) {
      return { error: error.message };
    }
  }

  /** Reads every keyspace, a few at once. */
  async function all(names) {
    const reads = [];
    const waiting = [...names.entries()];
    const reader = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const [at, name] = next;
        const workflows = await one({ kind: "workflows", keyspace: name });
        const migrations = await one({ kind: "migrations", keyspace: name });
        const shards = await one({ kind: "shards", keyspace: name });
        reads[at] = { keyspace: name, workflows, migrations, shards };
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, reader));
    return app.planner.overview(reads, { seconds: Math.floor(Date.now() / 1000), nanos: 0 });
  }

  function shown(text, content) {
    const when = `${text}, read at ${new Date().toLocaleTimeString()}, again every ${PAUSE / 1000} s`;
    body.replaceChildren(el("p", { class: "quiet" }, when), ...content);
  }

  async function refresh() {
    clearTimeout(timer);
    const mine = choice;
    const isLate = () => isGone || mine !== choice;
    try {
      const names = await keyspaces();
      if (isLate()) return;
      buttons(names);
      if (!names.length && !keyspace) {
        body.replaceChildren(el("p", { class: "quiet" }, "This cluster has no keyspaces."));
      } else if (!keyspace && !view) {
        const lines = await all(names);
        if (isLate()) return;
        const now = JSON.stringify(lines);
        if (now !== last && !body.contains(document.activeElement)) {
          last = now;
          shown("All keyspaces", lines.tables.map((of) => table(of, { class: "overview" })));
        }
      } else {
        const recorded = await app.server.trace(app.planner.call(request()));
        if (isLate()) return;
        // Whoever reads a stream's rows keeps them: what has not changed is not drawn again.
        const now = JSON.stringify(recorded.reply);
        if (now !== last && !body.contains(document.activeElement)) {
          last = now;
          shown(heading(), [trace(recorded, app, links)]);
        }
      }
      app.quiet();
    } catch (error) {
      if (isLate()) return;
      if (!last) body.replaceChildren(problem(`There is no live cluster here: ${error.message}`, error.nextStep, "Serve this page with vtflow serve or vtflow demo --serve, or open a trace in Replay."));
      else app.say(`The last reading failed: ${error.message}`, error.nextStep, "What is shown is the reading before. The next try is under way.");
    }
    timer = setTimeout(refresh, PAUSE);
  }

  refresh();
  return () => {
    isGone = true;
    clearTimeout(timer);
  };
}
