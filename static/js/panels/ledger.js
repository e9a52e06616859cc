// What the AI services were asked for an incident, who answered, and what it cost.

import { html, nothing } from "../../vendor/lit/index.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { count, dollars, milliseconds, money, number, word } from "../format.js";
import { Panel, provider, s, severity, tag, time } from "./panel.js";

/** @type {Record<string, string>} */
const BILLING = {
  local: "Algorithms of this installation: no AWS service was asked.",
  emulator:
    "The emulator speaks the protocols of AWS and bills nothing; the list price is what AWS would have charged.",
  aws: "Asked of AWS; what it bills is reckoned from its list prices.",
};

class LedgerPanel extends Panel {
  /** @returns {any} */
  get ledger() {
    return this.state.ledger ?? { calls: [], call_count: 0, providers: [], routes: [], route_count: 0 };
  }

  sums() {
    const { providers } = this.ledger;
    if (!providers.length) {
      return html`<p class="muted">
        No AI service has been asked about this incident, neither AWS nor a local one.
      </p>`;
    }
    return html`<ul class="plain sums">
      ${providers.map(
        (/** @type {any} */ row) => html`<li>
          <p class="row">
            ${provider(row.provider)}
            <span
              ><span class="num">${row.calls}</span> call${s(row.calls)}${row.failures
                ? html`, <span class="num">${row.failures}</span> without success`
                : nothing}</span
            >
          </p>
          <dl class="facts">
            <dt>Billed</dt>
            <dd class="num">${money(row.billed, row.billed_unknown)}</dd>
            ${row.provider === "local"
              ? nothing
              : html`<dt>List price</dt>
                  <dd class="num">${money(row.list_price, row.list_price_unknown)}</dd>`}
          </dl>
          <p class="muted small">${BILLING[row.provider] ?? nothing}</p>
        </li>`,
      )}
    </ul>`;
  }
}

class ResponseCost extends LedgerPanel {
  render() {
    const number = this.topic.split(":")[1];
    return html`${this.sums()}
    ${this.ledger.call_count
      ? html`<p class="small">
          <a href="/transparency?incident=${number}">Every call and every choice of a model</a>
        </p>`
      : nothing}`;
  }
}

class IncidentCalls extends LedgerPanel {
  render() {
    const { calls, call_count: total } = this.ledger;
    if (!calls.length) return this.sums();
    return html`${this.sums()}
      <div class="scroll high" tabindex="0" role="region" aria-label="Calls to AI services">
        <table class="ledger">
          <caption>
            ${total > calls.length
              ? `The newest ${calls.length} of ${total} calls; the API has all.`
              : "All calls, the newest first."}
          </caption>
          <thead>
            <tr>
              <th scope="col">Call</th>
              <th scope="col">Agent</th>
              <th scope="col">Service</th>
              <th scope="col">Answered by</th>
              <th scope="col">Outcome</th>
              <th scope="col" class="num">Attempts</th>
              <th scope="col">Tokens and units</th>
              <th scope="col" class="num">Billed</th>
              <th scope="col" class="num">List price</th>
              <th scope="col" class="num">Latency</th>
              <th scope="col" class="num">First token</th>
            </tr>
          </thead>
          <tbody>
            ${repeat(
              calls,
              (/** @type {any} */ call) => call.id,
              (/** @type {any} */ call) => this.#row(call),
            )}
          </tbody>
        </table>
      </div>`;
  }

  /** @param {any} call */
  #row(call) {
    const { price_confidence: confidence, route_decision: route } = call;
    return html`<tr class="row-target" id="call-${call.id}">
      <th scope="row">
        ${call.id}
        <div>${time(call.started_at)}</div>
      </th>
      <td>
        ${call.agent || "–"}
        ${route ? html`<div><a href="#route-${route}">route ${route}</a></div>` : nothing}
      </td>
      <td>
        ${call.service}
        <div class="muted">${call.operation}</div>
      </td>
      <td class="id">
        ${provider(call.provider)}
        <div class="muted">
          ${call.model_invoked || (call.model_requested ? `${call.model_requested}, asked for` : nothing)}
        </div>
      </td>
      <td>
        ${tag(call.outcome, call.outcome === "succeeded" ? "good" : "bad")}
        ${call.error_code ? html`<div>${call.error_code}</div>` : nothing}
      </td>
      <td class="num">${attempts(call)}</td>
      <td>${used(call)}</td>
      <td class="num">${dollars(call.nano_usd)}</td>
      <td class="num">
        ${dollars(call.list_price_nano_usd)}
        ${confidence && confidence !== "verified" ? html`<div class="muted">${word(confidence)}</div>` : nothing}
      </td>
      <td class="num">${milliseconds(call.latency_ms)}</td>
      <td class="num">${milliseconds(call.first_token_ms)}</td>
    </tr>`;
  }
}

