// Lets the page's ranking.js answer for itself: a line of JSON in, a line of JSON out.
// Started with the module's file name; a snapshot and the deltas that follow it give the views that they lead to.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

// A plain .js file is an ES module to browsers, but not to every Node.
const source = readFileSync(process.argv[2], "utf-8");
const { applyDelta, viewOf } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

for await (const line of createInterface({ input: process.stdin })) {
  const { snapshot, deltas } = JSON.parse(line);
  const views = [viewOf(snapshot)];
  for (const delta of deltas) views.push(views.at(-1) && applyDelta(views.at(-1), delta));
  console.log(JSON.stringify(views));
}
