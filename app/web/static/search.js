// A search for items of a board: a combobox whose choice is followed wherever it stands.

import { part } from "./api.js";
import { make } from "./row.js";

const PAUSE = 150; // ms without a key after which the server is asked
const FOUND = 50;
const SHOWN = 8;

export class Search {
  #input;
  #list;
  #api;
  #board;
  #kind;
  #onChoose;
  #timer = 0;
  #asking = null;
  #active = -1;

  /** `input` and `list` stand in the page. `kind` is "song" or "tool". `onChoose(item)` is called with an id. */
  constructor({ input, list, api, board, kind, onChoose }) {
    this.#input = input;
    this.#list = list;
    this.#api = api;
    this.#board = board;
    this.#kind = kind;
    this.#onChoose = onChoose;
    input.addEventListener("input", () => this.#typed());
    input.addEventListener("keydown", (event) => this.#pressed(event));
    input.addEventListener("blur", () => this.#close());
    // Chosen before the blur that a click brings.
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) this.#choose(option);
    });
  }

  /** What kind of items the board has, once that is known. */
  set kind(kind) {
    this.#kind = kind;
  }

  #typed() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const words = this.#input.value.trim();
    if (!words) this.#close();
    else this.#timer = setTimeout(() => this.#ask(words), PAUSE);
  }

  async #ask(words) {
    this.#asking = new AbortController();
    try {
      const kinds = `${this.#kind}s`;
      const answer = await this.#api.get(
        `api/v1/${kinds}`,
        { q: words.slice(0, 200), limit: FOUND },
        this.#asking.signal,
      );
      this.#offer(answer[kinds].filter(({ boards }) => this.#board in boards).slice(0, SHOWN));
    } catch (error) {
      if (error.name !== "AbortError") this.#offer([], error.message);
    }
  }

  #offer(items, note = "Nothing on this board is called that") {
    const options = items.map(({ id, title, name, artist, boards }, place) =>
      make(
        "li",
        { id: `found-${place}`, dataset: { item: id }, attributes: { role: "option", "aria-selected": "false" } },
        make("span", { className: "title", dir: "auto", textContent: title ?? name }),
        make("span", { className: "artist", dir: "auto", textContent: artist ?? "" }),
        make("span", { className: "score", textContent: boards[this.#board].score }),
      ),
    );
    const nothing = make("li", {
      className: "nothing",
      textContent: note,
      attributes: { role: "option", "aria-disabled": "true" },
    });
    this.#list.replaceChildren(...(options.length ? options : [nothing]));
    this.#list.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#activate(options.length ? 0 : -1);
  }

  #pressed(event) {
    const options = this.#list.querySelectorAll("[data-item]");
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps && options.length) {
      event.preventDefault();
      this.#activate((this.#active + steps[event.key] + options.length) % options.length);
    } else if (event.key === "Enter" && options[this.#active]) {
      event.preventDefault();
      this.#choose(options[this.#active]);
    } else if (event.key === "Escape" && !this.#list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      this.#close();
    }
  }

  #activate(place) {
    this.#active = place;
    this.#list.querySelectorAll("[data-item]").forEach((option, at) => {
      option.setAttribute("aria-selected", at === place);
      if (at === place) option.scrollIntoView({ block: "nearest" });
    });
    if (place < 0) this.#input.removeAttribute("aria-activedescendant");
    else this.#input.setAttribute("aria-activedescendant", `found-${place}`);
  }

  #choose(option) {
    this.#input.value = "";
    this.#close();
    this.#onChoose(option.dataset.item, this.#input);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#list.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#activate(-1);
  }
}

/** Where an item of a kind is described. */
export const catalogued = (kind, item) => `api/v1/${kind}s/${part(item)}`;
