// The picture of a workflow: source shards on the left, target shards on the right, each as high as the part of the key range
// that it owns, and a band for each stream.
//
// A band's colour and dash say its state, its thickness how many rows it has copied; its label, the planner's, says all of it in words.

import { svg } from "../dom.js";
import { logarithmic } from "../scale.js";

const WIDTH = 640;
const LANE = 128;
const GAP = 6;
const KEYSPACE = 26;

/**
 * @param {object} drawn the planner's `Picture`
 * @param {(band: object) => void} onOpen called with the band that was chosen
 */
export function picture(drawn, onOpen) {
  const tallest = Math.max(drawn.sources.length, drawn.targets.length, 1);
  const height = Math.min(Math.max(tallest * 44, 120), 900);
  const sources = column(drawn.sources, height);
  const targets = column(drawn.targets, height);
  const full = Math.max(sources.height, targets.height);
  const root = svg("svg", {
    class: "picture",
    viewBox: `0 0 ${WIDTH} ${full}`,
    role: "group",
    "aria-label": `${drawn.bands.length} streams from ${drawn.sources.length} to ${drawn.targets.length} shards`,
  });
  root.append(...bands(drawn, sources.places, targets.places, onOpen));
  root.append(...lanes(drawn.sources, sources, 0), ...lanes(drawn.targets, targets, WIDTH - LANE));
  return root;
}

/** Where each lane is: keyspaces one below the other, in each the key range from top to bottom. */
function column(all, height) {
  const places = [];
  const heads = [];
  let top = 0;
  for (const keyspace of [...new Set(all.map((lane) => lane.keyspace))]) {
    heads.push({ keyspace, y: top + 16 });
    top += KEYSPACE;
    const mine = all.filter((lane) => lane.keyspace === keyspace);
    const share = height * (mine.length / all.length);
    // Shards that overlap (a reshard in one keyspace) cannot share a place: then each gets the same height.
    const doOverlap = mine.some((lane, at) => at > 0 && lane.from < mine[at - 1].to - 1e-9);
    mine.forEach((lane, at) => {
      const [from, to] = doOverlap ? [at / mine.length, (at + 1) / mine.length] : [lane.from, lane.to];
      places[all.indexOf(lane)] = { y: top + from * share, height: Math.max((to - from) * share - GAP, 18) };
    });
    // A lane is never lower than its label: the ones below move down.
    const ordered = mine.map((lane) => places[all.indexOf(lane)]);
    ordered.reduce((floor, spot) => {
      spot.y = Math.max(spot.y, floor);
      return spot.y + spot.height + GAP;
    }, top);
    const last = ordered.at(-1);
    top = last ? last.y + last.height + GAP : top;
  }
  return { places, heads, height: Math.max(top, KEYSPACE) };
}

function lanes(all, { places, heads }, x) {
  const names = heads.map(({ keyspace, y }) => svg("text", { class: "keyspace", x: x + LANE / 2, y }, keyspace || "unknown"));
  const boxes = all.map((lane, at) => {
    const { y, height } = places[at];
    return svg(
      "g",
      { class: "lane" },
      svg("rect", { x, y, width: LANE, height, rx: 4 }),
      svg("text", { x: x + LANE / 2, y: y + height / 2 + 5 }, lane.shard),
    );
  });
  return [...names, ...boxes];
}

function bands(drawn, sources, targets, onOpen) {
  const most = Math.max(1, ...drawn.bands.map((band) => band.rows_copied));
  const thickness = logarithmic(most, 4, 16);
  const used = { source: new Map(), target: new Map() };
  const count = { source: new Map(), target: new Map() };
  for (const band of drawn.bands) {
    count.source.set(band.source, (count.source.get(band.source) ?? 0) + 1);
    count.target.set(band.target, (count.target.get(band.target) ?? 0) + 1);
  }
  // Bands of one lane leave it one below the other.
  const port = (side, at, spot) => {
    const nth = used[side].get(at) ?? 0;
    used[side].set(at, nth + 1);
    return spot.y + (spot.height * (nth + 1)) / (count[side].get(at) + 1);
  };
  return drawn.bands.map((band) => {
    const to = targets[band.target];
    const y2 = port("target", band.target, to);
    // Nobody knows where it reads: a stub at its target.
    const isKnown = band.source !== undefined && band.source !== null;
    const x1 = isKnown ? LANE : WIDTH - LANE - 60;
    const y1 = isKnown ? port("source", band.source, sources[band.source]) : y2;
    const x2 = WIDTH - LANE;
    const middle = (x1 + x2) / 2;
    const d = `M${x1},${y1}C${middle},${y1} ${middle},${y2} ${x2},${y2}`;
    const { label } = band;
    const group = svg(
      "g",
      { class: `band ${band.state.toLowerCase()}`, tabindex: 0, role: "button", "aria-label": label },
      svg("title", {}, label),
      svg("path", { class: "hit", d }),
      svg("path", { class: "line", d, "stroke-width": thickness(band.rows_copied) }),
    );
    group.addEventListener("click", () => onOpen(band));
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      onOpen(band);
    });
    return group;
  });
}
