// A diagnosis as people read it, in the planner's words: trouble first, with the ways out as commands to copy; then what is well, and what nobody
// has looked at.

import { copied, el } from "./dom.js";

/** What stands before the summary: colour never carries meaning alone. */
const SIGNS = { healthy: "✓", deviations: "✗", could_not_look: "?" };

/** Lines with their labels: one label for all lines that have it. */
function labelled(lines) {
  const rows = lines.flatMap(([label, text], at) => [el("dt", {}, at > 0 && lines[at - 1][0] === label ? "" : label), el("dd", {}, text)]);
  return el("dl", { class: "record" }, ...rows);
}

const way = ({ why, command }) => el("div", { class: "way" }, el("span", { class: "subject" }, why), el("code", { class: "statement" }, command), copied(command));

function part({ heading, keyspace, workflow, deviations, lines }, links) {
  const name = workflow && links ? el("p", {}, ...links(keyspace, workflow)) : null;
  const wrong = deviations.map((it) =>
    el("section", {}, el("h4", { class: "note" }, it.heading), labelled(it.lines), ...(it.commands ?? []).map(way)),
  );
  return el("section", { class: `workflow${deviations.length ? " trouble" : ""}` }, el("h3", {}, heading), name, ...wrong, lines.length ? labelled(lines) : null);
}

/**
 * @param {object} found the planner's diagnosis
 * @param {(keyspace: string, workflow: string) => Node[]} [links] to more of a workflow; none where there is no cluster
 */
export function diagnosis({ verdict, summary, parts, well, notes }, links) {
  return [
    el("p", { class: `verdict ${verdict}` }, `${SIGNS[verdict]} ${summary}`),
    ...parts.map((of) => part(of, links)),
    well.length ? el("h3", {}, "Looked at, and well") : null,
    well.length ? el("ul", { class: "plain" }, ...well.map((text) => el("li", {}, text))) : null,
    notes.length ? el("ul", { class: "plain quiet" }, ...notes.map((text) => el("li", {}, text))) : null,
  ].filter(Boolean);
}
