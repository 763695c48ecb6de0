// The page of views: which there are, and one of them live.
import { moment, milliseconds, plotOf } from "./columns.js";
import { MOST_LINES, Plot } from "./plot.js";
import { Table } from "./table.js";

/** A larger view is not followed row by row: it must be filtered. */
const MOST_FOLLOWED = 10_000;
/** Moments of a plot, the last ones. */
const MOST_MOMENTS = 240;
/** Milliseconds between two drawings. */
const PACE = 250;

const $ = (id) => document.getElementById(id);
const element = (name, className = "", text = "") => Object.assign(document.createElement(name), { className, textContent: text });
const count = new Intl.NumberFormat("en");
const plural = (number, noun) => `${count.format(number)} ${noun}${number === 1 ? "" : "s"}`;

const table = new Table($("rows"));
const plot = new Plot($("plot"));
let views = [];
/** The view that is shown, and what is known of it. */
let shown = null;

function connection(state, text) {
  $("connection").dataset.state = state;
  $("connection").lastElementChild.textContent = text;
}

/** Whole numbers that a browser would round stay text: keys are made of them. */
const exact = (_, value, context) =>
  Number.isInteger(value) && !Number.isSafeInteger(value) ? (context?.source ?? value) : value;
const parse = (text) => JSON.parse(text, exact);

async function ask(address) {
  const response = await fetch(address);
  const body = parse(await response.text());
  if (!response.ok) throw new Error(body.error?.message ?? response.statusText);
  return body;
}

/** `#/name?column=value&…` */
function wanted() {
  const [name, query = ""] = location.hash.slice(2).split("?");
  return { name: decodeURIComponent(name ?? ""), query };
}

async function refresh() {
  try {
    ({ views } = await ask("/v1/views"));
  } catch {
    return connection("away", "Server not reached");
  }
  if (!shown) connection("ready", "Connected");
  drawList();
  show();
}

function drawList() {
  const focused = document.activeElement?.closest?.("#views a")?.getAttribute("href");
  $("views").replaceChildren(...views.map((view) => {
    const link = element("a");
    link.href = `#/${encodeURIComponent(view.name)}`;
    if (view.name === shown?.view.name) link.setAttribute("aria-current", "page");
    const head = element("span", "head");
    head.append(element("b", "", view.name));
    link.append(head, element("span", view.trouble ? "state bad" : "state", view.trouble ? "not ready" : plural(view.rows, "row")));
    const item = element("li");
    item.append(link);
    return item;
  }));
  if (focused) $("views").querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  $("nothing").hidden = views.length > 0;
}

/** Shows the view of the address, or the first. */
function show() {
  const { name, query } = wanted();
  const view = views.find((view) => view.name === name) ?? (name ? null : views[0]);
  if (!view) {
    close();
    $("view").hidden = !name || !views.length;
    $("name").textContent = "Not found";
    $("facts").textContent = `There is no view ${JSON.stringify(name)}.`;
    for (const id of ["figure", "filter", "trouble"]) $(id).hidden = true;
    $("rows").replaceChildren();
    return;
  }
  if (shown?.view.name === view.name && shown.query === query) {
    const before = JSON.stringify(shown.view.columns);
    shown.view = view;
    facts();
    // Made anew with other columns, it is another view.
    if (JSON.stringify(view.columns) === before) return;
  }
  open(view, query);
}

function close() {
  shown?.events?.close();
  clearTimeout(shown?.timer);
  shown = null;
  plot.clear();
}

function open(view, query) {
  close();
  const plan = plotOf(view);
  shown = { view, query, plan, rows: new Map(), fresh: new Set(), kind: null, timer: null };
  document.title = `${view.name} · Rechka`;
  $("view").hidden = $("filter").hidden = false;
  $("figure").hidden = true;
  $("name").textContent = view.name;
  $("wanted").value = [...new URLSearchParams(query)].map((pair) => pair.join("=")).join(", ");
  $("number").replaceChildren(...(plan?.measures ?? []).map((name) => element("option", "", name)));
  table.begin(view);
  facts();
  drawList();
  if (view.rows > MOST_FOLLOWED && !query) peek();
  else follow();
}

function facts() {
  const { view } = shown;
  const parts = [`key ${view.key.join(", ")}`, plural(view.rows, "row"), `${count.format(Math.ceil(view.bytes / 1024))} KiB`];
  if (view.lag) parts.push(`${plural(view.lag, "record")} behind`);
  $("facts").textContent = parts.join(" · ");
  $("trouble").hidden = !view.trouble;
  $("trouble").textContent = view.trouble ?? "";
}

const keyOf = (row) => JSON.stringify(shown.view.key.map((name) => row[name] ?? null));

/** A few rows of a large view. */
async function peek() {
  const mine = shown;
  const rows = await ask(`/v1/views/${encodeURIComponent(mine.view.name)}?limit=200`).catch(() => []);
  if (mine !== shown) return;
  mine.rows = new Map(rows.map((row) => [keyOf(row), row]));
  mine.large = true;
  draw();
}

