// Plots: lines over time, or bars of the latest. Plain SVG.
import { moment, number } from "./columns.js";
import { apart, moments, scale, ticks } from "./scale.js";

/** Lines that can be told apart. */
export const MOST_LINES = 8;
const MOST_BARS = 12;
const HEIGHT = 300;

/** One mark for each line, so that colour is not all that tells them apart; around 0, about 8 wide. */
const MARKS = [
  "M4,0A4,4 0 1 1 -4,0A4,4 0 1 1 4,0Z", "M-3.6,-3.6H3.6V3.6H-3.6Z", "M0,-4.8L4.6,3.4H-4.6Z", "M0,-5L4.4,0L0,5L-4.4,0Z",
  "M0,4.8L4.6,-3.4H-4.6Z", "M-4.6,-1.6H-1.6V-4.6H1.6V-1.6H4.6V1.6H1.6V4.6H-1.6V1.6H-4.6Z", "M-2.4,-4.4H2.4L4.6,0L2.4,4.4H-2.4L-4.6,0Z",
  "M0,-5L1.4,-1.5L5,-1.2L2.2,1.1L3.1,4.7L0,2.7L-3.1,4.7L-2.2,1.1L-5,-1.2L-1.4,-1.5Z",
];

function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function html(name, className, ...children) {
  const node = document.createElement(name);
  node.className = className;
  node.append(...children);
  return node;
}

const key = (index) => svg("svg", { class: `key series-${index}`, viewBox: "-7 -7 14 14", "aria-hidden": "true" }, svg("path", { class: "mark", d: MARKS[index] }));
const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

export class Plot {
  constructor(place) {
    this.place = place;
    new ResizeObserver(() => this.redraw?.()).observe(place);
  }

  clear() {
    this.redraw = null;
    this.place.replaceChildren();
  }

  /** `series`: `{ name, points: [{ at, value, flagged }] }`, points by time. */
  lines(series, title) {
    this.redraw = () => this.drawLines(series, title);
    this.redraw();
  }

  /** `bars`: `{ name, value, flagged }`, largest first. */
  bars(bars, title) {
    this.redraw = () => this.drawBars(bars, title);
    this.redraw();
  }

  drawLines(series, title) {
    const width = this.place.clientWidth;
    if (!width) return;
    const all = series.flatMap(({ points }) => points);
    const times = [...new Set(all.map(({ at }) => at))].sort((a, b) => a - b);
    const values = all.map(({ value }) => value);
    const levels = ticks(Math.min(0, ...values), Math.max(0, ...values), 4);
    const beside = series.length > 1 && width >= 620;
    const left = 12 + 7 * Math.max(...levels.map((level) => number(level).length));
    const names = 34 + 7 * Math.min(18, Math.max(...series.map(({ name }) => name.length)));
    const [top, right, bottom] = [12, width - (beside ? names : 14), HEIGHT - 26];
    const x = times.length > 1 ? scale(times[0], times.at(-1), left, right) : () => (left + right) / 2;
    const y = scale(levels[0], levels.at(-1), bottom, top);

    const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", tabindex: "0", "aria-label": `${title} over time: ${series.map(({ name }) => name).filter(Boolean).join(", ") || "one line"}, ${times.length} points in time. The table below has the numbers.` });
    for (const level of levels) {
      picture.append(svg("line", { class: "grid", x1: left, x2: right, y1: y(level), y2: y(level) }));
      picture.append(svg("text", { x: left - 8, y: y(level) + 4, "text-anchor": "end" }, number(level)));
    }
    // A day beside the clock takes more room.
    const room = moment(times[0], false).length > 8 ? 140 : 75;
    const { found, seconds } = moments(times[0], times.at(-1), Math.max(2, (right - left) / room));
    for (const at of found) picture.append(svg("text", { x: x(at), y: HEIGHT - 6, "text-anchor": "middle" }, moment(at, seconds)));

    series.forEach(({ points }, index) => {
      const path = points.map(({ at, value }, i) => `${i ? "L" : "M"}${x(at).toFixed(1)},${y(value).toFixed(1)}`).join("");
      const group = svg("g", { class: `series-${index}` });
      if (series.length === 1 && points.length > 1) {
        group.append(svg("path", { class: "area", d: `${path}L${x(points.at(-1).at)},${y(0)}L${x(points[0].at)},${y(0)}Z` }));
      }
      group.append(svg("path", { class: "line", d: path }));
      // Marks that would touch each other say nothing: only some of them then, and always the last.
      const every = Math.max(1, Math.ceil((points.length * 16) / (right - left)));
      points.forEach(({ at, value, flagged }, i) => {
        const place = `translate(${x(at).toFixed(1)},${y(value).toFixed(1)})`;
        if (flagged || (points.length - 1 - i) % every === 0) group.append(svg("path", { class: "mark", d: MARKS[index], transform: place }));
        if (flagged) group.append(svg("circle", { class: "flag", r: 9, transform: place }));
      });
      picture.append(group);
    });

    const parts = [picture];
    if (beside) {
      const ends = series.map(({ name, points }, index) => ({ name, index, wish: y(points.at(-1).value) })).sort((a, b) => a.wish - b.wish);
      const heights = apart(ends.map(({ wish }) => wish), 17, bottom);
      ends.forEach(({ name, index }, i) => {
        picture.append(svg("g", { class: `series-${index}`, transform: `translate(${right + 16},${heights[i]})` }, svg("path", { class: "mark", d: MARKS[index] }), svg("text", { class: "label", x: 11, y: 4 }, shorten(name, 18))));
      });
    } else if (series.length > 1) {
      parts.push(html("ul", "legend", ...series.map(({ name }, index) => html("li", "", key(index), shorten(name, 24)))));
    }
    this.place.replaceChildren(...parts);
    this.point(picture, series, times, { x, top, bottom, title });
  }

