// One live view of a board on a connection: subscribes, resumes, checks every digest.

import { applyDelta, viewOf } from "./ranking.js";

const AGAIN = 2_000; // ms after which a subscription that could not be served is tried again

/**
 * What `Connection.watch` gives.
 *
 * `onView(view)` is called with every view that agrees with the server's digest. `onStatus(status, detail)` says
 * what the last view is worth: "live", or else it may be old: "connecting", "lost" (it comes back by itself) or
 * "refused" (it does not, and `detail` says why).
 */
export class Feed {
  #link;
  #ask;
  #on;
  #view = null;
  #asked = 0; // id of the subscription that has no answer yet
  #sub = null; // the subscription's number on this connection
  #timer = 0;

  constructor(link, ask, handlers) {
    this.#link = link;
    this.#ask = ask;
    this.#on = handlers;
  }

  /** The last view that held, null before there was one. */
  get view() {
    return this.#view;
  }

  /** Shows another view in place of this one, such as another window. */
  change(ask) {
    this.#ask = { ...this.#ask, ...ask };
    this.forget();
    this.#resubscribe();
  }

  /** Lets go of the view, so that the next one comes whole. */
  forget() {
    this.#view = null;
  }

  /** Subscribes on a new connection. */
  opened() {
    const held = this.#view && { epoch: this.#view.epoch, version: this.#view.version };
    this.#sub = null;
    clearTimeout(this.#timer);
    this.#asked = this.#link.send("subscribe", { ...this.#ask, ...held });
  }

  /** Tells that there is no connection. */
  down(status, detail) {
    clearTimeout(this.#timer);
    this.#sub = null;
    this.#asked = 0;
    this.#on.onStatus(status, detail);
  }

  /** Ends the subscription. */
  close() {
    clearTimeout(this.#timer);
    this.#on = { onView() {}, onStatus() {} };
    if (this.#sub !== null) this.#link.send("unsubscribe", { sub: this.#sub });
    this.#sub = null;
  }

  /** Takes a message if it is meant for this feed; answers whether it was. */
  take(message) {
    switch (message.type) {
      case "snapshot":
        return this.#isMine(message) && this.#begin(message);
      case "resumed":
        return this.#isMine(message) && this.#goOn(message);
      case "delta":
        if (message.sub !== this.#sub || this.#sub === null) return false;
        if (!this.#hold(this.#view && applyDelta(this.#view, message))) this.#resubscribe();
        return true;
      case "error":
        return message.id === this.#asked && this.#failed(message);
      default:
        return false;
    }
  }

  /** Whether it answers our question, or comes unasked: after we fell behind, or when the server began anew. */
  #isMine({ id, sub }) {
    if (id === null) return this.#sub !== null && sub === this.#sub;
    return id === this.#asked && this.#asked !== 0;
  }

  #begin(snapshot) {
    this.#sub = snapshot.sub;
    const view = viewOf(snapshot, this.#ask.around === undefined && this.#ask.items === undefined);
    // The whole view came and does not hold: asking again at once would go round in circles.
    if (!this.#hold(view)) this.#link.lose();
    return true;
  }

  #goOn({ sub, epoch, version }) {
    this.#sub = sub;
    const stands = this.#view?.epoch === epoch && this.#view.version === version;
    if (!this.#hold(stands ? this.#view : null)) this.#resubscribe();
    return true;
  }

  #failed({ message, temporary, retry_after_ms: retryAfter }) {
    this.#asked = 0;
    this.#on.onStatus(temporary ? "lost" : "refused", message);
    if (temporary) this.#timer = setTimeout(() => this.opened(), (retryAfter ?? AGAIN) * (1 + Math.random()));
    return true;
  }

  #hold(view) {
    this.#view = view;
    if (!view) return false;
    this.#link.prove();
    this.#on.onView(view);
    this.#on.onStatus("live");
    return true;
  }

  /** Asks for the whole view anew, because the one that is held has diverged from the server's. */
  #resubscribe() {
    this.#on.onStatus("connecting");
    if (this.#sub !== null) this.#link.send("unsubscribe", { sub: this.#sub });
    this.opened();
  }
}
