// How lively the board is, and how old what is shown: votes a second, viewers, the time since the last change.

import { part } from "./api.js";
import { write } from "./row.js";

const NO_ANSWER = 10_000; // ms after which to ask again a server that did not answer

/** Shows the pulse of a board in elements that stand in the page. */
export class Pulse {
  #api;
  #board;
  #show;
  #state = "connecting";
  #changed = null;
  #timer = 0;

  constructor({ api, board, rate, viewers, age }) {
    this.#api = api;
    this.#board = board;
    this.#show = { rate, viewers, age };
    setInterval(() => this.#tell(), 1000);
    document.addEventListener("visibilitychange", () => document.hidden || this.#ask());
  }

  /** Notes that the view changed just now. */
  changed() {
    this.#changed = Date.now();
    this.#tell();
  }

  /** Notes what the view is worth. Nobody is told figures of a board that is not live. */
  set state(state) {
    const began = state === "live" && this.#state !== "live";
    this.#state = state;
    if (began) this.#ask();
    if (state !== "live") this.#figures("–", "–");
    this.#tell();
  }

  async #ask() {
    clearTimeout(this.#timer);
    if (document.hidden || this.#state !== "live") return;
    let wait = NO_ANSWER;
    try {
      const told = await this.#api.get(`api/v1/boards/${part(this.#board)}/activity`);
      wait = told.ask_after_ms;
      if (this.#state === "live") {
        // Servers count their viewers every other second: whoever looks is one all the same.
        this.#figures(write(told.votes_per_second), write(Math.max(1, told.viewers)));
      }
    } catch {
      this.#figures("–", "–");
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), wait * (0.75 + Math.random() / 2));
  }

  #figures(rate, viewers) {
    this.#show.rate.textContent = rate;
    this.#show.viewers.textContent = viewers;
  }

  #tell() {
    // Of a board that can't be seen, nobody knows when it changed.
    const known = this.#changed !== null && this.#state === "live";
    const text = known ? ago(Date.now() - this.#changed) : "–";
    if (this.#show.age.textContent !== text) this.#show.age.textContent = text;
  }
}

/** A span of time as people say it. */
export function ago(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}
