// The ranking as a table whose rows move to their new places.

const GLIDE = { duration: 350, easing: "cubic-bezier(0.2, 0.7, 0.2, 1)" };
const numbers = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export class RankingTable {
  #body;
  #template;
  #rows = new Map();

  /** `body` is the table's body, `template` holds one row of it. */
  constructor(body, template) {
    this.#body = body;
    this.#template = template;
  }

  /** Shows these entries, which are in ranking order. */
  show(entries) {
    const moves = entries.some(({ item }, place) => this.#body.rows[place] !== this.#rows.get(item));
    const before = moves && !stillness.matches ? this.#places() : new Map();
    this.#forget(entries);
    entries.forEach((entry, place) => {
      const row = this.#rowOf(entry.item);
      fill(row, entry);
      if (this.#body.rows[place] !== row) this.#body.insertBefore(row, this.#body.rows[place] ?? null);
    });
    if (before.size) this.#glide(before);
  }

  #rowOf(item) {
    let row = this.#rows.get(item);
    if (!row) {
      row = this.#template.content.firstElementChild.cloneNode(true);
      row.dataset.item = item;
      this.#rows.set(item, row);
    }
    return row;
  }

  #forget(entries) {
    const kept = new Set(entries.map(({ item }) => item));
    for (const [item, row] of this.#rows) {
      if (kept.has(item)) continue;
      row.remove();
      this.#rows.delete(item);
    }
  }

  #places() {
    return new Map([...this.#rows].map(([item, row]) => [item, row.getBoundingClientRect().top]));
  }

  /** Lets each row start where it was. All places are read before anything is written, so the layout is done once. */
  #glide(before) {
    const after = this.#places();
    for (const [item, top] of after) {
      const way = before.get(item) - top;
      if (way) this.#rows.get(item).animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], GLIDE);
    }
  }
}

function fill(row, { item, rank, movement, title, artist, score, up_votes: up, down_votes: down }) {
  write(row, ".rank", numbers.format(rank));
  write(row, ".arrow", arrow(movement));
  write(row, ".movement .spoken", spoken(movement));
  write(row, ".title", title ?? item);
  write(row, ".artist", artist ?? "");
  write(row, ".score", numbers.format(score));
  write(row, ".up", numbers.format(up));
  write(row, ".down", numbers.format(down));
}

function write(row, selector, text) {
  const cell = row.querySelector(selector);
  if (cell.textContent !== text) cell.textContent = text;
}

function arrow(movement) {
  return movement ? `${movement > 0 ? "▲" : "▼"}${Math.abs(movement)}` : "";
}

function spoken(movement) {
  return movement ? `${movement > 0 ? "up" : "down"} ${Math.abs(movement)}` : "";
}
