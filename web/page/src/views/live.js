// Live: the server's keyspaces, read again every few seconds; what is opened is a fresh trace that this page's planner replays.

import { button, el, problem } from "../dom.js";
import { trace } from "./replay.js";

/** Milliseconds between two readings. */
const PAUSE = 5000;

export function mount(root, app) {
  const list = el("nav", { class: "keyspaces", "aria-label": "Keyspaces" });
  const body = el("div", {});
  root.append(list, body);
  let keyspace = app.state.get("keyspace") ?? "";
  let isGone = false;
  let timer = null;
  let last = "";

  async function keyspaces() {
    const call = { path: "/vtctlservice.Vtctld/GetKeyspaces", request: { text: "" }, options: {} };
    const recorded = await app.server.trace(call);
    const replayed = app.planner.replay(recorded);
    const names = app.planner.show(recorded.call.path, replayed.reply, recorded.now).keyspaces;
    if (!names.includes(keyspace)) keyspace = names[0] ?? "";
    list.replaceChildren(...names.map((name) => button(name, () => choose(name), { "aria-pressed": String(name === keyspace) })));
  }

  function choose(name) {
    keyspace = name;
    last = "";
    app.remember({ keyspace });
    refresh();
  }

  async function refresh() {
    clearTimeout(timer);
    try {
      await keyspaces();
      if (isGone) return;
      if (!keyspace) {
        body.replaceChildren(el("p", { class: "quiet" }, "This cluster has no keyspaces."));
      } else {
        const recorded = await app.server.trace(app.planner.call({ kind: "workflows", keyspace, logs: true }));
        if (isGone) return;
        // Whoever reads a stream's rows keeps them: what has not changed is not drawn again.
        const now = JSON.stringify(recorded.reply);
        if (now !== last && !body.contains(document.activeElement)) {
          last = now;
          body.replaceChildren(el("p", { class: "quiet" }, `${keyspace}, read at ${new Date().toLocaleTimeString()}, again every ${PAUSE / 1000} s`), trace(recorded, app));
        }
      }
      app.quiet();
    } catch (error) {
      if (isGone) return;
      if (!last) body.replaceChildren(problem(`There is no live cluster here: ${error.message}`, "Serve this page with vtflow serve or vtflow demo --serve, or open a trace in Replay."));
      else app.say(`The last reading failed: ${error.message}`, "What is shown is the reading before. The next try is under way.");
    }
    timer = setTimeout(refresh, PAUSE);
  }

  refresh();
  return () => {
    isGone = true;
    clearTimeout(timer);
  };
}
