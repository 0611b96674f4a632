// The page: which board, what is shown of it, and how far it can be trusted.

import { BoardConnection } from "./connection.js";
import { RankingTable } from "./table.js";

const choice = new URLSearchParams(location.search);
const board = choice.get("board") || "songs";
const table = new RankingTable(document.querySelector("tbody"), document.querySelector("#row"));
const status = document.querySelector("#status");
const shown = document.querySelector("#shown");
let latest = null; // when the last view came

function show({ entries, total }) {
  latest = new Date();
  shown.textContent = `${entries.length} of ${total}`;
  table.show(entries);
}

function tell(state, detail) {
  // The state is told once per change, so that the live region does not repeat itself with every delta.
  if (document.body.dataset.state === state) return;
  document.body.dataset.state = state;
  status.textContent = {
    connecting: "Connecting",
    live: "Live",
    lost: `Connection lost, trying again.${standsSince()}`,
    refused: `${detail || "The server refused the connection"}.${standsSince()}`,
  }[state];
}

function standsSince() {
  return latest ? ` What you see is from ${latest.toLocaleTimeString()}.` : "";
}

function websocketUrl() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  return url.href;
}

document.title = `${board} · Plaudit`;
document.querySelector("#board").textContent = board;
new BoardConnection({
  url: websocketUrl(),
  tenant: choice.get("tenant"),
  board,
  onView: show,
  onStatus: tell,
}).open();