/**
 * What a call is billed by: tokens and other units; a dash where nothing was counted.
 * @param {any} call
 */
function used({ tokens, units, usage_confidence: confidence }) {
  const { input, output, cache_read: read, cache_write: written } = tokens;
  const others = Object.entries(units).map(([unit, quantity]) => `${unit} ${count(quantity)}`);
  const isCounted = input || output || read || written;
  if (!isCounted && !others.length) return "–";
  return html`${isCounted
    ? html`<div>
        ${count(input)} in, ${count(output)} out${read ? `, ${count(read)} cached` : ""}${written
          ? `, ${count(written)} to cache`
          : ""}
      </div>`
    : nothing}
  ${others.length ? html`<div class="muted">${others.join(", ")}</div>` : nothing}
  ${confidence === "reported" ? nothing : html`<div class="muted">${confidence}</div>`}`;
}

/**
 * How many requests a call took, each of them where there was more than one.
 * @param {any} call
 */
function attempts({ attempts: made, attempt_log: log }) {
  if (made < 2) return made || "–";
  return html`<details>
    <summary>${made}</summary>
    <ol class="plain">
      ${log.map(
        (/** @type {any} */ one) => html`<li>
          ${one.http_status ?? "no answer"} ${one.error}, ${milliseconds(one.latency_ms)}
        </li>`,
      )}
    </ol>
  </details>`;
}

class IncidentRoutes extends LedgerPanel {
  render() {
    const { routes, route_count: total } = this.ledger;
    if (!routes.length) return html`<p class="muted">No model has been chosen for this incident yet.</p>`;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Choices of models">
      <table class="ledger">
        <caption>
          ${total > routes.length
            ? `The newest ${routes.length} of ${total} choices.`
            : "All choices, the newest first."}
        </caption>
        <thead>
          <tr>
            <th scope="col">Route</th>
            <th scope="col">Task</th>
            <th scope="col">Severity</th>
            <th scope="col">Budget level</th>
            <th scope="col">Asked first</th>
            <th scope="col">Why</th>
          </tr>
        </thead>
        ${repeat(
          routes,
          (/** @type {any} */ route) => route.id,
          (/** @type {any} */ route) => this.#route(route),
        )}
      </table>
    </div>`;
  }

  /** @param {any} route */
  #route(route) {
    /** @type {any[]} */
    const candidates = route.candidates;
    return html`<tbody class="row-target" id="route-${route.id}">
      <tr>
        <th scope="row">
          ${route.id}
          <div>${time(route.at)}</div>
        </th>
        <td>${word(route.task)}</td>
        <td>${severity(route.severity)}</td>
        <td>${word(route.level)}</td>
        <td class="id">
          ${route.chosen === "local" ? "local provider" : route.chosen || "nobody"}
          ${route.chosen_region ? html`<div class="muted">${route.chosen_region}</div>` : nothing}
        </td>
        <td class="reason">${route.reason}</td>
      </tr>
      <tr>
        <td colspan="6">
          <details>
            <summary>${candidates.length} candidate${s(candidates.length)}</summary>
            <table>
              <caption>
                The score is the expected cost of call, waiting and failure in USD; the lowest is the best.
              </caption>
              <thead>
                <tr>
                  <th scope="col">Place</th>
                  <th scope="col">Model</th>
                  <th scope="col" class="num">Score</th>
                  <th scope="col" class="num">Price of the call</th>
                  <th scope="col" class="num">Calls seen</th>
                  <th scope="col" class="num">Answers good, bad</th>
                  <th scope="col">Why not</th>
                </tr>
              </thead>
              <tbody>
                ${candidates.map(candidate)}
              </tbody>
            </table>
          </details>
        </td>
      </tr>
    </tbody>`;
  }
}

/** @param {any} one */
function candidate(one) {
  return html`<tr>
    <td class="num">${one.order ?? "–"}</td>
    <th scope="row" class="id">
      ${one.reach === "local" ? "local provider" : html`${one.model}<div>${one.region || one.reach}</div>`}
    </th>
    <td class="num">
      ${number(one.score)}
      ${one.assumed.length ? html`<div class="muted">${one.assumed.join(", ")} assumed</div>` : nothing}
    </td>
    <td class="num">${dollars(one.cost_nano_usd)}</td>
    <td class="num">
      ${one.calls}${one.failures ? `, ${one.failures} failed` : ""}
      ${one.p95_ms === null
        ? nothing
        : html`<div class="muted">95 % within ${milliseconds(one.p95_ms)}</div>`}
    </td>
    <td class="num">${one.good}, ${one.bad}</td>
    <td class="reason">
      ${one.rejected || (one.order === null ? "asked only in place of one that fails" : "–")}
    </td>
  </tr>`;
}

customElements.define("response-cost", ResponseCost);
customElements.define("incident-calls", IncidentCalls);
customElements.define("incident-routes", IncidentRoutes);
