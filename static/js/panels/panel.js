// What all live panels share: they follow a store while they are on the page.

import { html, LitElement, svg } from "../../vendor/lit/index.js";
import { refreshTimes, word } from "../format.js";
import { storeOf } from "../store.js";

/**
 * A panel draws into the page itself, in place of what the server rendered, once its topic's first
 * snapshot is there.
 */
export class Panel extends LitElement {
  #abort = new AbortController();
  #isOurs = false;

  createRenderRoot() {
    return this;
  }

  /** The attribute names another topic than the page's own. */
  get topic() {
    return this.getAttribute("topic") ?? document.body.dataset.topic ?? "";
  }

  get store() {
    return storeOf(this.topic);
  }

  /** @returns {import("../store.js").State} */
  get state() {
    return this.store.state ?? {};
  }

  connectedCallback() {
    super.connectedCallback();
    this.#abort = new AbortController();
    const signal = this.#abort.signal;
    this.store.addEventListener("change", () => this.requestUpdate(), { signal });
    document.addEventListener("zonechange", () => this.requestUpdate(), { signal });
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.#abort.abort();
  }

  shouldUpdate() {
    return this.store.state !== null;
  }

  /** @param {Map<PropertyKey, unknown>} changed */
  update(changed) {
    if (!this.#isOurs) this.replaceChildren();
    this.#isOurs = true;
    super.update(changed);
  }

  firstUpdated() {
    // What the address names was replaced with the rest of the panel: go there again.
    const id = location.hash.slice(1);
    if (id && this.querySelector(`[id="${CSS.escape(id)}"]`)) location.replace(location.href);
  }

  updated() {
    refreshTimes(this);
  }
}

/** @param {string | null | undefined} at */
export function time(at) {
  return at ? html`<time datetime=${at}></time>` : "–";
}

/** @param {string | null | undefined} at */
export function age(at) {
  return at ? html`<time class="age" data-age datetime=${at}></time>` : "–";
}

/** @param {number} seconds since 1970 */
export function timeOf(seconds) {
  return time(new Date(seconds * 1000).toISOString());
}

/**
 * @param {string} text
 * @param {string} [kind] decides the colour
 */
export function tag(text, kind = text) {
  return html`<span class="tag ${kind}">${word(text)}</span>`;
}

/** @param {string | undefined} name */
export function provider(name) {
  const labels = { local: "Local provider", emulator: "Emulator", aws: "AWS" };
  const label = labels[/** @type {keyof typeof labels} */ (name)] ?? name;
  return html`<span class="tag ai">${label || "Provider unknown"}</span>`;
}

const SHAPES = {
  critical: svg`<path d="M3.6 0h4.8L12 3.6v4.8L8.4 12H3.6L0 8.4V3.6z"/>`,
  high: svg`<path d="M6 .5 12 11.5H0z"/>`,
  medium: svg`<path d="M6 0l6 6-6 6-6-6z"/>`,
  low: svg`<circle cx="6" cy="6" r="5"/>`,
};

/** @param {string} name */
export function severity(name) {
  return html`<span class="severity ${name}"
    ><svg width="12" height="12" viewBox="0 0 12 12" fill="currentColor" aria-hidden="true">
      ${SHAPES[/** @type {keyof typeof SHAPES} */ (name)] ?? SHAPES.low}</svg
    >${name}</span
  >`;
}

/** @param {number} count */
export function s(count) {
  return count === 1 ? "" : "s";
}
