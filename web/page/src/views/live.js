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

/** Keyspaces that are read at once. */
const AT_ONCE = 4;

export function mount(root, app) {
  const list = el("nav", { class: "keyspaces", "aria-label": "Keyspaces" });
  const views = el("nav", { class: "keyspaces", "aria-label": "What is shown" });
  const body = el("div", {});
  root.append(list, views, body);
  let keyspace = app.state.get("keyspace") ?? "";
  let view = VIEWS.some(([name]) => name === app.state.get("show")) ? app.state.get("show") : "";
  /** Of a diagnosis: one workflow, or all of the keyspace. */
  let workflow = view ? (app.state.get("workflow") ?? "") : "";
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
    const all = button("All keyspaces", () => choose("", view), { "aria-pressed": String(!keyspace) });
    list.replaceChildren(all, ...names.map((name) => button(name, () => choose(name, view), { "aria-pressed": String(name === keyspace) })));
    views.replaceChildren(...VIEWS.map(([name, text]) => button(text, () => choose(keyspace, name), { "aria-pressed": String(name === view) })));
  }

  function choose(name, shows) {
    [keyspace, view, workflow] = [name, shows, ""];
    last = "";
    choice += 1;
    app.remember({ keyspace, show: view });
    refresh();
  }

  /** More of a workflow. */
  function links(of, name) {
    const diagnosis = new URLSearchParams({ keyspace: of || keyspace, show: "diagnosis", workflow: name });
    return view && workflow ? [] : [el("a", { href: `#live?${diagnosis}` }, "Diagnosis of this workflow")];
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
        const wanted = view ? { kind: "diagnosis", keyspace, workflow } : { kind: "workflows", keyspace, logs: true };
        const recorded = await app.server.trace(app.planner.call(wanted));
        if (isLate()) return;
        // Whoever reads a stream's rows keeps them: what has not changed is not drawn again.
        const now = JSON.stringify(recorded.reply);
        if (now !== last && !body.contains(document.activeElement)) {
          last = now;
          const of = [keyspace, workflow].filter(Boolean).join(".");
          shown(view ? `Diagnosis of ${of || "all keyspaces"}` : of, [trace(recorded, app, links)]);
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
