// Numbers of a trace as people read them.

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
export function told({ answer, words }) {
  if (words.outcome === "none") return "no answer in the trace";
  if (words.outcome === "missing") return `nothing there: ${answer.missing.node}`;
  return words.outcome === "ok" && words.bytes ? size(words.bytes) : words.text;
}
