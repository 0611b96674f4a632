// A page's one connection: the boards that it watches, and the votes that it casts.

import { Feed } from "./feed.js";
import { Link } from "./link.js";

/** Why a vote had no effect, as far as is known: where it is `unsure` it may have had one all the same. */
export class Refused extends Error {
  constructor({ code, message, temporary }, unsure = false) {
    super(message);
    this.code = code;
    this.temporary = temporary;
    this.unsure = unsure;
  }
}

/** What the server tells of a vote only where an earlier sending of the same one was not counted either. */
const SURE = new Set(["already_voted", "invalid", "unknown_board", "unknown_item"]);

/** `onAgent(welcome)` says who the page speaks for, null for nobody; `onKeyRefused()` that a key was not taken. */
export class Connection {
  #link;
  #feeds = new Set();
  #waiting = new Map(); // id -> the vote that has no answer yet
  #on;
  #greeted = false;

  constructor({ url, tenant, onAgent = () => {}, onKeyRefused = () => {} }) {
    this.#on = { onAgent };
    this.#link = new Link({
      url,
      tenant,
      onOpen: (welcome) => this.#opened(welcome),
      onMessage: (message) => this.#take(message),
      onDown: (status, detail) => this.#down(status, detail),
      onKeyRefused,
    });
  }

  /** Connects, and stays connected. */
  open() {
    this.#link.open();
  }

  /** Ends everything. */
  close() {
    this.#link.close();
    this.#feeds.clear();
  }

  /** Speaks for an agent from now on, for nobody with null. What is shown comes anew: a key may be another tenant's. */
  use(key) {
    this.#greeted = false;
    this.#abandon("The key was changed before the vote was answered");
    for (const feed of this.#feeds) {
      feed.forget();
      feed.down("connecting");
    }
    this.#link.use(key);
  }

  /** A live view of a board; see `Feed`. `ask` has board, window, and top or around and span. */
  watch(ask, handlers) {
    const feed = new Feed(this.#link, ask, handlers);
    this.#feeds.add(feed);
    if (this.#greeted) feed.opened();
    return feed;
  }

  /** Ends a live view. */
  unwatch(feed) {
    feed.close();
    this.#feeds.delete(feed);
  }

  /** Casts or retracts a ballot; gives the server's ack. Throws Refused. A lost connection is waited for. */
  cast(type, fields) {
    return new Promise((resolve, reject) => {
      const vote = { type, fields, resolve, reject, sent: 0 };
      if (this.#greeted) this.#send(vote);
      else this.#waiting.set(Symbol(type), vote);
    });
  }

  #send(vote) {
    const id = this.#link.send(vote.type, vote.fields);
    if (id) vote.sent += 1;
    this.#waiting.set(id || Symbol(vote.type), vote);
  }

  #opened(welcome) {
    this.#greeted = true;
    this.#on.onAgent(welcome.agent_id ? welcome : null);
    for (const feed of this.#feeds) feed.opened();
    const votes = [...this.#waiting.values()];
    this.#waiting.clear();
    // Sent again: the contract counts a repeated vote once.
    for (const vote of votes) this.#send(vote);
  }

  #take(message) {
    if (this.#settle(message)) return;
    for (const feed of this.#feeds) if (feed.take(message)) return;
    // The answer to a question that nobody asks any more: its view has changed, or is closed.
    if (message.sub && message.id) this.#link.send("unsubscribe", { sub: message.sub });
  }

  #settle(message) {
    const vote = this.#waiting.get(message.id);
    if (!vote || (message.type !== "ack" && message.type !== "error")) return false;
    this.#waiting.delete(message.id);
    if (message.type === "ack") vote.resolve(message);
    else vote.reject(new Refused(message, message.code === "internal" || (vote.sent > 1 && !SURE.has(message.code))));
    return true;
  }

  #down(status, detail) {
    this.#greeted = false;
    for (const feed of this.#feeds) feed.down(status, detail);
    if (status === "refused") this.#abandon(detail);
  }

  #abandon(message) {
    for (const { reject, sent } of this.#waiting.values())
      reject(new Refused({ code: "abandoned", message, temporary: true }, sent > 0));
    this.#waiting.clear();
  }
}
