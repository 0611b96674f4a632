// <plaudit-board board="songs" top="10">: a live ranking in any page. See docs/page.md.

import { Api } from "./static/api.js";
import { Connection } from "./static/connection.js";
import { make } from "./static/row.js";
import { RankingTable } from "./static/table.js";

const STATES = { connecting: "Connecting", live: "Live", lost: "Connection lost, trying again" };

/** Attributes: `board`, and `top` (10), `window` ("all") and `tenant` where they differ. Has an open shadow root. */
export class PlauditBoard extends HTMLElement {
  static observedAttributes = ["board", "top", "window", "tenant"];

  #connection = null;
  #status = make("p", {
    className: "status",
    attributes: { role: "status", part: "status" },
    textContent: STATES.connecting,
  });
  #body = make("div", { className: "widget", dataset: { state: "connecting" } });
  #table;

  constructor() {
    super();
    const table = make("table", { className: "ranking", attributes: { part: "table" } });
    this.#table = new RankingTable(table, { caption: "Ranking by score, highest first" });
    this.#body.append(this.#status, table);
    const link = make("link", { rel: "stylesheet", href: new URL("./static/table.css", import.meta.url) });
    this.attachShadow({ mode: "open" }).append(link, this.#body);
  }

  connectedCallback() {
    this.#watch();
  }

  disconnectedCallback() {
    this.#connection?.close();
    this.#connection = null;
  }

  attributeChangedCallback(_name, old, value) {
    if (this.#connection && old !== value) this.#watch();
  }

  #watch() {
    this.#connection?.close();
    this.#table.clear();
    const tenant = this.getAttribute("tenant");
    const ask = {
      board: this.getAttribute("board") || "songs",
      window: this.getAttribute("window") || "all",
      top: Number(this.getAttribute("top")) || 10,
    };
    this.#connection = new Connection({ url: new Api(tenant).socket, tenant });
    this.#connection.watch(ask, {
      onView: (view) => this.#table.show(view),
      onStatus: (...told) => this.#tell(...told),
    });
    this.#connection.open();
  }

  #tell(state, detail) {
    if (this.#body.dataset.state === state) return;
    this.#body.dataset.state = state;
    this.#status.textContent = STATES[state] ?? detail;
  }
}

customElements.define("plaudit-board", PlauditBoard);
