// The fewest rows that have to be moved to bring all of them into order. Pure.

/**
 * Indexes into `places` of a longest rising subsequence: the rows that can stay where they are. (Patience sorting;
 * Fredman, On computing the length of longest increasing subsequences, 1975.)
 */
export function stayers(places) {
  const ends = []; // ends[n]: index of the smallest place that ends a rising subsequence of length n + 1
  const before = new Array(places.length);
  places.forEach((place, index) => {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[ends[middle]] < place) low = middle + 1;
      else high = middle;
    }
    before[index] = low ? ends[low - 1] : -1;
    ends[low] = index;
  });
  const kept = new Set();
  for (let index = ends.at(-1) ?? -1; index >= 0; index = before[index]) kept.add(index);
  return kept;
}
