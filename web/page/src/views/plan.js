// Plan: a request and a topology; what would be asked, round by round and tablet by tablet, with the exact statements.

import { copied, el, missing, problem } from "../dom.js";
import { highlighted } from "../sql.js";
import { steps } from "../steps.js";
import { keyspacesOf, recordsOf } from "../topology.js";

const KINDS = [
  ["workflows", "GetWorkflows"],
  ["vexec", "VExec"],
  ["update", "start or stop"],
  ["delete", "delete"],
  ["traffic", "switch or end"],
  ["migrations", "migrations"],
  ["migration", "change a migration"],
];
const NEEDS_WORKFLOW = new Set(["update", "delete", "traffic"]);
/** What is changed: a server previews it, without one only the first reads are known. */
const CHANGES = new Set(["update", "delete", "traffic", "migration"]);
const OF_TRAFFIC = ["switch", "reverse", "complete", "cancel"];
const VERBS = ["cancel", "cleanup", "complete", "force_cutover", "launch", "retry"];

export function mount(root, app) {
  const given = app.state;
  const records = () => {
    if (topology.value === "file" && app.records) return app.records;
    if (topology.value === "server" && served) return served;
    return recordsOf(app.sample);
  };
  let served = null;

  const kinds = el("fieldset", { class: "kinds" }, el("legend", {}, "Request"));
  for (const [value, text] of KINDS) {
    const input = el("input", { type: "radio", name: "kind", value, checked: (given.get("kind") ?? "workflows") === value });
    kinds.append(el("label", {}, input, text));
  }
  const keyspace = el("input", { name: "keyspace", list: "keyspaces", autocomplete: "off", spellcheck: "false", value: given.get("keyspace") ?? "" });
  const list = el("datalist", { id: "keyspaces" });
  const workflow = el("input", { name: "workflow", autocomplete: "off", spellcheck: "false", value: given.get("workflow") ?? "" });
  const uuid = el("input", { name: "uuid", autocomplete: "off", spellcheck: "false", placeholder: "uuid, or all", value: given.get("uuid") ?? "" });
  const action = select("action", ["stop", "start"], given.get("action"));
  const verb = select("verb", VERBS, given.get("verb"));
  const change = select("change", OF_TRAFFIC, given.get("change"));
  const whose = select("whose", ["all", "reads", "writes"], given.get("whose"));
  const logs = el("input", { type: "checkbox", name: "logs", checked: given.get("logs") === "true" });
  const sql = el("textarea", { name: "sql", rows: 4, spellcheck: "false", "aria-describedby": "sql-said" });
  sql.value = given.get("sql") ?? "update _vt.vreplication set state = 'Stopped'";
  const said = el("div", { id: "sql-said", class: "said", "aria-live": "polite" });
  const topology = el("select", { name: "topology" }, el("option", { value: "sample" }, "sample"), el("option", { value: "server" }, "this server"));
  if (app.records) topology.append(el("option", { value: "file" }, app.recordsName));
  topology.value = given.get("topology") ?? (app.records ? "file" : "sample");
  if (!topology.value) topology.value = "sample";
  const file = el("input", { type: "file", accept: ".json,application/json,.trace", "aria-label": "Open a topo.json or a trace" });
  file.addEventListener("change", () => file.files[0] && app.open(file.files[0]));
  const fields = {
    workflow: field("Workflow", workflow),
    uuid: field("Migration", uuid),
    action: field("Action", action),
    verb: field("Action", verb),
    change: field("Change", change),
    whose: field("Traffic", whose),
    logs: el("label", { class: "check" }, logs, "with logs"),
    sql: el("div", { class: "field wide" }, el("label", {}, "SQL", sql), said),
  };
  const share = copied(() => location.href, "Copy link");
  const form = el(
    "form",
    { class: "request" },
    kinds,
    field("Keyspace", keyspace, list),
    ...Object.values(fields),
    field("Topology", topology),
    field("Open", file),
    share,
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  const out = el("section", { class: "planned", "aria-live": "polite", "aria-label": "Plan" });
  root.append(el("div", { class: "two" }, form, out));

  const kind = () => form.elements.kind.value;
  if (!keyspace.value) keyspace.value = keyspacesOf(records())[0] ?? "";

  async function fromServer() {
    out.replaceChildren(el("p", { class: "quiet" }, "asking the server for its topology …"));
    const call = app.planner.call({ kind: "workflows", keyspace: keyspace.value });
    const trace = await app.server.trace(call);
    served = recordsOf(trace);
  }

  /** What a server says that the change would do, from a preview that only reads. */
  async function preview(request) {
    const recorded = await app.server.trace(app.planner.call(request));
    const { reply } = app.planner.replay(recorded);
    const { plan, missing: lacks, next_step } = app.planner.show(recorded.call.path, reply, recorded.now, recorded.call);
    const error = reply?.result?.error;
    const asked = `Read from this server just now, ${count(recorded.asks.length, "ask")}; nothing was changed.`;
    return [
      error ? problem("Refused, nothing would be changed:", error.message, next_step) : null,
      lacks ? missing(lacks) : null,
      ...(plan ? steps(plan) : []),
      el("p", { class: "quiet" }, asked),
    ].filter(Boolean);
  }

  /** Counts what was asked for: what comes late is not shown. */
  let turn = 0;

  async function update() {
    app.quiet();
    turn += 1;
    const mine = turn;
    const now = kind();
    const shown = {
      workflow: now !== "migrations" && now !== "migration",
      uuid: now === "migrations" || now === "migration",
      action: now === "update",
      verb: now === "migration",
      change: now === "traffic",
      whose: now === "traffic" && ["switch", "reverse"].includes(change.value),
      logs: now === "workflows",
      sql: now === "vexec",
    };
    for (const [name, element] of Object.entries(fields)) element.hidden = !shown[name];
    const request = { kind: now, keyspace: keyspace.value.trim() };
    if (shown.workflow) request.workflow = workflow.value.trim();
    if (shown.uuid) request.uuid = uuid.value.trim();
    if (shown.action) request.action = action.value;
    if (shown.verb) request.verb = verb.value;
    if (shown.change) request.change = change.value;
    if (shown.whose) request.whose = whose.value;
    if (shown.logs) request.logs = logs.checked;
    if (shown.sql) request.sql = sql.value;
    app.remember({ ...request, topology: topology.value === "sample" ? "" : topology.value });
    said.replaceChildren();
    if (topology.value === "server") {
      try {
        await fromServer();
        if (mine !== turn) return;
      } catch (error) {
        if (mine !== turn) return;
        out.replaceChildren(problem(`The server's topology cannot be had: ${error.message}`, "The page may have no server: choose the sample, or open a topo.json."));
        return;
      }
    }
    list.replaceChildren(...keyspacesOf(records()).map((name) => el("option", { value: name })));
    if (NEEDS_WORKFLOW.has(now) && !request.workflow) {
      out.replaceChildren(el("p", { class: "quiet" }, "Name the workflow, and its plan is shown here."));
      return;
    }
    if (now === "migration" && !request.uuid) {
      out.replaceChildren(el("p", { class: "quiet" }, "Name the migration, or all, and the plan is shown here."));
      return;
    }
    try {
      if (now === "vexec") {
        const refused = app.planner.check(sql.value, request.workflow);
        if (refused) {
          said.replaceChildren(refusal(refused));
          out.replaceChildren(el("p", { class: "quiet" }, "Nothing would be asked: the statement is refused."));
          return;
        }
      }
      if (topology.value === "server" && CHANGES.has(now)) {
        const told = await preview(request);
        if (mine === turn) out.replaceChildren(...told);
        return;
      }
      const seconds = Math.floor(Date.now() / 1000);
      const planned = app.planner.plan(app.planner.call(request), { seconds, nanos: 0 }, records());
      out.replaceChildren(...result(planned, now));
    } catch (error) {
      if (mine === turn) out.replaceChildren(problem(`This cannot be planned: ${error.message}`));
    }
  }

  let timer = null;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(update, 120);
  };
  form.addEventListener("input", soon);
  form.addEventListener("change", soon);
  update();
  return () => clearTimeout(timer);
}

