// What moves on the page, and that nothing does for those who want it still.

const GLIDE = { duration: 450, easing: "cubic-bezier(0.2, 0.7, 0.2, 1)", composite: "add" };
const GLOW = { duration: 1_200, easing: "ease-out" };
const COUNT = 600; // ms

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether anything may move. */
export function moves() {
  return !still.matches;
}

/**
 * Lets an element start `way` pixels below its place and glide there. Glides add up, so that one which begins while
 * another is under way goes on from where the element is seen, without anything being measured.
 */
export function glide(element, way) {
  element.animate([{ transform: `translateY(${way}px)` }, { transform: "translateY(0)" }], GLIDE);
  // Who rises passes over those that fall.
  if (way > 0) element.animate({ zIndex: [1, 1] }, GLIDE.duration);
}

/** Lights an element up briefly: green for better, red for worse. */
export function glow(element, better) {
  element.animate({ backgroundColor: [`var(${better ? "--glow-rise" : "--glow-fall"})`, "var(--card)"] }, GLOW);
}

/** Counts numbers up and down to where they should be, all of them in one frame's callback. */
export class Counters {
  #running = new Map(); // text node -> where from, where to, since when, how written
  #frame = 0;

  /** Lets a text node count from one number to another. */
  count(node, from, to, write) {
    const known = this.#running.get(node);
    this.#running.set(node, { from: known ? known.shown : from, to, since: performance.now(), write, shown: from });
    this.#frame ||= requestAnimationFrame((now) => this.#step(now));
  }

  /** Writes a number at once. */
  set(node, to, write) {
    this.#running.delete(node);
    node.data = write(to);
  }

  #step(now) {
    this.#frame = 0;
    for (const [node, run] of this.#running) {
      const part = Math.min(1, Math.max(0, now - run.since) / COUNT);
      const way = 1 - (1 - part) ** 3;
      // Whole numbers on the way, whatever the score's hundredths: they would only flicker.
      run.shown = part === 1 ? run.to : Math.round(run.from + (run.to - run.from) * way);
      const text = run.write(run.shown);
      if (node.data !== text) node.data = text;
      if (part === 1) this.#running.delete(node);
    }
    if (this.#running.size) this.#frame = requestAnimationFrame((next) => this.#step(next));
  }
}