/** A snapshot, and then every change of it. What belongs together is shown together. */
function follow() {
  const mine = shown;
  const query = mine.query ? `?${mine.query}` : "";
  const events = new EventSource(`/v1/views/${encodeURIComponent(mine.view.name)}/changes${query}`);
  mine.events = events;
  let parts = [];
  const take = ({ type, data }) => {
    const part = parse(data);
    parts.push({ type, ...part });
    if (part.more) return;
    const whole = parts;
    parts = [];
    if (type === "snapshot") mine.rows = new Map();
    for (const { type, rows = [], keys = [] } of whole) {
      keys.forEach((key) => mine.rows.delete(keyOf(key)));
      for (const row of rows) {
        const key = keyOf(row);
        mine.rows.set(key, row);
        if (type === "update") mine.fresh.add(key);
      }
    }
    mine.timer ??= setTimeout(() => {
      mine.timer = null;
      draw();
    }, type === "snapshot" ? 0 : PACE);
  };
  for (const type of ["snapshot", "update", "delete"]) events.addEventListener(type, take);
  events.onopen = () => {
    // Half of what was told before the connection broke is told again.
    parts = [];
    connection("ready", "Live");
  };
  events.onerror = async () => {
    connection("away", "Reconnecting");
    if (events.readyState !== EventSource.CLOSED) return;
    // Refused, and not asked again by itself: says why, and tries later.
    const reason = await fetch(events.url, { signal: AbortSignal.timeout(3000) })
      .then((response) => (response.ok ? null : response.json()))
      .then((body) => body?.error?.message, () => null);
    if (mine !== shown) return;
    $("trouble").hidden = !reason;
    $("trouble").textContent = reason ?? "";
    mine.timer ??= setTimeout(() => {
      mine.timer = null;
      if (mine === shown) follow();
    }, 3000);
  };
}

function draw() {
  const visible = table.draw(shown.rows, shown.fresh);
  shown.fresh = new Set();
  const total = shown.large ? shown.view.rows : shown.rows.size;
  const hint = shown.large ? ": filter to follow them live" : "";
  $("count").textContent = visible < total ? `${count.format(visible)} of ${plural(total, "row")}${hint}` : plural(total, "row");
  drawPlot();
}

function drawPlot() {
  const { plan } = shown;
  const series = plan && shown.rows.size && !shown.large ? seriesOf(plan, $("number").value) : [];
  $("figure").hidden = series.length === 0;
  if (!series.length) return plot.clear();
  const over = plan.time && (shown.kind ?? (plan.ranked || series.length > 2 * MOST_LINES ? "bars" : "lines")) === "lines";
  for (const button of document.querySelectorAll("[data-kind]")) {
    button.setAttribute("aria-pressed", String((button.dataset.kind === "lines") === Boolean(over)));
    button.disabled = !plan.time;
  }
  const notes = plan.flags.some((name) => [...shown.rows.values()].some((row) => row[name])) ? [`rings: ${plan.flags.join(" or ")}`] : [];
  if (over) {
    if (series.length > MOST_LINES) notes.push(`the ${MOST_LINES} largest of ${count.format(series.length)}`);
    notes.push("times are UTC");
    plot.lines(series.slice(0, MOST_LINES), $("number").value);
  } else {
    const latest = Math.max(...series.map(({ points }) => points.at(-1).at));
    const bars = series.map(({ name, points }) => ({ name, ...points.at(-1) })).filter(({ at }) => at === latest || !plan.time);
    bars.sort((a, b) => b.value - a.value);
    if (plan.time) notes.push(`${plan.time} ${moment(latest)} UTC`);
    plot.bars(bars, $("number").value);
  }
  $("plot-note").textContent = notes.join(" · ");
}

/** Lines by what the rows are about, the largest first; each point is a row. */
function seriesOf({ time, label, flags }, measure) {
  const moments = new Set();
  const lines = new Map();
  for (const row of shown.rows.values()) {
    const at = time ? milliseconds(row[time]) : 0;
    const value = Number(row[measure] ?? NaN);
    if (!Number.isFinite(at) || !Number.isFinite(value)) continue;
    moments.add(at);
    const name = label.map((column) => row[column] ?? "–").join(" · ");
    if (!lines.has(name)) lines.set(name, []);
    lines.get(name).push({ at, value, flagged: flags.some((flag) => row[flag]) });
  }
  const first = [...moments].sort((a, b) => b - a)[MOST_MOMENTS - 1] ?? -Infinity;
  return [...lines]
    .map(([name, points]) => ({ name, points: points.filter(({ at }) => at >= first).sort((a, b) => a.at - b.at) }))
    .filter(({ points }) => points.length)
    .map((line) => ({ ...line, size: line.points.reduce((sum, { value }) => sum + Math.abs(value), 0) }))
    .sort((a, b) => b.size - a.size || a.name.localeCompare(b.name));
}

$("number").onchange = () => drawPlot();
for (const button of document.querySelectorAll("[data-kind]")) {
  button.onclick = () => {
    shown.kind = button.dataset.kind;
    drawPlot();
  };
}
$("filter").onsubmit = (event) => {
  event.preventDefault();
  const pairs = $("wanted").value.split(",").map((pair) => pair.trim()).filter(Boolean).map((pair) => {
    const at = pair.indexOf("=");
    return at < 0 ? [pair, ""] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
  });
  const query = new URLSearchParams(pairs).toString();
  location.hash = `#/${encodeURIComponent(shown.view.name)}${query ? `?${query}` : ""}`;
};
addEventListener("hashchange", show);
setInterval(refresh, 3000);
refresh();
