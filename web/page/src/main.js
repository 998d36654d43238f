// The page: loads the planner, shows the view that the URL's fragment names, takes files that are dropped anywhere.
//
// Nothing is asked of any other host. The server, if there is one, is the one that the page came from.

import init, * as planner from "./pkg/vtflow_web.js";
import { problem, showTextsBy } from "./dom.js";
import * as server from "./server.js";
import * as live from "./views/live.js";
import * as plan from "./views/plan.js";
import * as replay from "./views/replay.js";

const VIEWS = { plan, replay, live };
const root = document.getElementById("view");
const notice = document.getElementById("notice");
let leave = null;

/** What every view gets. */
const app = {
  planner,
  server,
  /** Topology records that a file brought, or null. */
  records: null,
  /** The name of that file. */
  recordsName: "",
  /** Traces that a file brought, or null: then the sample is shown. */
  traces: null,
  /** What a file of a rehearsal shows, or null. */
  rehearsed: null,
  sample: null,
  /** The view's own part of the fragment. */
  get state() {
    return new URLSearchParams(location.hash.split("?")[1] ?? "");
  },
  /** Changes the view's part of the fragment; the view stays as it is. */
  remember(values) {
    const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== false && value !== null && value !== undefined);
    const text = new URLSearchParams(kept).toString();
    history.replaceState(null, "", `#${current()}${text ? `?${text}` : ""}`);
  },
  say(text, ...lines) {
    notice.replaceChildren(problem(text, ...lines));
  },
  quiet() {
    notice.replaceChildren();
  },
  go(view) {
    if (current() === view) show();
    else location.hash = view;
  },
};

const current = () => {
  const name = location.hash.slice(1).split("?")[0];
  return name in VIEWS ? name : "plan";
};

function show() {
  leave?.();
  app.quiet();
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === current()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  root.replaceChildren();
  try {
    leave = VIEWS[current()].mount(root, app) ?? null;
  } catch (error) {
    leave = null;
    app.say(`This view cannot be shown: ${error.message}`, "What you had opened is still there: try another view.");
  }
}

/** What `--rehearse -o json` prints. */
const isRehearsal = (document) => Array.isArray(document?.steps) && document.round_trips !== undefined && document.verdict !== undefined;

/** Reads a file: traces and rehearsals go to Replay, a snapshot's topo.json to Plan. Anything else changes nothing. */
export async function open(file) {
  try {
    const text = await file.text();
    const documents = parse(text);
    if (documents.every((document) => document?.vtflow_trace !== undefined)) {
      if (documents.some((document) => document.vtflow_trace !== 1)) throw new Error("it is a trace of a later vtflow");
      [app.traces, app.rehearsed] = [documents, null];
      app.go("replay");
    } else if (documents.length === 1 && isRehearsal(documents[0])) {
      app.rehearsed = { name: file.name, shown: planner.rehearsal(documents[0]) };
      app.go("replay");
    } else if (documents.length === 1 && recordsOf(documents[0])) {
      app.records = recordsOf(documents[0]);
      app.recordsName = file.name;
      app.go("plan");
    } else {
      throw new Error("it is neither a trace (made with --trace), a rehearsal (--rehearse -o json) nor a snapshot's topo.json");
    }
  } catch (error) {
    app.say(`${file.name} cannot be opened: ${error.message}`, "Nothing was changed. Drop a file made with vtflow --trace, what --rehearse -o json prints, or the topo.json of a snapshot.");
  }
}
app.open = open;

function parse(text) {
  try {
    return [JSON.parse(text)];
  } catch {
    const lines = text.split("\n").filter((line) => line.trim());
    if (!lines.length) throw new Error("it is empty");
    return lines.map((line, index) => {
      try {
        return JSON.parse(line);
      } catch {
        throw new Error(lines.length > 1 ? `line ${index + 1} is no JSON` : "it is no JSON");
      }
    });
  }
}

/** The records of a snapshot's topo.json: a list of `{cell, path, version, value}`, values base64. */
function recordsOf(document) {
  const list = Array.isArray(document) ? document : document?.records;
  if (!Array.isArray(list) || !list.length) return null;
  const records = list.map((record) => {
    const value = record.value ?? record.base64;
    return { ...record, value: typeof value === "string" ? { base64: value } : value };
  });
  const isOne = (record) => typeof record.cell === "string" && typeof record.path === "string" && record.value;
  return records.every(isOne) ? records.map(({ cell, path, version, value }) => ({ cell, path, version: version ?? 0, value })) : null;
}

addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) open(file);
});
addEventListener("hashchange", show);

/** Light, dark, or as the system has it: the button turns what is seen into its opposite, and that is kept. */
function theme() {
  const style = document.documentElement.style;
  const kept = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  };
  style.colorScheme = kept() ?? "";
  document.getElementById("theme").addEventListener("click", () => {
    const isDark = style.colorScheme ? style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    style.colorScheme = isDark ? "light" : "dark";
    try {
      localStorage.setItem("theme", style.colorScheme);
    } catch {
      // A browser that keeps nothing shows it all the same.
    }
  });
}

async function start() {
  theme();
  const badge = document.getElementById("planner");
  try {
    await init();
    showTextsBy(planner.printable);
    const { version, digest } = planner.planner();
    const short = `planner ${version} · ${digest.slice(0, 8)}`;
    badge.textContent = short;
    app.sample = await (await fetch("sample.json")).json();
    show();
    const other = await server.planner();
    const said = other === null ? "no server" : other.digest === digest ? "✓ same as server" : `≠ server: ${other.digest.slice(0, 8)}`;
    badge.textContent = `${short} · ${said}`;
    badge.title = other && other.digest !== digest ? "The server decides with another planner than this page." : digest;
    document.documentElement.dataset.ready = "true";
    performance.mark("ready");
  } catch (error) {
    badge.textContent = "no planner";
    app.say(`The planner cannot be loaded: ${error.message}`, "Reload the page; a browser with WebAssembly is needed.");
  }
}

start();
