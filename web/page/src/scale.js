// Numbers to places: the little that two pictures need.

/** From 0..max to 0..size. */
export const linear = (max, size) => (value) => (max > 0 ? (value / max) * size : 0);

/** From 0..max to low..high, small numbers told apart as well as large ones. */
export const logarithmic = (max, low, high) => (value) => low + ((high - low) * Math.log1p(Math.max(value, 0))) / Math.log1p(Math.max(max, 1));

/** About `count` round numbers from 0 to max. */
export function ticks(max, count) {
  const rough = max / count;
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1e-9)));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const all = [];
  for (let at = 0; at < max; at += step) all.push(at);
  return all;
}
