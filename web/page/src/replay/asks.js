// Asks of a trace in the words of people: what was asked of whom, what came of it, how many bytes.

/** Who was asked: a tablet's alias, or a cell of the topology. */
export function whom(what) {
  if (what.tablet) return what.tablet.alias;
  return what.cell ?? "global";
}

/** What was asked, in a few words. */
export function subject(what) {
  switch (what.kind) {
    case "topo_get":
      return what.path;
    case "topo_range":
    case "topo_list":
      return what.prefix;
    case "topo_lock":
      return `lock ${what.path}`;
    case "topo_unlock":
      return "unlock";
    case "topo_put":
      return `write ${what.path}`;
    case "tablet_page":
      return what.path;
    default:
      return what.about?.subject || what.path.split("/").pop();
  }
}

/** The shard that a tablet call is for: `customer/-80`; empty for other asks. */
export function place(what) {
  return what.about?.shard ? `${what.about.keyspace}/${what.about.shard}` : "";
}

/** How an ask ended: `ok`, `missing`, `failed` or `none` (no answer). */
export function outcome(ask) {
  if (ask.answer === undefined || ask.answer === null) return "none";
  if (ask.answer.failed) return "failed";
  if (ask.answer.missing) return "missing";
  return "ok";
}

/** Bytes of an answer: what the tablet or the topology sent, without its framing. */
export function bytes(answer) {
  if (!answer || typeof answer === "string" || answer.failed || answer.missing) return 0;
  if (answer.range) return answer.range.reduce((sum, record) => sum + plainBytes(record.value), 0);
  return plainBytes(answer.called ?? answer.found?.value);
}

function plainBytes(plain) {
  if (!plain) return 0;
  if (plain.text !== undefined) return new TextEncoder().encode(plain.text).length;
  const { base64 } = plain;
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return (base64.length / 4) * 3 - padding;
}

/** Microseconds as people read them: `870 µs`, `12.4 ms`, `3.02 s`. */
export function time(us) {
  if (us === undefined || us === null) return "unknown";
  if (us < 1000) return `${us} µs`;
  if (us < 1_000_000) return `${(us / 1000).toFixed(us < 10_000 ? 2 : 1)} ms`;
  return `${(us / 1_000_000).toFixed(2)} s`;
}

/** Bytes as people read them: `812 B`, `14.2 kB`. */
export function size(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1_000_000) return `${(n / 1000).toFixed(1)} kB`;
  return `${(n / 1_000_000).toFixed(1)} MB`;
}

/** One sentence about what came of an ask. */
export function told(ask) {
  switch (outcome(ask)) {
    case "none":
      return "no answer in the trace";
    case "failed":
      return `${ask.answer.failed.message}`;
    case "missing":
      return `nothing there: ${ask.answer.missing.node}`;
    default:
      return `${size(bytes(ask.answer))}`;
  }
}
