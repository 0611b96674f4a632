// One row of a ranking: its cells, and what they say of an entry.

import { glow } from "./motion.js";

const numbers = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });

/** A score or a count as people read it; nobody reads "-0", which rounding makes. */
export const write = (number) => numbers.format(number + 0);

/** Makes an element: its properties, its children. */
export function make(tag, { dataset, attributes, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** What a movement is called: in signs and in words. `reference`: whether there are ranks of an hour ago at all. */
export function movementOf(movement, reference) {
  if (movement === null)
    return reference ? { signs: "new", words: "new", kind: "new" } : { signs: "", words: "", kind: "" };
  if (movement === 0) return { signs: "", words: "", kind: "" };
  const [sign, word, kind] = movement > 0 ? ["▲", "up", "rise"] : ["▼", "down", "fall"];
  return { signs: `${sign}${write(Math.abs(movement))}`, words: `${word} ${Math.abs(movement)}`, kind };
}

export class Row {
  #counters;
  #cells;
  entry = null;
  guess = null; // what a vote should lead to that no view shows yet: {score, up_votes, down_votes}
  buttons = null; // for voting, where one may: an element, and what renames it and says what is held

  constructor(item, counters, onSelect) {
    this.#counters = counters;
    const cells = {
      rank: make("span", { className: "medal" }),
      signs: make("span", { className: "arrow", attributes: { "aria-hidden": "true" } }),
      words: make("span", { className: "spoken" }),
      title: make(onSelect ? "button" : "span", { className: "title", dir: "auto" }),
      artist: make("span", { className: "artist", dir: "auto" }),
      score: document.createTextNode(""),
      bar: make("span", { className: "bar", attributes: { "aria-hidden": "true" } }),
      up: document.createTextNode(""),
      down: document.createTextNode(""),
    };
    if (onSelect) {
      cells.title.type = "button";
      cells.title.addEventListener("click", () => onSelect(this.entry, cells.title));
    }
    this.#cells = cells;
    this.element = this.#build(item, cells);
  }

  #build(item, { rank, signs, words, title, artist, score, bar, up, down }) {
    const cell = (className, ...children) => make("td", { className, role: "cell" }, ...children);
    const head = make("th", { className: "item", role: "rowheader", scope: "row" }, title, artist);
    return make(
      "tr",
      { role: "row", dataset: { item } },
      cell("rank", rank),
      cell("movement", signs, words),
      head,
      cell("share", bar),
      cell("votes up", up),
      cell("votes down", down),
      cell("score", score),
    );
  }

  /** Shows an entry. `lively` lets a change be seen to happen. */
  show(entry, reference, lively) {
    const { entry: old, guess } = this;
    this.entry = entry;
    this.guess = null;
    const { rank, signs, words, title, artist } = this.#cells;
    if (entry.rank !== old?.rank || entry.score > 0 !== old?.score > 0) {
      rank.textContent = write(entry.rank);
      this.element.dataset.medal = entry.score > 0 && entry.rank <= 3 ? entry.rank : "";
    }
    if (entry.movement !== old?.movement || !old) {
      const told = movementOf(entry.movement, reference);
      signs.textContent = told.signs;
      words.textContent = told.words;
      signs.dataset.kind = told.kind;
    }
    if (entry.title !== old?.title || entry.artist !== old?.artist || !old) {
      title.textContent = title.title = entry.title ?? entry.item;
      artist.textContent = entry.artist ?? "";
      this.buttons?.rename(title.textContent);
    }
    // Most rows that change have only been passed by others.
    if (
      guess ||
      !old ||
      entry.score !== old.score ||
      entry.up_votes !== old.up_votes ||
      entry.down_votes !== old.down_votes
    )
      this.#count(entry, old, lively);
  }

  /** Shows what a vote should lead to, `pending` while that is not sure; with null what is known. */
  suppose(guess, pending = false) {
    this.guess = guess;
    this.#count(guess ?? this.entry, this.entry, false);
    this.element.classList.toggle("pending", pending);
  }

  /** Puts voting buttons into the row, or takes them out with null. */
  vote(buttons) {
    this.buttons?.element.remove();
    this.buttons = buttons;
    if (!buttons) return;
    buttons.rename(this.#cells.title.textContent);
    this.element.append(buttons.element);
  }

  #count({ score, up_votes: up, down_votes: down }, old, lively) {
    const { score: node, bar } = this.#cells;
    this.element.classList.remove("pending");
    if (lively && old && old.score !== score) {
      this.#counters.count(node, old.score, score, write);
      glow(this.element, score > old.score);
    } else {
      this.#counters.set(node, score, write);
    }
    this.#cells.up.data = write(up);
    this.#cells.down.data = write(down);
    bar.style.setProperty("--up", up + down ? up / (up + down) : 0.5);
    bar.classList.toggle("none", up + down === 0);
  }
}