function field(name, ...inputs) {
  return el("label", { class: "field" }, name, ...inputs);
}

function select(name, values, chosen) {
  const element = el("select", { name }, ...values.map((value) => el("option", { value }, value.replace("_", " "))));
  if (chosen && values.includes(chosen)) element.value = chosen;
  return element;
}

/** Why a statement is refused, at its place. */
function refusal({ message, accepted, before, at, after }) {
  return el(
    "div",
    { class: "refusal", role: "alert" },
    el("pre", {}, before, el("mark", {}, at || "\u25b2"), after),
    el("strong", {}, message),
    accepted ? el("p", {}, accepted) : null,
  );
}

const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

function result({ plan, missing: lacks, refused, next_step, statements }, kind) {
  const out = [];
  if (refused) out.push(problem("Refused, nothing would be asked of a tablet:", refused.message, next_step));
  if (lacks) out.push(missing(lacks));
  const rounds = Map.groupBy ? Map.groupBy(plan.asks, (ask) => ask.round) : grouped(plan.asks);
  for (const [round, asks] of rounds) {
    const reads = asks.filter((ask) => ask.kind !== "call");
    const calls = asks.filter((ask) => ask.kind === "call");
    const tablets = [...new Set(calls.map((ask) => ask.tablet))];
    const title = [reads.length && count(reads.length, "topology read"), tablets.length && count(tablets.length, "tablet"), calls.length && count(calls.length, "call")];
    const body = el("ol", { class: "asks" });
    for (const ask of reads) body.append(el("li", {}, el("b", {}, ask.cell ?? "global"), ` ${ask.kind} `, el("code", {}, ask.path ?? "")));
    for (const tablet of tablets) {
      const mine = calls.filter((ask) => ask.tablet === tablet);
      body.append(
        el(
          "li",
          {},
          el(
            "details",
            { open: tablets.length <= 4 },
            el("summary", {}, el("b", {}, tablet), ` ${mine[0].keyspace}/${mine[0].shard} · ${count(mine.length, "call")} · ${mine[0].db_name}`),
            ...mine.map((ask) => el("div", { class: `call ${ask.effect}` }, el("span", { class: "subject" }, ask.subject), el("code", { class: "statement" }, ...(ask.statement ? highlighted(ask.statement) : [ask.rpc.split("/").pop()])))),
          ),
        ),
      );
    }
    out.push(el("section", { class: "round" }, el("h3", {}, `Round ${round}`, el("small", {}, title.filter(Boolean).join(" · "))), body));
  }
  if (statements.length) {
    const isWrite = !/^\s*\(?\s*select/i.test(statements[0].statement);
    const list = statements.map(({ tablet, shard, pieces }) =>
      el("li", {}, el("b", {}, tablet), ` ${shard}`, el("code", { class: "statement" }, ...pieces.map(([text, isAdded]) => (isAdded ? el("ins", { title: "added: scope" }, text) : el("span", {}, ...highlighted(text)))))),
    );
    out.push(
      el(
        "section",
        { class: "round" },
        el("h3", {}, isWrite ? "Then, if the rows allow it" : "Then", el("small", {}, `${count(statements.length, "tablet")} · underlined: added by vtflow to stay within the workflow`)),
        el("ol", { class: "asks" }, ...list),
      ),
    );
  }
  if (CHANGES.has(kind) && plan.asks.some((ask) => ask.kind === "call")) {
    out.push(el("p", { class: "quiet" }, "These are the reads before the change. Which rows it would touch is in the tablets' answers: vtflow shows that with --dry-run, and here once the topology is this server's."));
  }
  if (!plan.asks.length && !refused && !statements.length) out.push(el("p", { class: "quiet" }, "Nothing would be asked."));
  return out;
}

function grouped(asks) {
  const rounds = new Map();
  for (const ask of asks) rounds.set(ask.round, [...(rounds.get(ask.round) ?? []), ask]);
  return rounds;
}
