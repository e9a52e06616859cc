// The parts of the incident page that the incidents themselves tell: head, timeline, alerts, files,
// questions.

import { html, nothing } from "../../vendor/lit/index.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { between, count, isLocalPath, size } from "../format.js";
import { age, Panel, provider, s, severity, tag, time } from "./panel.js";

class IncidentHead extends Panel {
  render() {
    const incident = this.state.incident;
    return html`
      <div class="row">
        ${severity(incident.severity)} ${tag(incident.status)}
        ${incident.origin === "gameday" ? tag("game day", "") : nothing}
        ${incident.merged_into
          ? html`<span>merged into <a href="/incidents/${incident.merged_into}/">#${incident.merged_into}</a></span>`
          : nothing}
        ${incident.snoozed_until
          ? html`<span class="tag">snoozed until ${time(incident.snoozed_until)}</span>`
          : nothing}
        ${incident.reopen_count
          ? html`<span class="tag">reopened ${incident.reopen_count} time${s(incident.reopen_count)}</span>`
          : nothing}
      </div>
      <h1>#${incident.number} ${incident.title}</h1>
      <p class="muted">
        ${incident.service || "No service named"} · owner: ${incident.assignee ?? "nobody"} ·
        <span class="num">${incident.alert_count}</span> alert${s(incident.alert_count)}
      </p>
      ${this.#stamps(incident)}
    `;
  }

  /** @param {import("../store.js").Card} incident */
  #stamps(incident) {
    /** @param {string | null} at */
    const after = (at) => `after ${between(incident.detected_at, at)}`;
    const none = (/** @type {unknown} */ text) => html`<span class="muted">${text}</span>`;
    const rows = [
      ["Impact since", incident.impact_start ? time(incident.impact_start) : none("unknown")],
      ["Detected", time(incident.detected_at)],
      ["Received", time(incident.received_at)],
      ["Acknowledged", incident.acknowledged_at ? after(incident.acknowledged_at) : none("not yet")],
      ["Mitigated", incident.mitigated_at ? after(incident.mitigated_at) : none("not marked")],
      [
        "Resolved",
        incident.resolved_at ? after(incident.resolved_at) : none(html`open for ${age(incident.detected_at)}`),
      ],
      ["Closed", incident.closed_at ? time(incident.closed_at) : none("not yet")],
    ];
    return html`<dl class="stamps">
      ${rows.map(([term, value]) => html`<div><dt>${term}</dt><dd>${value}</dd></div>`)}
    </dl>`;
  }
}

class IncidentTimeline extends Panel {
  render() {
    /** @type {any[]} */
    const entries = this.state.timeline ?? [];
    return html`<ol class="plain timeline">
      ${entries.toReversed().map(
        (entry) => html`<li>
          <p>${entry.text}</p>
          <p class="muted small">${time(entry.at)} · ${entry.actor} · ${entry.kind}</p>
        </li>`,
      )}
      ${entries.length ? nothing : html`<li class="muted">Nothing has happened yet.</li>`}
    </ol>`;
  }
}

class IncidentAlerts extends Panel {
  render() {
    /** @type {any[]} */
    const alerts = this.state.alerts ?? [];
    if (!alerts.length) {
      return html`<p class="muted">No alerts: this incident was opened by hand, or its alerts were moved.</p>`;
    }
    const { number, alert_count: total } = this.state.incident;
    return html`
      <div class="scroll" tabindex="0" role="region" aria-label="Alerts of this incident">
        <table>
          <thead>
            <tr>
              <th scope="col">Alert</th>
              <th scope="col">State</th>
              <th scope="col">Since</th>
              <th scope="col" class="num">Times</th>
              <th scope="col">Why it is here</th>
            </tr>
          </thead>
          <tbody>
            ${repeat(
              alerts,
              (alert) => alert.id,
              (alert) => this.#row(alert),
            )}
          </tbody>
        </table>
      </div>
      ${total > alerts.length
        ? html`<p class="muted">
            The newest ${alerts.length} are shown; <a href="/api/v1/incidents/${number}/alerts/">all alerts</a>.
          </p>`
        : nothing}
    `;
  }

  /** @param {any} alert */
  #row(alert) {
    return html`<tr class="row-target" id="alert-${alert.id}">
      <td>
        ${severity(alert.severity)} ${alert.title}
        ${alert.description ? html`<div class="muted">${alert.description}</div>` : nothing}
        <details>
          <summary>Labels</summary>
          <dl class="facts small">
            ${Object.entries(alert.labels).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}
            <dt>fingerprint</dt>
            <dd class="mono">${alert.fingerprint}</dd>
          </dl>
        </details>
      </td>
      <td>${tag(alert.status)}</td>
      <td>${time(alert.starts_at ?? alert.received_at)}</td>
      <td class="num">${alert.count}</td>
      <td>${alert.merge_reason?.explanation ?? "Reason not recorded."}</td>
    </tr>`;
  }
}

class IncidentAttachments extends Panel {
  /** The form that its buttons belong to: there for those who may delete. */
  #canDelete = document.getElementById("delete-attachment") !== null;

  render() {
    /** @type {any[]} */
    const files = this.state.attachments ?? [];
    if (!files.length) {
      return html`<p class="muted">
        Nothing is attached. What is read in a document, log or screenshot becomes evidence.
      </p>`;
    }
    return repeat(
      files,
      (file) => file.id,
      (file) => this.#file(file),
    );
  }

  /** @param {any} file */
  #file(file) {
    const why = file.state === "pending" ? "Not read yet, tried again soon" : "Not read";
    return html`<article class="evidence" id="attachment-${file.id}">
      <header class="row spread">
        <h3><a href=${file.url} download=${file.name}>${file.name}</a></h3>
        <span class="row">${tag(file.state)} ${file.provider ? provider(file.provider) : nothing}</span>
      </header>
      <p class="muted small">${size(file.size)} · attached ${time(file.added_at)} by ${file.added_by}</p>
      ${file.note ? html`<p>${file.note}</p>` : nothing}
      ${file.reason ? html`<p class="unknown">${why}: ${file.reason}</p>` : nothing}
      ${file.state === "read"
        ? html`<details>
            <summary>What was read (${count(file.characters)} character${s(file.characters)})</summary>
            <pre tabindex="0">${file.beginning}${file.characters > file.beginning.length ? "…" : ""}</pre>
          </details>`
        : nothing}
      ${this.#canDelete
        ? html`<details>
            <summary>Delete<span class="visually-hidden"> ${file.name}</span></summary>
            <p>
              <button form="delete-attachment" name="attachment" value=${file.id}>
                Delete for good<span class="visually-hidden">: ${file.name}</span>
              </button>
            </p>
          </details>`
        : nothing}
    </article>`;
  }
}

class IncidentQuestions extends Panel {
  render() {
    /** @type {any[]} */
    const questions = this.state.questions ?? [];
    if (!questions.length) {
      return html`<p class="muted">
        Nobody has asked yet. Answers rest on what is known of this incident, and on what came of earlier ones of
        its service.
      </p>`;
    }
    return repeat(
      questions,
      (question) => question.id,
      (question) => this.#question(question),
    );
  }

  /** @param {any} question */
  #question(question) {
    const why = question.state === "waiting" ? "Not answered yet, tried again soon" : "Not answered";
    return html`<article class="evidence" id="question-${question.id}">
      <header class="row spread">
        <h3>${question.text}</h3>
        <span class="row">${tag(question.state)} ${question.provider ? provider(question.provider) : nothing}</span>
      </header>
      <p class="muted small">
        asked ${time(question.asked_at)} by
        ${question.asked_by}${question.answered_at ? html` · answered ${time(question.answered_at)}` : nothing}
      </p>
      ${question.answer ? html`<p class="words answer">${question.answer}</p>` : nothing}
      ${question.sources.length
        ? html`<ul class="plain small" aria-label="Sources">
            ${question.sources.map((/** @type {any} */ source) => this.#source(source))}
          </ul>`
        : nothing}
      ${question.note ? html`<p class="muted small">${question.note}</p>` : nothing}
      ${question.reason ? html`<p class="unknown">${why}: ${question.reason}</p>` : nothing}
    </article>`;
  }

  /** @param {{id: string, title: string, uri: string}} source */
  #source({ id, title, uri }) {
    return html`<li>
      <span class="mono">[${id}]</span> ${isLocalPath(uri) ? html`<a href=${uri}>${title}</a>` : title}
    </li>`;
  }
}

customElements.define("incident-head", IncidentHead);
customElements.define("incident-timeline", IncidentTimeline);
customElements.define("incident-alerts", IncidentAlerts);
customElements.define("incident-attachments", IncidentAttachments);
customElements.define("incident-questions", IncidentQuestions);
