// Drawing: SVG elements, and where things go in time.

const MINUTE = 60_000; // ms
const LEAST = 4 * MINUTE;
const ROOM = 190; // pixels for three labels
const numbers = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const NAMESPACE = "http://www.w3.org/2000/svg";

/** An SVG element with its attributes and children. */
export function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A text of so many characters at most, counted as people count them. */
export function cut(text, length) {
  const characters = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
  return characters.length <= length
    ? text
    : `${characters
        .slice(0, length - 1)
        .join("")
        .trimEnd()}…`;
}

/** Round figures between two numbers, few enough to be read. */
export function ticks(low, high, wanted = 4) {
  const rough = Math.max(high - low, 1) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, power * [1, 2, 5, 10].find((factor) => factor * power >= rough));
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(at);
  return found;
}

/** How much of a span of time (ms) that ends now a history tells of: a young board's chart begins with the board. */
export function told(history, span, now) {
  const first = history?.times.length ? Date.parse(history.times[0]) : now;
  return Math.min(span, Math.max(LEAST, now - first));
}

/**
 * Labels for a span of time that ends now and is so wide (pixels): where on it, from 0 to 1, how they are set, and what
 * they say.
 */
export function axis(span, width) {
  const labels = [
    [0, "start", `${long(span)} ago`],
    [0.5, "middle", long(span / 2)],
    [1, "end", "now"],
  ];
  return width < ROOM ? labels.filter(([at]) => at !== 0.5) : labels;
}

function long(milliseconds) {
  const minutes = milliseconds / MINUTE;
  if (minutes < 90) return `${Math.round(minutes)} min`;
  return `${numbers.format(minutes / 60)} h`;
}
