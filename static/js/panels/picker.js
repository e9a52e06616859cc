// The list of recent responses.

import { html, nothing } from "../../vendor/lit/index.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { age, Panel, severity, tag } from "./panel.js";

class ResponsePicker extends Panel {
  render() {
    /** @type {any[]} */
    const rows = this.state.responses ?? [];
    if (!rows.length) {
      return html`<p class="muted">No response yet. Send an alert: <a href="/ops">Ops</a> shows how.</p>`;
    }
    const chosen = this.dataset.number;
    return html`<ul class="plain picker">
      ${repeat(
        rows,
        (row) => `${row.incident}.${row.cycle}`,
        (row) => html`<li>
          <a
            href="/transparency?incident=${row.incident}"
            aria-current=${String(row.incident) === chosen ? "true" : nothing}
          >
            <span class="row spread">${severity(row.severity)}${tag(row.state)}</span>
            <span>#${row.incident} ${row.title}</span>
            <span class="muted small"
              >${row.cycle > 1 ? `cycle ${row.cycle} · ` : ""}${age(row.started_at)} ago${row.origin === "gameday"
                ? " · game day"
                : ""}</span
            >
          </a>
        </li>`,
      )}
    </ul>`;
  }
}

customElements.define("response-picker", ResponsePicker);
