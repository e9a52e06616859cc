// Beside the board: agents, system health, the newest events.

import { html } from "../../vendor/lit/index.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { word } from "../format.js";
import { Panel, tag, time } from "./panel.js";

class OpsAgents extends Panel {
  render() {
    return html`<ul class="plain">
      ${(this.state.agents ?? []).map(
        (/** @type {any} */ row) => html`<li class="row spread agent-line">
          <strong>${row.agent}</strong>
          <span class="row"
            >${row.incident ? html`<a href="/incidents/${row.incident}/">#${row.incident}</a>` : ""}${tag(row.state)}</span
          >
        </li>`,
      )}
    </ul>`;
  }
}

/** @param {boolean} ok */
function check(ok) {
  return html`<svg
    width="14"
    height="14"
    viewBox="0 0 14 14"
    fill="none"
    stroke="currentColor"
    stroke-width="2.2"
    stroke-linecap="round"
    role="img"
    aria-label=${ok ? "works" : "fails"}
  >
    <path d=${ok ? "M2.5 7.5 6 11l5.5-8" : "M3 3l8 8M11 3l-8 8"} />
  </svg>`;
}

class OpsHealth extends Panel {
  render() {
    const health = this.state.health;
    if (!health) {
      return html`<p class="muted">
        Not measured yet: the first reading comes from the scheduler within seconds of its start.
      </p>`;
    }
    return html`<ul class="plain health">
        ${Object.entries(health.checks).map(
          ([name, reading]) => html`<li class=${reading.ok ? "ok" : "down"}>
            ${check(reading.ok)}
            <p><strong>${name}</strong> <span class="muted">${reading.summary}</span></p>
          </li>`,
        )}
      </ul>
      <p class="small"><a href="/dashboard/system/health">All figures</a></p>`;
  }
}

/** @param {any} event */
function sentence({ type, data }) {
  const number = data.number ?? data.incident;
  const where = number ? html`<a href="/incidents/${number}/">#${number}</a> ` : "";
  switch (type) {
    case "phase.changed":
      return html`${where}${data.phase} ${word(data.state)}`;
    case "agent.state":
      return html`${where}${data.agent} agent ${word(data.state)}`;
    case "alert.attached":
      return html`${where}${data.attached} alert${data.attached === 1 ? "" : "s"} attached`;
    case "incident.opened":
      return html`${where}opened: ${data.incident.title}`;
    case "incident.updated":
      return html`${where}${word(data.change.replace("incident.", ""))}`;
    case "communication.sent":
      return html`${where}message to ${data.audience} ${word(data.state)}`;
    default:
      return html`${where}${word(type.replace(".", " "))}`;
  }
}

class OpsEvents extends Panel {
  render() {
    const shown = this.store.recent.filter(
      ({ type }) => type !== "health.updated" && type !== "kpis.updated",
    );
    if (!shown.length) {
      return html`<p class="muted">Events appear here as they happen while this page is open.</p>`;
    }
    return html`<div class="events" tabindex="0" role="region" aria-label="Newest events">
      <ol class="plain">
        ${repeat(
          shown,
          (event) => event.position,
          (event) => html`<li>${sentence(event)} <span class="muted">${time(event.at)}</span></li>`,
        )}
      </ol>
    </div>`;
  }
}

customElements.define("ops-agents", OpsAgents);
customElements.define("ops-health", OpsHealth);
customElements.define("ops-events", OpsEvents);
