// What the columns of a view are, and how their values are written for people.
const NUMBER = /INT|DOUBLE|REAL|DECIMAL|Float/i;
const numbers = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** `time`, `number`, `flag` or `text`. */
export function kindOf(type) {
  if (/^(TIMESTAMP|DATE)/.test(type)) return "time";
  if (type === "BOOLEAN") return "flag";
  return NUMBER.test(type) ? "number" : "text";
}

/** A time as milliseconds; what says no zone is UTC. */
export function milliseconds(value) {
  if (value === null || value === undefined) return NaN;
  const text = String(value).replace(" ", "T");
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(text) || !text.includes("T") ? text : `${text}Z`);
}

export function number(value) {
  return value !== 0 && Math.abs(value) < 0.01 ? small.format(value) : numbers.format(value);
}

/** A moment in UTC: its day only where that is not today. */
export function moment(at, seconds = true) {
  if (!Number.isFinite(at)) return "";
  const text = new Date(at).toISOString();
  const clock = text.slice(11, seconds ? 19 : 16);
  return text.slice(0, 10) === new Date().toISOString().slice(0, 10) ? clock : `${text.slice(0, 10)} ${clock}`;
}

/** A value as text. */
export function written(kind, value) {
  if (value === null || value === undefined) return "–";
  if (kind === "time") {
    const at = milliseconds(value);
    return Number.isFinite(at) ? moment(at) : String(value);
  }
  if (kind === "number" && typeof value === "number") return number(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** How a view may be plotted; `null`: it has no number that is not part of its key. */
export function plotOf(view) {
  const kind = Object.fromEntries(view.columns.map(({ name, type }) => [name, kindOf(type)]));
  const names = view.columns.map(({ name }) => name);
  const isKey = (name) => view.key.includes(name);
  const isName = (name) => kind[name] === "text" || /(^|_)id$/.test(name);
  const measures = names.filter((name) => kind[name] === "number" && !isKey(name) && !isName(name));
  if (!measures.length) return null;
  // What the view is named after comes first.
  measures.sort((a, b) => view.name.includes(b) - view.name.includes(a));
  const times = ["window_start", "window_end", ...view.key];
  const time = times.find((name) => kind[name] === "time") ?? null;
  const keys = view.key.filter((name) => kind[name] !== "time");
  const ranked = keys.some((name) => /^(rank|rn|row_number|position|place)$/.test(name));
  const others = names.filter((name) => isName(name) && !isKey(name));
  // A place in a list is no name: then the row's other columns say what it is.
  const label = ranked && others.length ? others : keys;
  return { time, measures, label, ranked, flags: names.filter((name) => kind[name] === "flag") };
}
