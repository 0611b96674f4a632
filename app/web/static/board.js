// The page of one board: puts its parts together, and says how far what is shown can be trusted.

import "./bump.js";
import { Announcer } from "./announcer.js";
import { Api, part } from "./api.js";
import { Connection } from "./connection.js";
import { oneSided } from "./item.js";
import { Pulse } from "./pulse.js";
import { make } from "./row.js";
import { Search } from "./search.js";
import { RankingTable } from "./table.js";
import { NAMES, windowTabs } from "./tabs.js";
import { phase, when } from "./times.js";
import { Voting } from "./voting.js";

const WINDOWS = ["all", "day", "week", "month", "trending"];
const MOST = 1000;
const LONGEST = 2 ** 31; // ms, of a timer
const TOP = { page: 50, wall: 10 };

const narrow = matchMedia("(max-width: 67.99rem)"); // as in style.css

const find = (id) => document.getElementById(id);
const choice = new URLSearchParams(location.search);
const board = decoded(location.pathname.split("/").findLast(Boolean));
const wall = choice.has("wall");
const api = new Api(choice.get("tenant"));

let top = Math.min(MOST, Math.max(1, Math.trunc(Number(choice.get("top"))) || TOP[wall ? "wall" : "page"]));
let shownWindow = WINDOWS.includes(choice.get("window")) ? choice.get("window") : "all";
let rules = { slug: board, title: board, item_type: "song", windows: WINDOWS, ballot: { kind: "updown", min: -1, max: 1 } };
let latest = null; // when the last view came
let turning = 0; // the timer until the board opens or closes
let opener = null; // what had the focus when the panel was opened

const connection = new Connection({
  url: api.socket,
  tenant: choice.get("tenant"),
  onAgent: (welcome) => voting.speaksFor(welcome),
  onKeyRefused: () => voting.refused(),
});
const table = new RankingTable(find("table"), {
  caption: "Ranking by score, highest first",
  onSelect: wall ? null : (entry, button) => select(entry.item, button),
  onRow: (...made) => voting.furnish(...made),
});
const pulse = new Pulse({ api, board, rate: find("rate"), viewers: find("viewers"), age: find("age") });
const announcer = new Announcer(find("announcer"));
const bump = find("bump");
const item = find("item");
const neighbours = item.start({
  api,
  connection,
  board,
  onSelect: (entry) => select(entry.item),
  onRow: (...made) => voting.furnish(...made),
  onClose: deselect,
});
const voting = new Voting({
  connection,
  api,
  tables: [table, neighbours],
  page: {
    sign: find("sign"),
    agent: find("agent"),
    notice: find("notice"),
    dialog: find("enter"),
    form: find("enter-form"),
    key: find("key"),
    cancel: find("cancel"),
  },
});
const search = new Search({ input: find("search"), list: find("found"), api, board, kind: "song", onChoose: select });

const feed = connection.watch({ board, window: shownWindow, top }, { onView: show, onStatus: tell });

/** A part of an address as text. One that is no text stays as it is, for the server to refuse. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show(view) {
  latest = new Date();
  find("shown").textContent = `${view.entries.length} of ${view.total}`;
  find("more").hidden = wall || view.entries.length >= view.total || top >= MOST;
  table.show(view);
  bump.show(view);
  announcer.show(view);
  pulse.changed();
}

function tell(state, detail) {
  // The state is told once per change, so that the live region does not repeat itself with every delta.
  if (document.body.dataset.state === state) return;
  document.body.dataset.state = state;
  pulse.state = state;
  find("status").textContent = {
    connecting: "Connecting",
    live: standing(),
    lost: `Connection lost, trying again.${standsSince()}`,
    refused: `${detail || "The server refused the connection"}.${standsSince()}`,
  }[state];
}

/** What a ranking that is up to date is worth. */
function standing() {
  const { name } = phase(rules);
  if (name === "scheduled") return `Voting opens ${when(rules.opens_at)}`;
  return name === "closed" ? `Voting closed ${when(rules.closes_at)}` : "Live";
}

