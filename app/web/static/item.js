// One item, wherever it stands: its place among its neighbours, its past, and what is said about it.

import "./chart.js";
import { part, Problem } from "./api.js";
import { Past, SPANS } from "./past.js";
import { ago } from "./pulse.js";
import { make, movementOf, write } from "./row.js";
import { catalogued } from "./search.js";
import { RankingTable } from "./table.js";

const NEIGHBOURS = 3;
const COMMENTS = 10;
const REFRESH = 3_000; // ms between two looks for new comments at least
const REDRAW = 2_000; // ms between two drawings of the chart at least

/** Fills the panel that stands in the page as `<plaudit-item>`. */
export class PlauditItem extends HTMLElement {
  #api;
  #connection;
  #board;
  #feed = null;
  #past = null;
  #item = null;
  #entry = null;
  #history = null;
  #span = "hour";
  #parts = {};
  #timers = new Map(); // what is to be done later, by its name
  #table;
  #older = null; // where the next page of comments begins
  #votes = 0;
  #oneSided = false;

  /**
   * Tells the panel where it belongs. `onSelect(entry, button)` opens a neighbour, `onRow(row, item)` is called with
   * every new row, `onClose()` is told of the end. Answers the table of neighbours.
   */
  start({ api, connection, board, onSelect, onRow, onClose }) {
    this.#api = api;
    this.#connection = connection;
    this.#board = board;
    const find = (name) => this.querySelector(`[data-part=${name}]`);
    for (const name of [
      "title",
      "artist",
      "standing",
      "link",
      "state",
      "comments",
      "more",
      "silence",
      "chart",
      "close",
    ])
      this.#parts[name] = find(name);
    this.#table = new RankingTable(this.querySelector("table"), {
      caption: "Its neighbours in the ranking",
      onSelect,
      onRow: (row, item) => {
        row.element.classList.toggle("chosen", item === this.#item);
        onRow(row, item);
      },
    });
    this.#parts.close.addEventListener("click", onClose);
    this.#parts.more.addEventListener("click", () => this.#comments(this.#older));
    this.addEventListener("change", ({ target }) => this.#choose(target.value));
    return this.#table;
  }

