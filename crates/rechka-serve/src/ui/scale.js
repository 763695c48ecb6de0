// Scales and ticks of plots, as pure functions.
const SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const STEPS = [
  1, 10, 100, SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE,
  15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY,
];

/** A linear scale from `[from, to]` to `[low, high]`. */
export function scale(from, to, low, high) {
  const span = to - from || 1;
  return (value) => low + ((value - from) / span) * (high - low);
}

/** Round values that enclose `[from, to]`, about `count` of them. */
export function ticks(from, to, count) {
  const rough = (to - from || Math.abs(to) || 1) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const first = Math.floor(from / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(to / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** Round moments within `[from, to]`, at most `most` of them, and whether they need seconds. */
export function moments(from, to, most) {
  const years = STEPS.at(-1) * Math.ceil((to - from) / STEPS.at(-1) / most);
  const step = STEPS.find((step) => (to - from) / step <= most) ?? years;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return { found, seconds: step < MINUTE };
}

/** Moves labels apart: given wished heights in order, the heights that keep `gap` and stay above `bottom`. */
export function apart(wished, gap, bottom) {
  const placed = [];
  for (const wish of wished) placed.push(Math.max(wish, (placed.at(-1) ?? -Infinity) + gap));
  for (let index = placed.length - 1, limit = bottom; index >= 0; index--, limit = placed[index + 1] - gap) {
    placed[index] = Math.min(placed[index], limit);
  }
  return placed;
}
