// The past of a ranking, for the charts: asked for again once a minute, when the server has taken its sample.

import { part } from "./api.js";

export const SPANS = { hour: 3_600_000, day: 86_400_000 }; // ms
const AGAIN = 60_000; // ms
const LATER = 5_000; // ms after a full minute, when its sample is in the archive

export class Past {
  #api;
  #query;
  #onTold;
  #timer = 0;
  #asking = null;

  /** `query` has board, window, span ("hour" or "day"), top and item; `onTold(history or null)` hears the answers. */
  constructor(api, query, onTold) {
    this.#api = api;
    this.#query = query;
    this.#onTold = onTold;
    document.addEventListener("visibilitychange", () => document.hidden || !this.#timer || this.#ask());
  }

  /** Asks, and goes on asking; `query` says what is different from now on. */
  ask(query = {}) {
    this.#query = { ...this.#query, ...query };
    this.#ask();
  }

  /** Asks no more. */
  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#asking?.abort();
  }

  async #ask() {
    this.stop();
    const { board, span, ...query } = this.#query;
    const since = new Date(Date.now() - SPANS[span]).toISOString();
    this.#timer = setTimeout(() => document.hidden || this.#ask(), AGAIN - ((Date.now() - LATER) % AGAIN));
    this.#asking = new AbortController();
    try {
      const history = await this.#api.get(
        `api/v1/boards/${part(board)}/history`,
        { ...query, since },
        this.#asking.signal,
      );
      this.#onTold(history);
    } catch (error) {
      if (error.name !== "AbortError") this.#onTold(null);
    }
  }
}