  /** Shows the numbers of the moment that is pointed at, or reached with the arrow keys. */
  point(picture, series, times, { x, top, bottom, title }) {
    const cross = svg("line", { class: "cross", y1: top, y2: bottom, visibility: "hidden" });
    picture.append(cross);
    const tip = html("div", "tip");
    tip.hidden = true;
    this.place.append(tip);
    const show = (index) => {
      this.at = times[index];
      const rows = series.map(({ name, points }, i) => ({ name, i, point: points.find(({ at }) => at === this.at) })).filter(({ point }) => point);
      rows.sort((a, b) => b.point.value - a.point.value);
      const items = rows.map(({ name, i, point }) => html("li", "", key(i), html("span", "", name || title), html("span", "", number(point.value))));
      tip.replaceChildren(html("b", "", `${moment(this.at)} UTC`), html("ul", "", ...items));
      tip.hidden = false;
      const place = x(this.at);
      tip.style.left = `${place > this.place.clientWidth / 2 ? place - tip.offsetWidth - 12 : place + 12}px`;
      for (const end of ["x1", "x2"]) cross.setAttribute(end, place);
      cross.setAttribute("visibility", "visible");
    };
    const hide = () => {
      this.at = null;
      tip.hidden = true;
      cross.setAttribute("visibility", "hidden");
    };
    picture.onpointermove = ({ offsetX }) => {
      const distances = times.map((at) => Math.abs(x(at) - offsetX));
      show(distances.indexOf(Math.min(...distances)));
    };
    picture.onpointerleave = picture.onblur = hide;
    picture.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const now = times.indexOf(this.at);
      show(Math.min(times.length - 1, Math.max(0, now < 0 ? times.length - 1 : now + step)));
    };
    // What is drawn anew goes on being pointed at.
    if (times.includes(this.at)) show(times.indexOf(this.at));
  }

  drawBars(bars, title) {
    const width = this.place.clientWidth;
    if (!width) return;
    this.at = null;
    const shown = bars.slice(0, MOST_BARS);
    const step = 26;
    const left = Math.min(width * 0.4, 16 + 7 * Math.max(...shown.map(({ name }) => Math.min(28, name.length))));
    const values = shown.map(({ value }) => value);
    const x = scale(Math.min(0, ...values), Math.max(0, ...values), left, width - 80);
    const height = shown.length * step;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${title}: ${shown.map(({ name, value }) => `${name} ${number(value)}`).join(", ")}` });
    shown.forEach(({ name, value, flagged }, index) => {
      const middle = index * step + step / 2;
      const end = Math.max(x(0), x(value));
      picture.append(svg("text", { class: "label", x: left - 10, y: middle + 4, "text-anchor": "end" }, shorten(name, 28)));
      picture.append(svg("rect", { class: "bar", x: Math.min(x(0), x(value)), y: index * step + 4, width: Math.max(1, Math.abs(x(value) - x(0))), height: step - 8, rx: 3 }));
      picture.append(svg("text", { x: end + 8, y: middle + 4 }, number(value)));
      if (flagged) picture.append(svg("circle", { class: "flag", r: 6, cx: width - 12, cy: middle }));
    });
    this.place.replaceChildren(picture);
  }
}