function standsSince() {
  return latest ? ` What you see is from ${latest.toLocaleTimeString()}.` : "";
}

/** Shows another part of the board, or another window of it. */
function change(ask) {
  table.clear();
  announcer.forget();
  feed.change(ask);
}

function changeWindow(name) {
  shownWindow = name;
  remember("window", name === "all" ? null : name);
  voting.rules(rules, shownWindow);
  bump.window = name;
  change({ window: name });
  if (!item.hidden) item.open(choice.get("item"), shownWindow, rules);
}

function select(chosen, from = document.activeElement) {
  if (!item.contains(from)) opener = from;
  // A page of its own where it covers all else: Back then leads to the ranking, not away from the board.
  remember("item", chosen, item.hidden && from !== null);
  document.body.classList.add("detailed");
  item.open(chosen, shownWindow, rules);
  cover();
  if (from) item.enter();
}

function deselect() {
  if (history.state?.opened) history.back();
  else close();
}

function close() {
  remember("item", null);
  document.body.classList.remove("detailed");
  item.close();
  cover();
  (opener?.isConnected ? opener : find("ranking")).focus();
  opener = null;
}

/** What lies under the details on a narrow screen can't be reached with the keyboard either. */
function cover() {
  const covered = narrow.matches && !item.hidden;
  for (const part of document.querySelectorAll("header, .controls, .skip, #ranking, .bump")) part.inert = covered;
}

/** Keeps the address as that of what is shown, so that it can be sent to others. */
function remember(name, value, anew = false) {
  if (value === null) choice.delete(name);
  else choice.set(name, value);
  const query = choice.toString().replace(/wall=(?=&|$)/, "wall");
  const url = `${location.pathname}${query && `?${query}`}`;
  if (anew) {
    // Coming back to an address with a fragment, a browser moves the focus there.
    history.replaceState(history.state, "", location.pathname + location.search);
    history.pushState({ opened: true }, "", url);
  } else history.replaceState(history.state, "", url);
}

function furnish() {
  // A wall has no tabs to tell it.
  const title = wall && shownWindow !== "all" ? `${rules.title} · ${NAMES[shownWindow]}` : rules.title;
  document.title = `${title} · Plaudit`;
  find("board").textContent = title;
  search.kind = rules.item_type;
  table.oneSided = oneSided(rules);
  turn();
  windowTabs(find("windows"), find("ranking"), rules.windows, shownWindow, changeWindow);
}

/** What changes when the board opens or closes. */
function turn() {
  voting.rules(rules, shownWindow);
  if (document.body.dataset.state === "live") find("status").textContent = standing();
  clearTimeout(turning);
  const { lasts } = phase(rules);
  if (lasts < LONGEST) turning = setTimeout(turn, lasts);
}

async function learnRules() {
  try {
    const { boards } = await api.get("api/v1/boards");
    rules = boards.find(({ slug }) => slug === board) ?? rules;
  } catch {
    // The page does without: the ranking itself comes another way.
  }
  furnish();
}

document.body.classList.toggle("wall", wall);
document.body.style.setProperty("--places", top);
find("home").href = api.url("./");
if (wall) {
  const src = api.url(`boards/${part(board)}/qr.svg`);
  find("code").prepend(make("img", { src, alt: "QR code of this page's address" }));
  find("code").hidden = false;
}
furnish();
bump.start(api, board, shownWindow);
narrow.addEventListener("change", cover);
addEventListener("popstate", () => item.hidden || close());
addEventListener("keydown", ({ key, defaultPrevented }) => {
  if (key === "Escape" && !defaultPrevented && !item.hidden && !find("enter").open) deselect();
});
find("span").addEventListener("change", ({ target }) => (bump.span = target.value));
find("more").addEventListener("click", () => {
  top = MOST;
  remember("top", top);
  change({ top });
});
if (!voting.resume()) connection.open();
await learnRules();
if (choice.get("item") && !wall) select(choice.get("item"), null);
