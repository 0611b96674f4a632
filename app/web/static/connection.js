// One live view of a board over the websocket: greets, subscribes, resumes, and comes back when it was cut off.

import { applyDelta, viewOf } from "./ranking.js";

const SUBPROTOCOL = "plaudit.v1.json";
const HOPELESS = new Set([4400, 4401]); // close codes after which coming back is vain
const PATIENCE = 10_000; // ms for the first answers of a connection
const BACKOFF = { base: 250, cap: 20_000 }; // ms

/**
 * Watches the first `top` items of a board.
 *
 * `onView(view)` is called with every view that agrees with the server's digest. `onStatus(status, detail)` says
 * what the last view is worth: "live", or else it may be old: "connecting", "lost" (it comes back by itself) or
 * "refused" (it does not, and `detail` says why).
 */
export class BoardConnection {
  #url;
  #tenant;
  #ask;
  #onView;
  #onStatus;
  #socket = null;
  #view = null;
  #ids = 0;
  #asked = null; // id of the subscription that has no answer yet
  #sub = null; // the subscription's number on this connection
  #attempt = 0;
  #retryAfter = 0; // ms that the server asked us to stay away
  #heartbeat = PATIENCE;
  #timer = 0; // the next thing to do if nothing is heard until then

  constructor({ url, tenant, board, top = 50, onView, onStatus }) {
    this.#url = url;
    this.#tenant = tenant;
    this.#ask = { board, top };
    this.#onView = onView;
    this.#onStatus = onStatus;
  }

  /** Connects, and stays connected. */
  open() {
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    const ours = (handle) => (event) => {
      if (this.#socket === socket) handle(event);
    };
    socket.onopen = ours(() => this.#send("hello", this.#tenant ? { tenant: this.#tenant } : {}));
    socket.onmessage = ours((event) => this.#receive(JSON.parse(event.data)));
    socket.onclose = ours((event) => (HOPELESS.has(event.code) ? this.#refuse(event.reason) : this.#lose()));
    this.#socket = socket;
    this.#retryAfter = 0;
    this.#heartbeat = PATIENCE;
    this.#after(PATIENCE, () => this.#lose());
  }

  #receive(frame) {
    const socket = this.#socket;
    this.#after(this.#heartbeat, () => this.#probe());
    for (const message of Array.isArray(frame) ? frame : [frame]) {
      this.#take(message);
      if (this.#socket !== socket) return;
    }
  }

  #take(message) {
    switch (message.type) {
      case "welcome":
        this.#heartbeat = message.heartbeat * 1000;
        this.#subscribe();
        break;
      case "snapshot":
        if (message.id !== this.#asked) break;
        this.#sub = message.sub;
        // The whole view came and does not hold: asking again at once would go round in circles.
        if (!this.#hold(viewOf(message))) this.#lose();
        break;
      case "resumed":
        if (message.id !== this.#asked) break;
        this.#sub = message.sub;
        if (!this.#hold(this.#heldAt(message))) this.#resubscribe();
        break;
      case "delta":
        if (message.sub !== this.#sub) break;
        if (!this.#hold(applyDelta(this.#view, message))) this.#resubscribe();
        break;
      case "error":
        this.#failed(message);
        break;
      case "bye":
        this.#retryAfter = message.retry_after_ms ?? 0;
        break;
      default: // answers that tell only that the connection lives, and what later versions may say
    }
  }

  #failed({ message, temporary, retry_after_ms: retryAfter = 0 }) {
    this.#retryAfter = retryAfter;
    if (temporary || retryAfter) this.#lose();
    else this.#refuse(message);
  }

  #subscribe() {
    const held = this.#view && { epoch: this.#view.epoch, version: this.#view.version };
    this.#sub = null;
    this.#asked = this.#send("subscribe", { ...this.#ask, ...held });
  }

  /** Asks for the whole view anew, because the one that is held has diverged from the server's. */
  #resubscribe() {
    this.#onStatus("connecting");
    this.#send("unsubscribe", { sub: this.#sub });
    this.#subscribe();
  }

  #heldAt({ epoch, version }) {
    return this.#view?.epoch === epoch && this.#view.version === version ? this.#view : null;
  }

  #hold(view) {
    this.#view = view;
    if (!view) return false;
    this.#attempt = 0;
    this.#onView(view);
    this.#onStatus("live");
    return true;
  }

  /** After silence: a connection that was cut without a word looks just like one on which nothing happens. */
  #probe() {
    this.#send("ping", {});
    this.#after(this.#heartbeat, () => this.#lose());
  }

  #lose() {
    this.#drop();
    this.#onStatus("lost");
    // Full jitter: a crowd that was cut off together does not come back together.
    const spread = Math.random() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    this.#after(Math.max(spread, this.#retryAfter), () => this.open());
  }

  #refuse(detail) {
    this.#drop();
    this.#onStatus("refused", detail);
  }

  #drop() {
    const socket = this.#socket;
    // First, so that whatever this socket still says is no longer ours.
    this.#socket = null;
    clearTimeout(this.#timer);
    socket.close();
  }

  #send(type, fields) {
    this.#ids += 1;
    this.#socket.send(JSON.stringify({ type, id: this.#ids, ...fields }));
    return this.#ids;
  }

  #after(delay, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, delay);
  }
}