  /** Opens the panel for an item in a window of a board with these rules. */
  open(item, window, rules) {
    this.close();
    this.#table.oneSided = this.#oneSided = oneSided(rules);
    this.#item = item;
    this.hidden = false;
    this.#parts.title.textContent = item;
    this.#parts.artist.textContent = this.#parts.standing.textContent = this.#parts.state.textContent = "";
    this.#parts.comments.replaceChildren();
    this.#parts.chart.replaceChildren();
    this.#older = this.#history = this.#entry = null;
    const ask = { board: this.#board, window, around: item, span: NEIGHBOURS };
    this.#feed = this.#connection.watch(ask, {
      onView: (view) => this.#show(view),
      onStatus: (...told) => this.#tell(...told),
    });
    this.#past = new Past(this.#api, { board: this.#board, window, span: this.#span, top: 0, item }, (history) => {
      this.#history = history ?? this.#history;
      this.#draw();
    });
    this.#past.ask();
    this.#comments(null);
    this.#describe(rules.item_type, item);
  }

  /** Takes the focus to the panel's beginning. */
  enter() {
    this.#parts.title.focus({ preventScroll: true });
  }

  /** Closes it. */
  close() {
    this.hidden = true;
    this.#past?.stop();
    this.#timers.forEach(clearTimeout);
    this.#timers.clear();
    if (this.#feed) this.#connection.unwatch(this.#feed);
    this.#feed = this.#past = null;
    this.#table.clear();
  }

  #show(view) {
    const entry = view.entries.find(({ item }) => item === this.#item);
    const { up_votes: up, down_votes: down, rank, score, movement } = entry;
    const { words } = movementOf(movement, movement !== null);
    const first = this.#entry === null;
    this.#entry = entry;
    this.#parts.title.textContent = entry.title ?? entry.item;
    this.#parts.artist.textContent = entry.artist ?? "";
    const moved = words ? `, ${words} in an hour` : "";
    const votes = this.#oneSided ? `${write(up)} ${up === 1 ? "vote" : "votes"}` : `${write(up)} up, ${write(down)} down`;
    this.#parts.standing.textContent = `Number ${write(rank)} of ${write(view.total)}${moved} · score ${write(score)} · ${votes}`;
    this.#table.show(view);
    if (first) this.#draw();
    else this.#later("draw", REDRAW, () => this.#draw());
    if (up + down !== this.#votes) this.#later("comments", REFRESH, () => this.#comments(null));
    this.#votes = up + down;
  }

  #tell(status, detail) {
    this.dataset.state = status;
    this.#parts.state.textContent =
      { live: "", refused: `${detail}.` }[status] ?? "This is from before the connection was lost.";
    if (status === "connecting") this.#parts.state.textContent = "";
  }

  #choose(span) {
    if (!(span in SPANS)) return;
    this.#span = span;
    this.#past?.ask({ span });
  }

  #draw() {
    if (this.#entry) this.#parts.chart.draw(this.#history, this.#entry, SPANS[this.#span]);
  }

  /** Does something after a while, once for however often it was asked for. */
  #later(name, delay, act) {
    if (this.#timers.has(name)) return;
    const timer = setTimeout(() => {
      this.#timers.delete(name);
      act();
    }, delay);
    this.#timers.set(name, timer);
  }

  async #describe(kind, item) {
    const { link } = this.#parts;
    link.hidden = true;
    try {
      const { platform_url: song, website } = await this.#api.get(catalogued(kind, item));
      const address = song ?? website;
      if (this.#item !== item || !/^https?:\/\//.test(address)) return;
      link.href = address;
      link.textContent = new URL(address).host;
      link.hidden = false;
    } catch (error) {
      if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error;
    }
  }

  /** The page of comments before a seq; with null the newest, in place of all that is shown. */
  async #comments(before) {
    const item = this.#item;
    const { comments, more, silence } = this.#parts;
    let told;
    try {
      told = await this.#api.get(`api/v1/boards/${part(this.#board)}/items/${part(item)}/comments`, {
        limit: COMMENTS,
        before,
      });
    } catch {
      silence.textContent = comments.childElementCount ? "" : "The comments can't be read now.";
      return;
    }
    if (this.#item !== item) return;
    // Who has read on keeps the place: what is new is put before it.
    const known = new Set([...comments.children].map(({ dataset }) => dataset.seq));
    const fresh = told.comments.filter(({ seq }) => !known.has(`${seq}`)).map(said);
    if (before !== null) comments.append(...fresh);
    else if (known.size && fresh.length < told.comments.length) comments.prepend(...fresh);
    else comments.replaceChildren(...fresh);
    if (before !== null || fresh.length === comments.childElementCount) this.#older = told.next;
    more.hidden = this.#older === null;
    silence.textContent = comments.childElementCount ? "" : "Nobody has said anything yet.";
  }
}

/** Whether a board takes no votes against anything. */
export const oneSided = ({ ballot: { min } }) => min > 0;

function said({ agent_id: agent, vote, value, comment, voted_at: at, seq }) {
  const choice = { up: "▲", down: "▼" }[vote] ?? write(value);
  const words = { up: "voted up", down: "voted down" }[vote] ?? `gave ${value}`;
  return make(
    "li",
    { dataset: { seq } },
    make("p", { textContent: comment, dir: "auto" }),
    make(
      "footer",
      {},
      make("span", { className: `choice ${vote ?? ""}`, textContent: choice, attributes: { "aria-hidden": "true" } }),
      make("span", { className: "spoken", textContent: words }),
      make("bdi", { textContent: agent }),
      make("time", {
        dateTime: at,
        textContent: ago(Date.now() - Date.parse(at)),
        title: new Date(at).toLocaleString(),
      }),
    ),
  );
}

customElements.define("plaudit-item", PlauditItem);
