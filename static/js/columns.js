// Which cards stand in which column of the board, in which order. The server does the same.

import { SEVERITIES } from "./format.js";
import { isOpen } from "./store.js";

/** @typedef {import("./store.js").Card} Card */

const DAY_MS = 86_400_000;

export const COLUMNS = [
  { slug: "triggered", title: "Triggered", statuses: ["triggered"], empty: "Nothing waits for a person." },
  { slug: "acknowledged", title: "Acknowledged", statuses: ["acknowledged"], empty: "Nobody is working on an incident." },
  { slug: "mitigated", title: "Mitigated", statuses: ["mitigated"], empty: "Nothing is mitigated but not yet resolved." },
  { slug: "resolved", title: "Resolved (24 h)", statuses: ["resolved", "closed"], empty: "Nothing was resolved in the last 24 hours." },
  { slug: "snoozed", title: "Snoozed", statuses: [], empty: "" },
];

/** @param {Card} card */
function rank(card) {
  const place = SEVERITIES.indexOf(card.severity);
  return place < 0 ? SEVERITIES.length : place;
}

/**
 * The numbers of the cards in each column, most urgent first, then newest.
 * @param {Card[]} cards
 * @returns {number[][]}
 */
export function layout(cards) {
  const ordered = cards.toSorted((a, b) => rank(a) - rank(b) || b.number - a.number);
  return COLUMNS.map((column) =>
    ordered.filter((card) => standsIn(card, column)).map((card) => card.number),
  );
}

/**
 * A snoozed card leaves the column of its status until the server says that the snooze has ended.
 * @param {Card} card
 * @param {{slug: string, statuses: string[]}} column
 */
function standsIn(card, column) {
  return card.snoozed_until ? column.slug === "snoozed" : column.statuses.includes(card.status);
}

/**
 * @param {Card} card
 * @param {URLSearchParams} wanted
 */
export function matches(card, wanted) {
  const text = (wanted.get("q") ?? "").trim().toLowerCase();
  const fits = /** @type {const} */ (["severity", "service", "origin"]).every(
    (name) => !wanted.get(name) || card[name] === wanted.get(name),
  );
  return fits && (!text || `#${card.number} ${card.title} ${card.service}`.toLowerCase().includes(text));
}

/** @param {Card} card */
export function isShown(card) {
  return isOpen(card) || Date.now() - Date.parse(card.resolved_at ?? card.closed_at ?? "") < DAY_MS;
}

/**
 * How many cards stand elsewhere in `fresh` than in `shown`.
 * @param {number[][]} shown
 * @param {number[][]} fresh
 */
export function moved(shown, fresh) {
  const column = new Map(shown.flatMap((numbers, index) => numbers.map((number) => [number, index])));
  const freshColumn = new Map(fresh.flatMap((numbers, index) => numbers.map((number) => [number, index])));
  const all = new Set([...column.keys(), ...freshColumn.keys()]);
  const changed = [...all].filter((number) => column.get(number) !== freshColumn.get(number)).length;
  return changed || Number(JSON.stringify(shown) !== JSON.stringify(fresh));
}
