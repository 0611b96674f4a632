// Says now and then what happened at the top, to those who listen: one sentence, and never a flood of them.

const QUIET = 10_000; // ms between two sentences at least

export class Announcer {
  #region;
  #said = null; // the leaders that were told of last
  #latest = null;
  #timer = 0;

  /** `region` is a polite live region. */
  constructor(region) {
    this.#region = region;
  }

  /** Takes a view; what is news in it is said when it is time. */
  show({ entries }) {
    this.#latest = entries.slice(0, 3);
    if (this.#said === null) this.#said = this.#latest;
    this.#timer ||= setTimeout(() => this.#speak(), QUIET);
  }

  /** Begins anew, with another ranking. */
  forget() {
    this.#said = null;
  }

  #speak() {
    this.#timer = 0;
    const before = this.#said?.map(({ item }) => item) ?? [];
    const news = this.#latest.filter(({ item }, place) => item !== before[place] && rises(item, place, before));
    this.#said = this.#latest;
    if (news.length) this.#region.textContent = news.map(sentence).join(" ");
  }
}

function rises(item, place, before) {
  const stood = before.indexOf(item);
  return stood < 0 || stood > place;
}

function sentence({ title, item, rank, score }) {
  const name = [...(title ?? item)].slice(0, 80).join("");
  return rank === 1 ? `${name} leads with ${score}.` : `${name} is now number ${rank} with ${score}.`;
}
