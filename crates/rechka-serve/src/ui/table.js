// The rows of a view as a table.
import { kindOf, milliseconds, written } from "./columns.js";

/** Rows shown; the rest is counted. */
const MOST_ROWS = 200;

const element = (name, className = "", text = "") => Object.assign(document.createElement(name), { className, textContent: text });

export class Table {
  constructor(place) {
    this.place = place;
  }

  /** Begins with a view: its newest rows first where it has a time, else by key. */
  begin(view) {
    this.columns = view.columns.map(({ name, type }) => ({ name, kind: kindOf(type) }));
    const time = this.columns.find(({ kind, name }) => kind === "time" && view.key.includes(name)) ?? null;
    this.sort = time ? { name: time.name, down: true } : null;
    this.head = element("thead");
    this.body = element("tbody");
    this.place.replaceChildren(this.head, this.body);
    this.drawHead();
  }

  drawHead() {
    const cells = this.columns.map(({ name, kind }) => {
      const cell = element("th", kind);
      cell.scope = "col";
      const button = element("button", "", name);
      button.type = "button";
      button.onclick = () => {
        this.sort = { name, down: this.sort?.name === name ? !this.sort.down : kind === "number" };
        this.drawHead();
        this.draw(this.rows, new Set());
      };
      if (this.sort?.name === name) cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      cell.append(button);
      return cell;
    });
    const row = element("tr");
    row.append(...cells);
    this.head.replaceChildren(row);
  }

  /** Shows rows, a map by key; those in `fresh` have just changed. Returns how many are shown. */
  draw(rows, fresh) {
    this.rows = rows;
    const shown = this.sorted([...rows]).slice(0, MOST_ROWS);
    this.body.replaceChildren(...shown.map(([key, row]) => {
      const line = element("tr", fresh.has(key) ? "fresh" : "");
      line.append(...this.columns.map(({ name, kind }) => {
        const value = row[name];
        const cell = element("td", value === null || value === undefined ? `${kind} null` : kind, written(kind, value));
        if (kind === "time" || cell.textContent.length > 40) cell.title = String(value);
        return cell;
      }));
      return line;
    }));
    return shown.length;
  }

  sorted(entries) {
    if (!this.sort) return entries;
    const { name, down } = this.sort;
    const { kind } = this.columns.find((column) => column.name === name);
    const rank = kind === "time" ? (row) => milliseconds(row[name]) : (row) => row[name] ?? null;
    const compare = (a, b) => {
      if (a === null || b === null || a !== a || b !== b) return (b !== null && b === b) - (a !== null && a === a);
      const order = a < b ? -1 : a > b ? 1 : 0;
      return down ? -order : order;
    };
    return entries.map((entry) => [rank(entry[1]), entry]).sort(([a], [b]) => compare(a, b)).map(([, entry]) => entry);
  }
}
