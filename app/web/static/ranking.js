// A view of a board: order, ranks, digest, and how a delta changes it. Pure, no page and no network.
//
// A view is {epoch, version, total, entries, top}, its entries in ranking order. In a top view ranks follow from
// that order; in any other they are as the server says. What arrives from the server is checked against its digest:
// a view that does not hold is null, and the caller subscribes again. An entry that stays as it is stays the same
// object, so that whoever shows a view sees at once what is new in it.

const encoder = new TextEncoder();

/** The view of a snapshot, null where its digest does not hold. */
export function viewOf({ epoch, version, total, entries, digest }, top = true) {
  return checked({ epoch, version, total, entries: ordered(entries, top), top }, digest);
}

/** The view after a delta, null where the delta does not start from it or the result's digest does not hold. */
export function applyDelta(view, delta) {
  if (delta.prev !== view.version) return null;
  const entries = new Map(view.entries.map((entry) => [entry.item, entry]));
  for (const item of delta.left) entries.delete(item);
  // Titles come only when an item enters the view: they stay with whoever is there already.
  for (const entry of delta.entries) {
    const { title, artist } = entries.get(entry.item) ?? {};
    entries.set(entry.item, { title, artist, ...entry });
  }
  const { epoch, top } = view;
  const { version, total, digest } = delta;
  return checked({ epoch, version, total, entries: ordered(entries.values(), top), top }, digest);
}

/** CRC-32 (zlib) of the lines `item:score`, in the order given. */
export function digestOf(entries) {
  // A number's own text is its shortest decimal form; scores never reach the sizes where it gets an exponent.
  return crc32(encoder.encode(entries.map(({ item, score }) => `${item}:${score}`).join("\n")));
}

/** Orders strings by code point, as the server does. */
export function byCodePoint(a, b) {
  const length = Math.min(a.length, b.length);
  for (let place = 0; place < length; place += 1) {
    const difference = weight(a.charCodeAt(place)) - weight(b.charCodeAt(place));
    if (difference) return difference;
  }
  return a.length - b.length;
}

function checked(view, digest) {
  return digestOf(view.entries) === digest ? view : null;
}

/** Entries in ranking order; those of the top of a ranking with standard competition ranks (1, 1, 3). */
function ordered(entries, top) {
  const sorted = [...entries].sort((a, b) => b.score - a.score || byCodePoint(a.item, b.item));
  if (!top) return sorted;
  let rank = 0;
  return sorted.map((entry, place) => {
    if (place === 0 || entry.score !== sorted[place - 1].score) rank = place + 1;
    return entry.rank === rank ? entry : moved(entry, rank);
  });
}

/** An entry at another rank. Its rank an hour ago is still the same, so that its movement changes with it. */
function moved(entry, rank) {
  const movement = entry.movement === null ? null : entry.movement + entry.rank - rank;
  return { ...entry, rank, movement };
}

/** Where a UTF-16 unit sorts: surrogates stand for code points above all others, though some units are higher. */
function weight(unit) {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = (value >>> 8) ^ TABLE[(value ^ byte) & 0xff];
  return (value ^ 0xffffffff) >>> 0;
}
