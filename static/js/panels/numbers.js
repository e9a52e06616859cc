// The numbers with their uncertainty.

import { html, nothing, svg } from "../../vendor/lit/index.js";
import { measured } from "../format.js";
import { Panel, s, severity, tag, time } from "./panel.js";

/**
 * @typedef {{value: number | null, low: number | null, high: number | null, n: number, unit: string,
 *   method: string, definition: string, previous: number | null, change: number | null,
 *   quality: {flags: string[]}, reason: string}} Kpi
 */

/**
 * Where the whisker is drawn, in [0, 100], on an axis from 0 to beyond the upper bound.
 * @param {Kpi} kpi
 */
function whisker({ low, value, high, unit }) {
  if (low === null || value === null || high === null) return null;
  const end = unit === "ratio" ? 1 : high * 1.15 || 1;
  return { low: (100 * low) / end, at: (100 * value) / end, high: (100 * high) / end };
}

class DemoTiles extends Panel {
  render() {
    /** @type {[string, string][]} */
    const titles = JSON.parse(this.dataset.titles ?? "[]");
    const kpis = this.state.kpis.kpis;
    return html`<div class="tiles">
      ${titles
        .filter(([name]) => name in kpis)
        .map(
          ([name, title]) => html`<section class="panel tile" aria-labelledby="kpi-${name}">
            ${this.#tile(name, title, kpis[name])}
          </section>`,
        )}
    </div>`;
  }

  /**
   * @param {string} name
   * @param {string} title
   * @param {Kpi} kpi
   */
  #tile(name, title, kpi) {
    return html`
      <h2 id="kpi-${name}">${title}</h2>
      ${kpi.value === null
        ? html`<p class="value none">${kpi.n ? "Not enough data" : "No data"}</p>`
        : html`<p class="value num">${measured(kpi.value, kpi.unit)}</p>`}
      ${this.#interval(kpi)} ${kpi.reason ? html`<p class="small muted">${kpi.reason}</p>` : nothing}
      <p class="small muted">n = <span class="num">${kpi.n}</span>${this.#change(kpi)}</p>
      <details>
        <summary>How it is computed</summary>
        <p>${kpi.definition}</p>
        <p class="muted">Method: ${kpi.method}.</p>
        ${kpi.quality.flags.map((flag) => html`<p class="muted">${flag}</p>`)}
      </details>
    `;
  }

  /** @param {Kpi} kpi */
  #interval(kpi) {
    const at = whisker(kpi);
    if (at === null) return nothing;
    /** @param {number} x @param {number} top */
    const stroke = (x, top) =>
      svg`<line class="range" x1=${x} y1=${top} x2=${x} y2=${12 - top} vector-effect="non-scaling-stroke" />`;
    return html`<svg class="interval" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
        <line class="track" x1="0" y1="6" x2="100" y2="6" vector-effect="non-scaling-stroke" />
        <line class="range" x1=${at.low} y1="6" x2=${at.high} y2="6" vector-effect="non-scaling-stroke" />
        ${stroke(at.low, 2)}${stroke(at.high, 2)}${stroke(at.at, 0)}
      </svg>
      <p class="small">95 % interval ${measured(kpi.low, kpi.unit)} to ${measured(kpi.high, kpi.unit)}</p>`;
  }

  /** @param {Kpi} kpi */
  #change(kpi) {
    if (kpi.change === null) return kpi.value === null || kpi.reason ? "" : " · no earlier window to compare with";
    const before = kpi.previous === null ? "" : ` (${measured(kpi.previous, kpi.unit)})`;
    if (kpi.change === 0) return ` · no change against the window before${before}`;
    return ` · ${kpi.change > 0 ? "+" : ""}${measured(kpi.change, kpi.unit)} against the window before${before}`;
  }
}

/** @param {string} name e.g. "7d" */
function days(name) {
  return name.replace(/^(\d+)d$/, "$1 days");
}

class DemoLead extends Panel {
  render() {
    const { window: shown, kpis } = this.state.kpis;
    const { mttr, incidents_handled: handled } = kpis;
    return html`
      <p class="lead">
        ${handled.n
          ? html`In the last ${days(shown.name)}: <span class="num">${handled.value}</span> incident${s(handled.value)}
              resolved, on average in
              ${measured(mttr.value, mttr.unit)}${mttr.low === null
                ? ""
                : ` (95 % interval ${measured(mttr.low, mttr.unit)} to ${measured(mttr.high, mttr.unit)})`}.`
          : `No incident has been resolved in the last ${days(shown.name)}, so there is nothing to average yet.`}
      </p>
      <p class="muted">
        ${time(shown.from)} to ${time(shown.to)}, ${shown.origin} incidents only: exercises never count here.
      </p>
    `;
  }
}

class DemoProgress extends Panel {
  render() {
    const { total, by_severity: severities, by_status: statuses } = this.state.in_progress;
    return html`
      <p><span class="num">${total}</span> open incident${s(total)}${total ? ":" : ""}</p>
      ${total
        ? html`<p class="row">
              ${Object.entries(severities).map(
                ([name, count]) => html`<span>${severity(name)} <span class="num">${count}</span></span>`,
              )}
            </p>
            <p class="row">
              ${Object.entries(statuses).map(
                ([name, count]) => html`<span>${tag(name)} <span class="num">${count}</span></span>`,
              )}
            </p>`
        : nothing}
    `;
  }
}

customElements.define("demo-tiles", DemoTiles);
customElements.define("demo-lead", DemoLead);
customElements.define("demo-progress", DemoProgress);
