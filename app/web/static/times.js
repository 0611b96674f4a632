// When a board takes votes, and moments as people read them.

/** Whether a board with these rules is `scheduled`, `open` or `closed`, and for how many ms it stays so. */
export function phase({ opens_at: opens, closes_at: closes }, now = Date.now()) {
  if (opens && now < Date.parse(opens)) return { name: "scheduled", lasts: Date.parse(opens) - now };
  if (closes && now >= Date.parse(closes)) return { name: "closed", lasts: Infinity };
  return { name: "open", lasts: closes ? Date.parse(closes) - now : Infinity };
}

export function when(time) {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}
