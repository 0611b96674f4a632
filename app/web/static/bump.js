// The bump chart: how the first ten changed places, up to this moment.

import { Past, SPANS } from "./past.js";
import { axis, cut, shape, told } from "./svg.js";

const LINES = 10;
const PLOT = { left: 34, top: 14, step: 34 };
// Lines and names side by side; where there is more room all of it grows, where there is less the text does not shrink.
const WIDTH = 524;
const NAMES = { at: 12, share: 0.4, indent: 34, letter: 6.8 };
const LABELS = { at: 30, room: 38 }; // below the places there is one more, for all who stood lower
const TURN = 14; // the stretch in which a line goes from one place to another
const PAUSE = 1_000; // ms between two drawings at most
const HUES = [265, 25, 145, 90, 325, 215, 55, 185, 295, 5];

export class PlauditBump extends HTMLElement {
  #past = null;
  #span = "hour";
  #history = null;
  #entries = [];
  #timer = 0;
  #hues = new Map();

  /** Begins to draw a board in a window. */
  start(api, board, window) {
    this.#past = new Past(api, { board, window, span: this.#span, top: LINES }, (history) => {
      this.#history = history ?? this.#history;
      this.#draw();
    });
    this.#past.ask();
  }

  /** Draws another window. */
  set window(window) {
    this.#history = null;
    this.#entries = [];
    this.#past.ask({ window });
  }

  /** Draws the last hour or the last day. */
  set span(span) {
    this.#span = span;
    this.#past.ask({ span });
  }

  /** Takes the ranking as it is now, which is where the lines end. */
  show({ entries }) {
    this.#entries = entries.slice(0, LINES);
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#draw();
    }, PAUSE);
  }

  disconnectedCallback() {
    this.#past?.stop();
    clearTimeout(this.#timer);
  }

  #draw() {
    const until = Date.now();
    const span = told(this.#history, SPANS[this.#span], until);
    const lines = tracesOf(this.#history, this.#entries, until - span, until);
    const bottom = PLOT.top + PLOT.step * Math.max(1, lines.length);
    const width = Math.min(WIDTH, this.clientWidth || WIDTH);
    const right = width - Math.round(NAMES.share * width);
    const x = (at) => PLOT.left + at * (right - PLOT.left);
    const length = Math.floor((width - right - NAMES.indent) / NAMES.letter);
    const drawn = shape(
      "svg",
      {
        viewBox: `0 0 ${width} ${bottom + LABELS.room}`,
        role: "img",
        "aria-label": inWords(lines, this.#span),
      },
      ...axis(span, right - PLOT.left).map(([at, anchor, text]) =>
        shape(
          "text",
          { class: "axis", x: x(at), y: bottom + LABELS.at, "text-anchor": anchor },
          text,
        ),
      ),
      ...lines.map((line) => this.#line(line, x, length)),
    );
    this.replaceChildren(drawn);
  }

  #line({ item, title, points, place, rank }, x, length) {
    const y = (at) => PLOT.top + PLOT.step * (Math.min(at, LINES + 0.6) - 0.5);
    const end = { x: x(1), y: y(place) };
    const group = shape("g", { class: "trace", "data-item": item });
    group.style.setProperty("--hue", this.#hue(item));
    group.append(
      shape("path", {
        d: path(
          points.map(([at, stood]) => [x(at), y(stood)]),
          end,
        ),
        class: "line",
      }),
      shape("circle", { cx: end.x, cy: end.y, r: 4.5 }),
      shape("text", { class: "place", x: end.x + NAMES.at, y: end.y + 4 }, `${rank}`),
      shape("text", { class: "name", x: end.x + NAMES.indent, y: end.y + 4 }, cut(title, length)),
    );
    group.append(shape("title", {}, title));
    return group;
  }

  /** A colour that an item keeps for as long as it is among the first. */
  #hue(item) {
    const current = new Set(this.#entries.map((entry) => entry.item));
    for (const known of this.#hues.keys()) if (!current.has(known) && known !== item) this.#hues.delete(known);
    if (!this.#hues.has(item)) {
      const used = new Set(this.#hues.values());
      this.#hues.set(item, HUES.find((hue) => !used.has(hue)) ?? HUES[0]);
    }
    return this.#hues.get(item);
  }
}

/**
 * The lines of the chart. A line's points are [time from 0 to 1, place]; in a tie the place is after those that stand
 * before it, so that no line hides another. Who is first now is drawn, with or without a past.
 */
function tracesOf(history, entries, since, until) {
  const times = (history?.times ?? []).map((at) => Math.max(0, (Date.parse(at) - since) / (until - since)));
  const past = new Map((history?.items ?? []).map(({ item_id: item, ranks }) => [item, ranks]));
  const now = entries.length
    ? entries
    : (history?.items ?? []).map(({ item_id: item, title, ranks }) => ({ item, title, rank: ranks.at(-1) }));
  const placed = times.map((_, moment) => placesAt(past, moment));
  return now.map(({ item, title, rank }, index) => {
    const points = times.map((at, moment) => [at, placed[moment].get(item)]).filter(([, stood]) => stood !== undefined);
    return { item, title: title ?? item, rank, place: index + 1, points };
  });
}

function placesAt(past, moment) {
  const ranked = [...past].map(([item, ranks]) => [item, ranks[moment]]).filter(([, rank]) => rank !== null);
  const taken = new Map();
  return new Map(
    ranked.map(([item, rank]) => {
      const tied = taken.get(rank) ?? 0;
      taken.set(rank, tied + 1);
      return [item, rank + tied];
    }),
  );
}

/** A line that keeps its height until shortly before each point, and then goes over to it. */
function path(points, end) {
  const all = [...points, [end.x, end.y]];
  let [x, y] = all[0];
  const steps = [`M${x.toFixed(1)} ${y.toFixed(1)}`];
  for (const [nextX, nextY] of all.slice(1)) {
    if (nextY !== y) {
      const turn = Math.max(x, nextX - TURN);
      const middle = (turn + nextX) / 2;
      steps.push(
        `H${turn.toFixed(1)}C${middle.toFixed(1)} ${y.toFixed(1)} ${middle.toFixed(1)} ${nextY.toFixed(1)} ${nextX.toFixed(1)} ${nextY.toFixed(1)}`,
      );
    }
    [x, y] = [nextX, nextY];
  }
  return `${steps.join("")}H${end.x.toFixed(1)}`;
}

function inWords(lines, span) {
  const moved = lines.map(({ title, rank, points }) => {
    const from = points.length ? Math.round(points[0][1]) : null;
    return from === null || from === rank ? `${cut(title, 40)}, ${rank}` : `${cut(title, 40)}, from ${from} to ${rank}`;
  });
  return `Ranks over the last ${span}: ${moved.join("; ") || "nothing yet"}`;
}

customElements.define("plaudit-bump", PlauditBump);
