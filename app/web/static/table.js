// The ranking as a table whose rows move to their new places.

import { Counters, glide, moves } from "./motion.js";
import { stayers } from "./order.js";
import { make, Row, write } from "./row.js";

const COLUMNS = [
  ["rank", "Rank", "#"],
  ["movement", "Movement in an hour", ""],
  ["item", "Title"],
  ["share", "Share of up votes", ""],
  ["votes up", "Up"],
  ["votes down", "Down"],
  ["score", "Score"],
];
const MARGIN = 2; // rows beyond either edge of the window whose changes are still seen to happen

/**
 * Shows views of a board, one per frame at most. `onSelect(entry, button)` is called when a title is pressed, where
 * it is given; `onRow(row)` with every new row.
 */
export class RankingTable {
  #table;
  #body = make("tbody", { attributes: { role: "rowgroup" } });
  #head;
  #rows = new Map();
  #order = [];
  #view = null;
  #reference = false;
  #frame = 0;
  #height = 0; // of a row, in pixels
  #top = 0; // where the first row stands in the window
  #digits = ""; // for which there is room
  #counters = new Counters();
  #onSelect;
  #onRow;

  constructor(table, { caption, onSelect = null, onRow = () => {} }) {
    this.#table = table;
    this.#onSelect = onSelect;
    this.#onRow = onRow;
    const cells = COLUMNS.map(([className, name, sign]) => {
      const words = make("span", { className: sign === undefined ? "" : "spoken", textContent: name });
      const seen = sign ? [make("span", { textContent: sign, attributes: { "aria-hidden": "true" } })] : [];
      return make("th", { className, scope: "col", role: "columnheader" }, words, ...seen);
    });
    this.#head = make("tr", { attributes: { role: "row" } }, ...cells);
    // A grid in place of a table's layout lets rows off the screen cost nothing, but takes the roles away.
    table.setAttribute("role", "table");
    table.replaceChildren(
      make("caption", { className: "spoken", textContent: caption }),
      make("thead", { attributes: { role: "rowgroup" } }, this.#head),
      this.#body,
    );
    this.#keepMeasured();
  }

  /** The row of an item, undefined where it is not shown. */
  row(item) {
    return this.#rows.get(item);
  }

  /** All rows. */
  rows() {
    return this.#rows.values();
  }

  /** Adds a heading for a column at the end, or takes it away with null. */
  extra(name) {
    this.#head.querySelector(".extra")?.remove();
    if (!name) return;
    const words = make("span", { className: "spoken", textContent: name });
    this.#head.append(make("th", { className: "extra", scope: "col", role: "columnheader" }, words));
  }

  /** Shows votes as such, without up and down, where a board takes no votes against. */
  set oneSided(one) {
    this.#table.classList.toggle("one-sided", one);
    this.#head.querySelector(".up span").textContent = one ? "Votes" : "Up";
  }

  /** Shows a view with the next frame. Whatever came before it and was not shown yet never is. */
  show(view) {
    this.#view = view;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render(this.#view);
    });
  }

  /** Empties the table. */
  clear() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#rows.clear();
    this.#order = [];
    this.#body.replaceChildren();
  }

  #render({ entries, total }) {
    const seen = this.#order.length && moves() ? this.#seen() : { first: 1, last: 0, height: 0 };
    const isSeen = (place) => place >= seen.first && place <= seen.last;
    const before = new Map(this.#order.map((item, place) => [item, place]));
    const reference = entries.some(({ movement }) => movement !== null);
    const anew = reference !== this.#reference;
    this.#reference = reference;
    this.#forget(entries);
    entries.forEach((entry, place) => {
      const row = this.#rowOf(entry.item);
      if (row.entry === entry && !anew) return;
      if (anew) row.entry = row.entry && { ...row.entry, movement: undefined };
      row.show(entry, reference, isSeen(place));
    });
    this.#fit(entries);
    this.#arrange(entries, before);
    this.#order = entries.map(({ item }) => item);
    this.#table.setAttribute("aria-rowcount", total + 1);
    this.#order.forEach((item, place) => {
      const way = (before.get(item) ?? place) - place;
      if (way && (isSeen(place) || isSeen(place + way))) this.#move(item, way, seen);
    });
  }

  /** Makes room for the longest numbers. */
  #fit(entries) {
    let [score, votes, hundredths] = [0, 0, 0];
    for (const entry of entries) {
      // A sign takes the room of a digit.
      score = Math.max(score, entry.score < 0 ? -10 * entry.score : entry.score);
      votes = Math.max(votes, entry.up_votes, entry.down_votes);
      if (!Number.isInteger(entry.score)) hundredths = ".00".length;
    }
    const digits = [write(Math.trunc(score)).length + hundredths, write(votes).length];
    if (this.#digits === `${digits}`) return;
    this.#digits = `${digits}`;
    this.#table.style.setProperty("--score-digits", digits[0]);
    this.#table.style.setProperty("--votes-digits", digits[1]);
  }

  /**
   * Measures when something was scrolled or laid out, which is when it costs nothing. To ask while a view is shown
   * would make the browser lay out what the frame has changed so far, and then once more.
   */
  #keepMeasured() {
    const measure = () => {
      this.#height = this.#body.firstElementChild?.offsetHeight ?? 0;
      this.#top = this.#body.getBoundingClientRect().top;
    };
    const observer = new ResizeObserver(measure);
    observer.observe(this.#table);
    observer.observe(document.documentElement);
    addEventListener("scroll", () => this.#table.isConnected && measure(), { capture: true, passive: true });
  }

  /** Which places are on the screen. */
  #seen() {
    if (!this.#height) return { first: 1, last: 0, height: 0 };
    const first = Math.floor(-this.#top / this.#height) - MARGIN;
    return { first, last: first + Math.ceil(innerHeight / this.#height) + 2 * MARGIN, height: this.#height };
  }

  #move(item, way, { first, last, height }) {
    const row = this.#rows.get(item).element;
    // Who comes from far away comes from the edge of the screen.
    const farthest = last - first;
    glide(row, Math.max(-farthest, Math.min(farthest, way)) * height);
  }

  #rowOf(item) {
    let row = this.#rows.get(item);
    if (!row) {
      row = new Row(item, this.#counters, this.#onSelect);
      this.#rows.set(item, row);
      this.#onRow(row, item);
    }
    return row;
  }

  #forget(entries) {
    const kept = new Set(entries.map(({ item }) => item));
    for (const [item, row] of this.#rows) {
      if (kept.has(item)) continue;
      row.element.remove();
      this.#rows.delete(item);
    }
  }

  /** Brings the rows into order, moving as few as can be: a row that is moved loses its focus, and costs layout. */
  #arrange(entries, before) {
    const known = entries.filter(({ item }) => before.has(item));
    const kept = stayers(known.map(({ item }) => before.get(item)));
    const staying = new Set([...kept].map((index) => known[index].item));
    const focused = this.#body.contains(document.activeElement) ? document.activeElement : null;
    let next = null;
    for (let place = entries.length - 1; place >= 0; place -= 1) {
      const { element } = this.#rows.get(entries[place].item);
      if (!staying.has(entries[place].item)) this.#body.insertBefore(element, next);
      next = element;
    }
    if (focused && document.activeElement !== focused) focused.focus({ preventScroll: true });
    entries.forEach(({ item }, place) => {
      if (before.get(item) !== place) this.#rows.get(item).element.setAttribute("aria-rowindex", place + 2);
    });
  }
}
