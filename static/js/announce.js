// Tell readers of screens what changed, politely and not more often than every five seconds.

import { s } from "./panels/panel.js";

const EVERY_MS = 5_000;

/**
 * @param {import("./store.js").Store} store
 */
export function announce(store) {
  const place = document.getElementById("announcer");
  /** @type {import("./store.js").TopicEvent[]} */
  let gathered = [];
  let timer = 0;
  store.addEventListener("change", (event) => {
    gathered.push(.../** @type {CustomEvent} */ (event).detail);
    if (timer || !summary(gathered)) return;
    timer = window.setTimeout(() => {
      if (place) place.textContent = summary(gathered);
      gathered = [];
      timer = 0;
    }, EVERY_MS);
  });
}

/**
 * @param {import("./store.js").TopicEvent[]} events
 */
export function summary(events) {
  const opened = events.filter(({ type }) => type === "incident.opened");
  const critical = opened.filter(({ data }) => data.incident.severity === "critical").length;
  const resolved = events.filter(({ type }) => type === "incident.resolved").length;
  const decided = events.filter(({ type }) => type === "decision.made").length;
  const answered = events.filter(({ data }) => data.change === "question.answered").length;
  const parts = [];
  if (opened.length) {
    parts.push(`${opened.length} new incident${s(opened.length)}${critical ? `, ${critical} critical` : ""}`);
  }
  if (resolved) parts.push(`${resolved} incident${s(resolved)} resolved`);
  if (decided) parts.push(`${decided} decision${s(decided)} made`);
  if (answered) parts.push(`${answered} question${s(answered)} answered`);
  return parts.join("; ");
}
