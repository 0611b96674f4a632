// The server's calls over HTTP, and the addresses of its pages.

/** Where the server's paths begin, whatever page or prefix this module is loaded from. */
export const ROOT = new URL("../", import.meta.url);

/** A call that failed: the problem's code and its words, code "offline" where there was no answer. */
export class Problem extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Api {
  #tenant;
  #key = null;

  /** For the tenant of this slug, the installation's default one for null. */
  constructor(tenant = null) {
    this.#tenant = tenant;
  }

  /** Speaks for an agent from now on, so that calls are for the tenant that its websocket is for. */
  use(key) {
    this.#key = key;
  }

  /** The address of a path, with the tenant and whatever else it should carry. */
  url(path, query = {}) {
    const url = new URL(path, ROOT);
    const all = { ...query, tenant: this.#tenant };
    for (const [name, value] of Object.entries(all))
      if (value !== null && value !== undefined) url.searchParams.set(name, value);
    return url;
  }

  /** The websocket's address. */
  get socket() {
    const url = new URL("ws", ROOT);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  /** The answer to a GET. Throws Problem. */
  async get(path, query, signal) {
    let response;
    let body;
    try {
      const headers = this.#key ? { authorization: `Bearer ${this.#key}` } : {};
      response = await fetch(this.url(path, query), { headers, signal });
      body = await response.json();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("offline", "The server does not answer");
    }
    if (!response.ok) throw new Problem(body.code, body.detail);
    return body;
  }
}

/** A part of a path, as it stands in an address. */
export const part = encodeURIComponent;
