// The operators' board. Cards are never moved under the pointer or the focus: what would move them
// waits until the reader asks for it, or looks elsewhere.

import { html, nothing } from "../../vendor/lit/index.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { COLUMNS, isShown, layout, matches, moved } from "../columns.js";
import { PHASES, SEVERITIES, word } from "../format.js";
import { isOpen } from "../store.js";
import { age, Panel, s, severity, time } from "./panel.js";

/** @typedef {import("../store.js").Card} Card */

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
    if (!cards.length && !column.empty) return nothing;
    return html`<section class="column ${column.slug}" aria-labelledby="column-${column.slug}">
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
        ${card.snoozed_until ? html`<span>until ${time(card.snoozed_until)}</span>` : nothing}
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
