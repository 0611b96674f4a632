// The windows of a board as tabs.

import { make } from "./row.js";

export const NAMES = { all: "All time", day: "Today", week: "This week", month: "This month", trending: "Trending" };

/** Fills a tab list; `onChange(window)` is called when another one is chosen. Answers what chooses one from outside. */
export function windowTabs(list, panel, windows, chosen, onChange) {
  const tabs = windows.map((name) =>
    make("button", {
      type: "button",
      id: `tab-${name}`,
      textContent: NAMES[name],
      dataset: { window: name },
      attributes: { role: "tab", "aria-controls": panel.id },
    }),
  );
  function choose(name) {
    for (const tab of tabs) {
      const selected = tab.dataset.window === name;
      tab.setAttribute("aria-selected", selected);
      tab.tabIndex = selected ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `tab-${name}`);
  }
  function take(tab) {
    if (tab.getAttribute("aria-selected") === "true") return;
    choose(tab.dataset.window);
    onChange(tab.dataset.window);
  }
  list.addEventListener("click", (event) => {
    if (tabs.includes(event.target)) take(event.target);
  });
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    tab.focus();
    take(tab);
  });
  list.replaceChildren(...tabs);
  choose(chosen);
}
