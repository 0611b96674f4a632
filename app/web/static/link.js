// One websocket that greets, keeps itself alive, and comes back when it was cut off. What it carries is others' business.

const SUBPROTOCOL = "plaudit.v1.json";
const HOPELESS = new Set([4400, 4401]); // close codes after which coming back is vain
const BAD_TOKEN = 4401;
const PATIENCE = 10_000; // ms for the first answers of a connection, and for silence: no board looks live for longer
const ANSWER = 4_000; // ms of these for the answer to a probe
const SILENCE = PATIENCE - ANSWER; // ms before one asks
const BACKOFF = { base: 250, cap: 20_000 }; // ms

/**
 * `onOpen(welcome)` follows the server's greeting, `onMessage(message)` every message after it. `onDown(status,
 * detail)` says that there is no connection: "lost" (it comes back by itself) or "refused" (it does not, and
 * `detail` says why). `onKeyRefused()` says that the key was not taken; it then goes on without one.
 */
export class Link {
  #url;
  #tenant;
  #on;
  #token = null;
  #socket = null;
  #ids = 0;
  #hello = 0;
  #attempt = 0;
  #retryAfter = 0; // ms that the server asked us to stay away
  #heartbeat = SILENCE;
  #timer = 0; // the next thing to do if nothing is heard until then
  #ended = new AbortController();

  constructor({ url, tenant, ...handlers }) {
    this.#url = url;
    this.#tenant = tenant;
    this.#on = handlers;
    const { signal } = this.#ended;
    addEventListener("offline", () => this.#socket && this.lose(), { signal });
    addEventListener("online", () => !this.#socket && this.#attempt > 0 && this.open(), { signal });
  }

  /** Connects, and stays connected. */
  open() {
    const socket = new WebSocket(this.#url, SUBPROTOCOL);
    const ours = (handle) => (event) => {
      if (this.#socket === socket) handle(event);
    };
    socket.onopen = ours(() => this.#greet());
    socket.onmessage = ours((event) => this.#receive(JSON.parse(event.data)));
    socket.onclose = ours((event) => this.#closed(event));
    this.#socket = socket;
    this.#retryAfter = 0;
    this.#heartbeat = SILENCE;
    this.#after(PATIENCE, () => this.lose());
  }

  /** Connects anew under an agent's key, or without one for null. The key is kept here alone. */
  use(token) {
    this.#token = token;
    this.#drop();
    this.#attempt = 0;
    this.open();
  }

  /** Sends a message and answers its id; 0 where there is no connection to send it on. */
  send(type, fields = {}) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return 0;
    this.#ids += 1;
    this.#socket.send(JSON.stringify({ type, id: this.#ids, ...fields }));
    return this.#ids;
  }

  /** Notes that what comes is worth having: the next loss is the first again. */
  prove() {
    this.#attempt = 0;
  }

  /** Gives this connection up and comes back after a while. */
  lose(retryAfter = this.#retryAfter) {
    this.#drop();
    this.#on.onDown("lost");
    // Full jitter: a crowd that was cut off together does not come back together.
    const spread = Math.random() * Math.min(BACKOFF.cap, BACKOFF.base * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    this.#after(Math.max(spread, retryAfter), () => this.open());
  }

  /** Ends this connection for good. */
  close() {
    this.#ended.abort();
    this.#drop();
  }

  #greet() {
    const who = this.#token ? { token: this.#token } : this.#tenant ? { tenant: this.#tenant } : {};
    this.#hello = this.send("hello", who);
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
    if (message.type === "welcome") {
      this.#heartbeat = Math.min(message.heartbeat * 1000, SILENCE);
      this.#on.onOpen(message);
    } else if (message.type === "bye") {
      this.#retryAfter = message.retry_after_ms ?? 0;
    } else if (message.type === "error" && message.id === this.#hello) {
      this.#notGreeted(message);
    } else {
      this.#on.onMessage(message);
    }
  }

  #notGreeted({ message, temporary, retry_after_ms: retryAfter = 0 }) {
    if (temporary || retryAfter) this.lose(retryAfter);
    else if (this.#token) this.#withoutKey();
    else this.#refuse(message);
  }

  #closed({ code, reason }) {
    if (code === BAD_TOKEN && this.#token) this.#withoutKey();
    else if (HOPELESS.has(code)) this.#refuse(reason);
    else this.lose();
  }

  #withoutKey() {
    this.#on.onKeyRefused();
    this.use(null);
  }

  /** After silence: a connection that was cut without a word looks just like one on which nothing happens. */
  #probe() {
    this.send("ping");
    this.#after(Math.min(this.#heartbeat, ANSWER), () => this.lose());
  }

  #refuse(detail) {
    this.#drop();
    this.#attempt = 0;
    this.#on.onDown("refused", detail);
  }

  #drop() {
    const socket = this.#socket;
    // First, so that whatever this socket still says is no longer ours.
    this.#socket = null;
    clearTimeout(this.#timer);
    socket?.close();
  }

  #after(delay, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, delay);
  }
}
