// Voting by a person: an agent's key, the buttons in the rows, and what became of each vote.

import { make } from "./row.js";
import { phase } from "./times.js";

/*
 * The key is kept in sessionStorage: it outlives a reload, which memory does not, and ends with the tab, which
 * localStorage does not. Unlike a cookie it is sent nowhere by itself, and no other page can read it: the content
 * policy lets no foreign script run here.
 */
const STORED = "plaudit-key";
const TOLD = 8_000; // ms for which a notice stands
const LIST = 100; // values among which one can still choose

export class Voting {
  #connection;
  #api;
  #rules;
  #window;
  #tables;
  #page;
  #agent = null;
  #held = new Map(); // item -> value of the ballot, null where it is known that there is none
  #casting = new Map(); // the same of votes that are not answered yet
  #timer = 0;

  /** `page` has the elements: sign and cancel (buttons), dialog, form, key (input), agent, notice. */
  constructor({ connection, api, tables, page }) {
    this.#connection = connection;
    this.#api = api;
    this.#tables = tables;
    this.#page = page;
    page.sign.addEventListener("click", () => (this.#agent || stored() ? this.#take(null) : this.#ask()));
    page.cancel.addEventListener("click", () => page.dialog.close());
    page.dialog.addEventListener("close", () => (page.key.value = ""));
    page.form.addEventListener("submit", () => page.key.value && this.#take(page.key.value.trim()));
  }

  /** Goes on with the key that the session has, if any; before the connection opens. */
  resume() {
    const key = stored();
    if (key) this.#take(key);
    return key !== null;
  }

  /** The board's rules, once they are known and when it opens or closes, and the window that is shown. */
  rules(rules, window) {
    this.#rules = rules;
    this.#window = window;
    this.#furnish();
  }

  /** Notes for whom the page speaks. */
  async speaksFor(welcome) {
    this.#agent = welcome;
    this.#held = new Map(this.#casting);
    this.#page.sign.textContent = welcome ? "Stop voting" : "Vote";
    this.#page.agent.textContent = welcome ? `${welcome.agent_id}${left(welcome.quota_remaining)}` : "";
    this.#furnish();
    if (welcome) await this.#recall();
  }

  /** Notes that the server does not know the key. */
  refused() {
    remember(null);
    this.#api.use(null);
    this.#tell("This key is unknown, or was revoked.");
  }

  /** Gives a new row its buttons. */
  furnish(row, item) {
    if (!this.#mayVote) return;
    const cast = (value) => this.#cast(row, item, value);
    row.vote(
      this.#rules.ballot.kind === "updown" || this.#rules.ballot.kind === "like"
        ? choices(this.#rules, cast)
        : points(this.#rules, cast),
    );
    row.buttons.hold(this.#held.get(item) ?? null);
  }

  #furnish() {
    const may = this.#mayVote;
    document.body.classList.toggle("voting", may);
    for (const table of this.#tables) {
      table.extra(may ? "Your vote" : null);
      for (const row of table.rows()) {
        if (may) this.furnish(row, row.entry.item);
        else row.vote(null);
      }
    }
  }

  get #mayVote() {
    return this.#agent !== null && this.#rules !== undefined && phase(this.#rules).name === "open";
  }

  #ask() {
    this.#page.dialog.showModal();
    this.#page.key.focus();
  }

  #take(key) {
    remember(key);
    this.#api.use(key);
    this.#connection.use(key);
  }

  /** Asks for the agent's newest thousand ballots, for what is not known of them; gives whether there are no others. */
  async #recall() {
    try {
      const { votes, total } = await this.#api.get("api/v1/me/votes", { limit: 1000 });
      for (const { board, item_id: item, value } of votes) {
        if (board === this.#rules?.slug && !this.#held.has(item)) this.#hold(item, value);
      }
      return total <= votes.length;
    } catch {
      return false; // the buttons then show no ballot as held; the server still knows, and says so
    }
  }

  /** Casts, or takes back the ballot that is held. Shown at once, then confirmed or undone. */
  async #cast(row, item, value) {
    const held = this.#held.get(item) ?? null;
    const taken = value === held ? null : value;
    const guess = supposed(row.entry, held, taken, this.#rules.weights?.[this.#agent.tier] ?? 1);
    row.suppose(guess, true);
    this.#hold(item, taken);
    this.#casting.set(item, taken);
    const board = this.#rules.slug;
    try {
      const fields = taken === null ? { board, item } : { board, item, value: taken };
      const ack = await this.#connection.cast(taken === null ? "retract" : "vote", fields);
      this.#confirm(row, guess, ack);
    } catch (refused) {
      if (row.guess === guess) row.suppose(null);
      // No ballot to take back: it was before, by what was sent before the connection was lost or from elsewhere.
      if (taken === null && refused.code === "no_ballot") this.#hold(item, null);
      else this.#undo(row, held, taken === null ? "taken back" : "counted", refused);
    } finally {
      if (this.#casting.get(item) === taken) this.#casting.delete(item);
    }
  }

  async #undo({ entry }, held, done, { message, unsure, code }) {
    const { item } = entry;
    this.#hold(item, held);
    const fate = unsure ? `It is not known whether your vote was ${done}` : `Your vote was not ${done}`;
    this.#tell(`${name(entry)}: ${message}. ${fate}.`);
    // With another key everything is asked anyway.
    if (!unsure || code === "abandoned") return;
    this.#held.delete(item);
    const all = await this.#recall();
    if (!this.#held.has(item)) this.#hold(item, all ? null : held);
  }

  #confirm(row, guess, { score, up_votes, down_votes, quota_remaining: quota, status }) {
    if (this.#agent) this.#page.agent.textContent = `${this.#agent.agent_id}${left(quota)}`;
    if (row.guess !== guess) return; // a delta came first, and it knows better
    // An ack tells the score of all time; what a vote does in another window comes with the delta.
    if (status === "unchanged") row.suppose(null);
    else row.suppose(this.#window === "all" ? { score, up_votes, down_votes } : guess, false);
  }

  #hold(item, value) {
    this.#held.set(item, value);
    for (const table of this.#tables) table.row(item)?.buttons?.hold(value);
  }

  #tell(text) {
    this.#page.notice.textContent = text;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.#page.notice.textContent = ""), TOLD);
  }
}

/** Up and down, or up alone, as buttons that are pressed while the ballot stands. */
function choices({ ballot }, cast) {
  const values = ballot.kind === "like" ? [1] : [1, -1];
  const buttons = values.map((value) =>
    make("button", {
      type: "button",
      className: value > 0 ? "cast up" : "cast down",
      textContent: value > 0 ? "▲" : "▼",
      onclick: () => cast(value),
    }),
  );
  return {
    element: make("td", { className: "extra", role: "cell" }, ...buttons),
    rename: (title) =>
      buttons.forEach((button, index) =>
        button.setAttribute("aria-label", `Vote ${values[index] > 0 ? "up" : "down"}: ${title}`),
      ),
    hold: (held) => buttons.forEach((button, index) => button.setAttribute("aria-pressed", values[index] === held)),
  };
}

/** Points or stars as a list to choose from, or where that would be long as a number to type. */
function points({ ballot }, cast) {
  const input = ballot.max - ballot.min < LIST ? list(ballot) : number(ballot);
  let held = null;
  // Nothing in place of a value takes the ballot back, which is what casting it once more does.
  input.addEventListener("change", () => cast(input.value === "" ? held : Number(input.value)));
  return {
    element: make("td", { className: "extra", role: "cell" }, input),
    rename: (title) => input.setAttribute("aria-label", `${ballot.kind === "stars" ? "Stars" : "Points"} for ${title}`),
    hold: (value) => {
      held = value;
      input.value = value ?? "";
    },
  };
}

function list({ kind, min, max }) {
  const input = make("select", {}, make("option", { value: "", textContent: "–" }));
  for (let value = max; value >= min; value -= 1)
    input.append(make("option", { value, textContent: kind === "stars" ? `${value} ★` : value }));
  return input;
}

const number = ({ min, max }) => make("input", { type: "number", min, max, step: 1, placeholder: "–" });

/** How an entry should stand after a ballot is cast in place of another. */
function supposed({ score, up_votes: up, down_votes: down }, held, taken, weight) {
  const count = (value, sign) => (value !== null && Math.sign(value) === sign ? 1 : 0);
  return {
    score: Math.round((score + ((taken ?? 0) - (held ?? 0)) * weight) * 100) / 100,
    up_votes: up + count(taken, 1) - count(held, 1),
    down_votes: down + count(taken, -1) - count(held, -1),
  };
}

const left = (quota) => (quota === null || quota === undefined ? "" : ` · ${quota} left today`);
const name = ({ title, item }) => [...(title ?? item)].slice(0, 80).join("");

function stored() {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null; // storage is switched off: the key then lives in memory
  }
}

function remember(key) {
  try {
    if (key === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, key);
  } catch {
    // As above.
  }
}
