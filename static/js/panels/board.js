// The operators' board. Cards are never moved under the pointer or the focus: what would move them
// waits until the reader asks for it, or looks elsewhere.

import { html, nothing } from "../../vendor/lit/index.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { PHASES, SEVERITIES, word } from "../format.js";
import { isOpen } from "../store.js";
import { age, Panel, s, severity } from "./panel.js";

/** @typedef {import("../store.js").Card} Card */

const DAY_MS = 86_400_000;

const COLUMNS = [
  { slug: "triggered", title: "Triggered", statuses: ["triggered"], empty: "Nothing waits for a person." },
  { slug: "acknowledged", title: "Acknowledged", statuses: ["acknowledged"], empty: "Nobody is working on an incident." },
  { slug: "mitigated", title: "Mitigated", statuses: ["mitigated"], empty: "Nothing is mitigated but not yet resolved." },
  { slug: "resolved", title: "Resolved (24 h)", statuses: ["resolved", "closed"], empty: "Nothing was resolved in the last 24 hours." },
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
    ordered.filter((card) => column.statuses.includes(card.status)).map((card) => card.number),
  );
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
function isShown(card) {
  return isOpen(card) || Date.now() - Date.parse(card.resolved_at ?? card.closed_at ?? "") < DAY_MS;
}

class OpsBoard extends Panel {
  /** @type {number[][] | null} */
  #layout = null;
  #pending = 0;
  /** @type {number | null} the card whose move the reader asked for */
  #followed = null;
  /** @type {number | null} */
  #toFocus = null;

  connectedCallback() {
    super.connectedCallback();
    this.addEventListener("pointerleave", () => this.requestUpdate());
    this.addEventListener("focusout", () => this.requestUpdate());
    // A card leaves the last column a day after it was resolved.
    setInterval(() => this.requestUpdate(), 60_000);
  }

  /** Show everything now, wherever the reader looks. */
  apply() {
    this.#layout = null;
    this.requestUpdate();
  }

  /**
   * The reader moves this card: show where it goes and keep the focus on it.
   * @param {number} number
   */
  follow(number) {
    this.#followed = number;
    this.requestUpdate();
  }

  updated() {
    super.updated();
    if (this.#toFocus === null) return;
    const link = this.querySelector(`a.title[href="/incidents/${this.#toFocus}/"]`);
    this.#toFocus = null;
    if (link instanceof HTMLElement) link.focus();
  }

  /**
   * Whether the followed card stands elsewhere now.
   * @param {number[][]} fresh
   */
  #hasFollowedMoved(fresh) {
    const number = this.#followed;
    if (number === null || this.#layout === null) return false;
    const at = (/** @type {number[][]} */ columns) => columns.findIndex((column) => column.includes(number));
    if (at(this.#layout) === at(fresh)) return false;
    this.#followed = null;
    this.#toFocus = number;
    return true;
  }

  get #isHeld() {
    return this.matches(":hover") || this.contains(document.activeElement);
  }

  render() {
    const wanted = new URLSearchParams(location.search);
    /** @type {Card[]} */
    const cards = this.state.incidents.filter((/** @type {Card} */ card) => matches(card, wanted) && isShown(card));
    const fresh = layout(cards);
    if (this.#layout === null || this.#hasFollowedMoved(fresh) || !this.#isHeld) this.#layout = fresh;
    this.#pending = moved(this.#layout, fresh);
    const byNumber = new Map(cards.map((card) => [card.number, card]));
    const shown = this.#layout;
    return html`
      ${this.#pending
        ? html`<button class="updates" @click=${() => this.apply()}>
            ${this.#pending} update${s(this.#pending)} · apply <kbd>.</kbd>
          </button>`
        : nothing}
      <div class="board">
        ${COLUMNS.map((column, index) => this.#column(column, shown[index] ?? [], byNumber))}
      </div>
    `;
  }

  /**
   * @param {typeof COLUMNS[number]} column
   * @param {number[]} numbers
   * @param {Map<number, Card>} byNumber
   */
  #column(column, numbers, byNumber) {
    const cards = numbers.flatMap((number) => byNumber.get(number) ?? []);
    return html`<section class="column" aria-labelledby="column-${column.slug}">
      <h2 id="column-${column.slug}">${column.title} <span class="num muted">${cards.length}</span></h2>
      <ul class="plain">
        ${repeat(
          cards,
          (card) => card.number,
          (card) => html`<li class="card ${card.severity}">${this.#card(card)}</li>`,
        )}
      </ul>
      ${cards.length ? nothing : html`<p class="empty">${column.empty}</p>`}
    </section>`;
  }

  /** @param {Card} card */
  #card(card) {
    return html`
      <div class="row spread">
        ${severity(card.severity)}
        <span class="muted small"
          >${card.resolved_at ? html`resolved ${age(card.resolved_at)} ago` : age(card.detected_at)}</span
        >
      </div>
      <a class="title" href="/incidents/${card.number}/">#${card.number} ${card.title}</a>
      <div class="meta">
        <span>${card.service || "no service named"}</span>
        <span><span class="num">${card.alert_count}</span> alert${s(card.alert_count)}</span>
        ${card.origin === "gameday" ? html`<span>game day</span>` : nothing}
        <span>${card.assignee ?? "no owner"}</span>
      </div>
      <div class="meta">${this.#response(card)}</div>
    `;
  }

  /** @param {Card} card */
  #response(card) {
    const row = (this.state.responses ?? []).find(
      (/** @type {{incident: number}} */ response) => response.incident === card.number,
    );
    if (!row) return isOpen(card) ? html`<span>no response yet</span>` : nothing;
    if (row.state !== "running") return html`<span>response ${word(row.state)}</span>`;
    return html`<span>${row.phase}, phase ${PHASES.indexOf(row.phase) + 1}/7</span>`;
  }
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

class OpsCounts extends Panel {
  render() {
    return SEVERITIES.map((name) => {
      const count = this.state.incidents.filter(
        (/** @type {Card} */ card) => isOpen(card) && card.severity === name,
      ).length;
      return html`<span>${severity(name)} <span class="num">${count}</span></span> `;
    });
  }
}

customElements.define("ops-board", OpsBoard);
customElements.define("ops-counts", OpsCounts);
