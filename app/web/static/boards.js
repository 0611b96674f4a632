// The first page: every board as a card, with who leads it.

import { Api, part } from "./api.js";
import { make, write } from "./row.js";
import { when } from "./times.js";

const AGAIN = 10_000; // ms

const KINDS = { perpetual: "Board", contest: "Contest" };
const STATES = { scheduled: "Not open yet", open: "Open", closed: "Closed" };
const tenant = new URLSearchParams(location.search).get("tenant");

export class PlauditBoards extends HTMLElement {
  #api = new Api(tenant);
  #cards = new Map();
  #seen = new Set();
  #timer = 0;
  #watcher = new IntersectionObserver((changes) => this.#look(changes));

  connectedCallback() {
    this.#refresh();
    document.addEventListener("visibilitychange", () => document.hidden || this.#refresh());
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
    this.#watcher.disconnect();
  }

  async #refresh() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      const { boards } = await this.#api.get("api/v1/boards");
      this.#show(boards);
      await Promise.all([...this.#seen].map((slug) => this.#lead(slug)));
      this.#tell("");
    } catch (problem) {
      this.#tell(`${problem.message}.${this.#cards.size ? " What you see is from before." : ""}`);
    }
    this.#timer = setTimeout(() => this.#refresh(), AGAIN);
  }

  #tell(text) {
    this.classList.toggle("stale", text !== "");
    const status = document.getElementById("status");
    if (status.textContent !== text) status.textContent = text;
  }

  #show(boards) {
    for (const board of boards) {
      if (!this.#cards.has(board.slug)) this.#add(board.slug);
      this.#fill(this.#cards.get(board.slug), board);
    }
    document.getElementById("none").hidden = boards.length > 0;
  }

  #add(slug) {
    const title = make("a", { href: this.#api.url(`boards/${part(slug)}`), dir: "auto" });
    const parts = { title, about: make("p", { className: "about" }), lead: make("p", { className: "lead" }) };
    const card = make("li", { className: "card", dataset: { slug } }, make("h2", {}, title), parts.about, parts.lead);
    this.#cards.set(slug, { card, ...parts });
    this.querySelector("ul").append(card);
    this.#watcher.observe(card);
  }

  #fill({ card, title, about }, { title: name, kind, state, opens_at: opens, closes_at: closes }) {
    const times = {
      scheduled: opens && `opens ${when(opens)}`,
      open: closes && `until ${when(closes)}`,
      closed: closes && `since ${when(closes)}`,
    };
    title.textContent = name;
    card.dataset.state = state;
    about.textContent = [KINDS[kind], [STATES[state], times[state]].filter(Boolean).join(", ")].join(" · ");
  }

  #look(changes) {
    for (const { target, isIntersecting } of changes) {
      const { slug } = target.dataset;
      if (isIntersecting && !this.#seen.has(slug)) this.#lead(slug).catch(() => {});
      if (isIntersecting) this.#seen.add(slug);
      else this.#seen.delete(slug);
    }
  }

  async #lead(slug) {
    const { entries, total } = await this.#api.get(`api/v1/boards/${part(slug)}`, { limit: 1 });
    const { lead } = this.#cards.get(slug);
    const [first] = entries;
    if (!first || first.score <= 0) {
      lead.replaceChildren(`${write(total)} listed, nobody leads yet`);
      return;
    }
    const name = make("b", { textContent: first.title, dir: "auto", title: first.title });
    const by = make("span", { textContent: first.artist ?? "", dir: "auto", className: "artist" });
    lead.replaceChildren(
      make("span", { className: "medal", textContent: "1" }),
      name,
      by,
      make("span", { className: "score", textContent: write(first.score) }),
    );
  }
}

customElements.define("plaudit-boards", PlauditBoards);
