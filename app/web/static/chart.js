// One item over time: its rank, the first at the top, and its score.

import { axis, cut, shape, ticks, told } from "./svg.js";
import { write } from "./row.js";

const WIDTH = 420; // where there is more, all of it grows; where there is less, the text does not shrink
const LEFT = 44;
const RIGHT = 12;
const PANEL = { height: 92, gap: 30 };

export class PlauditChart extends HTMLElement {
  /** Draws the line of an item in a history of `most` ms at most, up to `entry`, which is how it stands now. */
  draw(history, entry, most) {
    const line = history?.items.find(({ item_id: item }) => item === entry.item);
    const until = Date.now();
    const span = told(history, most, until);
    const at = (time) => Math.max(0, 1 - (until - time) / span);
    const pairs = (values, now) => [
      ...(line ? history.times.map((time, index) => [at(Date.parse(time)), values(line)[index]]) : []),
      [1, now],
    ];
    const ranks = pairs((of) => of.ranks, entry.rank);
    const scores = pairs((of) => of.scores, entry.score);
    const height = 2 * (PANEL.height + PANEL.gap);
    const right = Math.min(WIDTH, this.clientWidth || WIDTH) - RIGHT;
    const x = (part) => LEFT + part * (right - LEFT);
    this.replaceChildren(
      shape(
        "svg",
        { viewBox: `0 0 ${right + RIGHT} ${height}`, role: "img", "aria-label": inWords(entry, ranks, scores) },
        ...panel("Rank", ranks, { x, top: 0, falling: true, low: 1 }),
        ...panel("Score", scores, { x, top: PANEL.height + PANEL.gap }),
        ...axis(span, right - LEFT).map(([where, anchor, text]) =>
          shape("text", { class: "axis", x: x(where), y: height - 8, "text-anchor": anchor }, text),
        ),
      ),
    );
  }
}

function panel(name, pairs, { x, top, falling = false, low = -Infinity }) {
  const values = pairs.map(([, value]) => value).filter((value) => value !== null);
  const least = Math.max(low, Math.min(...values) - 1);
  const most = Math.max(...values) + 1;
  const part = (value) => (value - least) / (most - least);
  const y = (value) => top + 18 + (falling ? part(value) : 1 - part(value)) * (PANEL.height - 18);
  const marks = ticks(least, most).map((value) => [
    shape("line", { class: "grid", x1: x(0), x2: x(1), y1: y(value), y2: y(value) }),
    shape("text", { class: "axis", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, write(value)),
  ]);
  const [endAt, end] = pairs.at(-1);
  return [
    shape("text", { class: "label", x: LEFT, y: top + 8 }, name),
    ...marks.flat(),
    shape("path", { class: "line", d: steps(pairs, x, y) }),
    shape("circle", { cx: x(endAt), cy: y(end), r: 4 }),
  ];
}

/** What stands at a moment stands until the next; where nothing is known there is a gap. */
function steps(pairs, x, y) {
  let path = "";
  let drawing = false;
  for (const [at, value] of pairs) {
    if (value === null) {
      if (drawing) path += `H${x(at).toFixed(1)}`;
      drawing = false;
    } else {
      path += drawing
        ? `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`
        : `M${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      drawing = true;
    }
  }
  return path;
}

function inWords({ title, item, rank, score }, ranks, scores) {
  const first = (pairs) => pairs.find(([, value]) => value !== null)[1];
  return `${cut(title ?? item, 80)}: rank from ${first(ranks)} to ${rank}, score from ${first(scores)} to ${score}`;
}

customElements.define("plaudit-chart", PlauditChart);
