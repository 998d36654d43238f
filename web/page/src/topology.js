// Topology records out of a trace: what its asks found.

/** `[{cell, path, version, value}]`, each once. */
export function recordsOf(trace) {
  const records = new Map();
  const add = (cell, path, version, value) => records.set(`${cell}:${path}`, { cell, path, version, value });
  for (const { what, answer } of trace.asks) {
    if (answer?.found && what.kind === "topo_get") add(what.cell, what.path, answer.found.version, answer.found.value);
    if (answer?.range && what.kind === "topo_range") {
      for (const record of answer.range) add(what.cell, record.path, record.version, record.value);
    }
  }
  return [...records.values()];
}

/** The keyspaces in records. */
export const keyspacesOf = (records) =>
  [...new Set(records.map(({ path }) => path.match(/^keyspaces\/([^/]+)\//)?.[1]).filter(Boolean))].sort();
