// What the swarm did: phases, findings, decision, evidence, time. Used by two pages.

import "../charts.js";
import { html, nothing, svg } from "../../vendor/lit/index.js";
import { repeat } from "../../vendor/lit-html/directives/repeat.js";
import { between, cell, isLocalPath, number, span, word } from "../format.js";
import { age, Panel, provider, s, tag, time, timeOf } from "./panel.js";

class ResponsePanel extends Panel {
  /** @returns {any} */
  get response() {
    return this.state.response ?? {};
  }

  /** @param {string} id */
  citation(id) {
    const index = this.response.evidence.findIndex((/** @type {any} */ row) => row.id === id);
    return index < 0 ? "E?" : `E${index + 1}`;
  }

  /** @param {string[] | undefined} ids */
  citations(ids) {
    return (ids ?? []).map((id) => html`<a class="cite" href="#evidence-${id}">${this.citation(id)}</a> `);
  }

  /** @param {string | null} digest */
  candidate(digest) {
    const found = this.response.candidates.find((/** @type {any} */ row) => row.digest === digest);
    if (!found) return digest ? `candidate ${digest.slice(0, 8)}` : "nothing";
    const action = found.action === "NO_ACTION" ? "no action" : found.action;
    return `${action} ${found.target}`.trim().replaceAll("_", " ");
  }
}

class ResponsePhases extends ResponsePanel {
  render() {
    const response = this.response;
    if (!response.phases?.length) {
      return html`<p class="muted">
        No response has started. The agents worker takes up new incidents within seconds; if this stays, look at
        System health on <a href="/ops">Ops</a>.
      </p>`;
    }
    return html`
      <p class="row">
        ${tag(response.state)} ${response.reason ? html`<span>${response.reason}</span>` : nothing}
        <span class="muted small"
          >Cycle ${response.cycle}${response.cycles.length ? ` · ${response.cycles.length} earlier` : ""} · started
          ${time(response.started_at)}${response.finished_at
            ? ` · took ${between(response.started_at, response.finished_at)}`
            : ""}</span
        >
      </p>
      <ol class="plain phases">
        ${response.phases.map(
          (/** @type {any} */ phase) => html`<li class=${phase.state}>
            <strong>${phase.phase}</strong>
            ${tag(phase.state)}
            <div class="muted small">${this.#taken(phase)}${phase.attempts > 1 ? ` · attempt ${phase.attempts}` : ""}</div>
            ${phase.reason ? html`<div class="small">${phase.reason}</div>` : nothing}
            ${phase.error ? html`<div class="small">Error: ${phase.error}</div>` : nothing}
          </li>`,
        )}
      </ol>
    `;
  }

  /** @param {any} phase */
  #taken(phase) {
    if (!phase.started_at) return "not started";
    if (phase.finished_at) return `took ${between(phase.started_at, phase.finished_at)}`;
    return html`for ${age(phase.started_at)}`;
  }
}

class ResponseFindings extends ResponsePanel {
  render() {
    const runs = (this.response.runs ?? []).filter((/** @type {any} */ run) => run.finding);
    const rows = [...runs, ...Object.values(this.state.writing ?? {})].sort((a, b) => a.id - b.id);
    if (!rows.length) return html`<p class="muted">No agent has reported yet.</p>`;
    return repeat(
      rows,
      (/** @type {any} */ row) => row.id,
      (/** @type {any} */ row) => (row.finding ? this.#finding(row, row.finding) : this.#writing(row)),
    );
  }

  /**
   * Words that are still being written, in the place of the finding that will replace them.
   * @param {{agent: string, phase: string, text: string}} written
   */
  #writing({ agent, phase, text }) {
    return html`<article class="finding">
      <header class="row spread">
        ${this.#title(agent, phase)}
        <span class="row">${tag("writing", "running")}</span>
      </header>
      <p class="words" aria-live="off">${text || html`<span class="muted">No words yet.</span>`}</p>
    </article>`;
  }

  /**
   * @param {string} agent
   * @param {string} phase
   */
  #title(agent, phase) {
    return html`<h3>${agent}${phase === agent ? nothing : html` <span class="muted">in ${phase}</span>`}</h3>`;
  }

  /**
   * @param {any} run
   * @param {any} finding
   */
  #finding(run, finding) {
    return html`<article class="finding">
      <header class="row spread">
        ${this.#title(run.agent, run.phase)}
        <span class="row"
          ><span class="muted small">${between(run.started_at, run.finished_at)}</span>${provider(run.provider)}</span
        >
      </header>
      <p>${finding.summary}</p>
      ${finding.data?.words ? this.#words(finding.data.words) : nothing} ${tone(finding.data ?? {})}
      ${finding.claims?.length
        ? html`<ul class="claims">
            ${finding.claims.map(
              (/** @type {any} */ claim) => html`<li>
                ${claim.text} ${this.citations(claim.evidence)}
                ${claim.confidence === null || claim.confidence === undefined
                  ? nothing
                  : html`<span class="muted small">confidence ${number(claim.confidence)}</span>`}
              </li>`,
            )}
          </ul>`
        : nothing}
      ${finding.dropped_claims
        ? html`<p class="muted small">
            ${finding.dropped_claims} claim${s(finding.dropped_claims)} without evidence
            ${finding.dropped_claims === 1 ? "was" : "were"} dropped.
          </p>`
        : nothing}
      ${finding.unknown?.length
        ? html`<div class="unknown">
            Not known:
            <ul>
              ${finding.unknown.map((/** @type {string} */ sentence) => html`<li>${sentence}</li>`)}
            </ul>
          </div>`
        : nothing}
    </article>`;
  }

  /** @param {any} words */
  #words(words) {
    return html`<div class="words">
      <p class="row">
        <strong>${capitalised(word(words.kind))} in words</strong>
        ${words.provider
          ? html`${provider(words.provider)} <span class="muted small">${words.model}</span>`
          : nothing}
      </p>
      ${words.missing ? html`<p class="unknown">Nothing was written: ${words.missing}</p>` : nothing}
      ${words.sentences.length ? this.#sentences(words) : nothing}
      ${words.decision || words.call || words.notes.length || words.dropped ? this.#origin(words) : nothing}
    </div>`;
  }

  /** @param {any} words */
  #sentences(words) {
    const list = html`<ul class="claims">
      ${words.sentences.map(
        (/** @type {any} */ sentence) => html`<li>${sentence.text} ${this.citations(sentence.evidence)}</li>`,
      )}
    </ul>`;
    // The local writer quotes: what it picked stands below anyway.
    return words.provider === "local"
      ? html`<details><summary>Quoted from what is claimed below</summary>${list}</details>`
      : list;
  }

  /**
   * By which route and call words came about, and what was noted on the way.
   * @param {any} words
   */
  #origin({ decision, call, notes, dropped }) {
    const page = `/transparency?incident=${this.response.incident}`;
    const reason = this.state.ledger?.routes.find((/** @type {any} */ route) => route.id === decision)?.reason;
    return html`<details>
      <summary>How this came about</summary>
      <ul class="claims">
        ${decision
          ? html`<li><a href="${page}#route-${decision}">Route ${decision}</a>${reason ? `: ${reason}` : ""}</li>`
          : nothing}
        ${call ? html`<li><a href="${page}#call-${call}">Call ${call}</a> of the ledger.</li>` : nothing}
        ${notes.map((/** @type {string} */ note) => html`<li>${note}</li>`)}
        ${dropped
          ? html`<li>
              ${dropped} sentence${s(dropped)} that cited no known evidence ${dropped === 1 ? "was" : "were"} dropped.
            </li>`
          : nothing}
      </ul>
    </details>`;
  }
}

/** @param {string} text */
function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {any} data of a finding */
function tone(data) {
  if (!("tone" in data)) return nothing;
  if (!data.tone) return html`<p class="muted">How the update sounds is not known.</p>`;
  return html`<p class="row">The update sounds ${tag(data.tone.label, "")}${provider(data.tone.provider)}</p>`;
}

class ResponseUnknowns extends ResponsePanel {
  render() {
    /** @type {Map<string, Set<string>>} */
    const rows = new Map();
    for (const run of this.response.runs ?? []) {
      for (const sentence of run.finding?.unknown ?? []) {
        rows.set(sentence, (rows.get(sentence) ?? new Set()).add(run.agent));
      }
    }
    if (!rows.size) {
      return html`<p class="muted">No agent has named anything it could not determine.</p>`;
    }
    return html`<ul class="claims">
      ${[...rows].map(
        ([sentence, agents]) =>
          html`<li>${sentence} <span class="muted small">${[...agents].join(", ")}</span></li>`,
      )}
    </ul>`;
  }
}

class ResponseDecision extends ResponsePanel {
  render() {
    const { decision, candidates = [], ballots = [], equivocations = [], incident } = this.response;
    return html`
      ${decision ? this.#decision(decision) : this.#undecided(candidates, ballots)}
      ${candidates.length ? this.#candidates(candidates) : nothing} ${this.#rounds(ballots, decision)}
      ${decision
        ? html`<details>
            <summary>Certificate</summary>
            <p class="muted">
              Anybody can check it offline: <code>manage.py verify_decision ${incident}</code>. All voters run in one
              installation: the signatures give integrity, not isolation.
            </p>
            <pre class="scroll tall" tabindex="0">${JSON.stringify(decision.certificate, null, 2)}</pre>
          </details>`
        : nothing}
      ${equivocations.map(
        (/** @type {any} */ row) => html`<p class="notice error">
          ${row.voter} signed two different ballots in round ${row.round} and is quarantined.
        </p>`,
      )}
    `;
  }

  /**
   * @param {any[]} candidates
   * @param {any[]} ballots
   */
  #undecided(candidates, ballots) {
    return candidates.length || ballots.length
      ? html`<p>Voting is under way: nothing has been decided yet.</p>`
      : html`<p class="muted">No decision yet: candidates are proposed and voted on in the consensus phase.</p>`;
  }

  /** @param {any} decision */
  #decision(decision) {
    const { rule, voters = [], standings = [] } = decision.certificate ?? {};
    const ordered = standings.toSorted(
      (/** @type {any} */ a, /** @type {any} */ b) => b.endorsers.length - a.endorsers.length,
    );
    return html`
      <p class="row">
        ${tag(decision.outcome, decision.outcome === "decided" ? "good" : "warn")}
        <strong>${this.candidate(decision.choice)}</strong>
        <span class="muted small">round ${decision.round}, ${time(decision.decided_at)}</span>
      </p>
      <p>${decision.reason}</p>
      ${ordered.length
        ? html`<div class="scroll" tabindex="0" role="region" aria-label="How the candidates stand">
            <table>
              <caption>
                A candidate needs ${rule.quorum} of ${voters.length} endorsers and more than
                ${number(rule.weight_needed)} of their weight.
                ${rule.families_when_irreversible
                  ? `What cannot be undone also needs evidence of ${rule.families_when_irreversible} families.`
                  : ""}
              </caption>
              <thead>
                <tr>
                  <th scope="col">Candidate</th>
                  <th scope="col">Endorsers</th>
                  <th scope="col" class="num">Weight</th>
                  <th scope="col" class="num">Mean score</th>
                  <th scope="col">Quorum</th>
                </tr>
              </thead>
              <tbody>
                ${ordered.map(
                  (/** @type {any} */ row) => html`<tr>
                    <th scope="row">${this.candidate(row.candidate)}</th>
                    <td>${dots(voters, row.endorsers, rule.quorum)} ${row.endorsers.join(", ") || "none"}</td>
                    <td class="num">${number(row.weight)}</td>
                    <td class="num">${number(row.score)}</td>
                    <td>${row.decided ? tag("reached", "good") : tag("not reached", "")}</td>
                  </tr>`,
                )}
              </tbody>
            </table>
          </div>`
        : nothing}
    `;
  }

  /** @param {any[]} candidates */
  #candidates(candidates) {
    return html`<h3>Candidates</h3>
      <ul class="claims">
        ${candidates.map(
          (row) => html`<li>
            <strong>${this.candidate(row.digest)}</strong>
            ${row.content.risk ? html`<span class="muted small">risk ${row.content.risk}</span>` : nothing}
            ${row.content.rationale ? html`<div>${row.content.rationale}</div>` : nothing}
            ${this.citations(row.content.evidence)}
            ${Object.keys(row.outlook ?? {}).length
              ? html`<details>
                  <summary>Expected effect</summary>
                  <pre tabindex="0">${JSON.stringify(row.outlook, null, 2)}</pre>
                </details>`
              : nothing}
          </li>`,
        )}
      </ul>`;
  }

  /**
   * @param {any[]} ballots
   * @param {any} decision
   */
  #rounds(ballots, decision) {
    const rounds = [...new Set(ballots.map((ballot) => ballot.round))].sort((a, b) => b - a);
    /** @type {any[]} */
    const candidates = this.response.candidates ?? [];
    return rounds.map(
      (round) => html`<h3>Ballots, round ${round}</h3>
        <div class="scroll" tabindex="0" role="region" aria-label="Ballots of round ${round}">
          <table class="votes">
            <thead>
              <tr>
                <th scope="col">Voter</th>
                ${candidates.map((row) => html`<th scope="col" class="num">${this.candidate(row.digest)}</th>`)}
                <th scope="col">Choice and reason</th>
              </tr>
            </thead>
            <tbody>
              ${ballots
                .filter((ballot) => ballot.round === round)
                .map(
                  (ballot) => html`<tr>
                    <th scope="row">${ballot.voter}</th>
                    ${candidates.map((row) => html`<td class="num">${number(ballot.scores[row.digest])}</td>`)}
                    <td class="reason">
                      <strong>${this.candidate(ballot.choice)}</strong>
                      ${decision?.choice && decision.choice !== ballot.choice ? tag("dissents", "warn") : nothing}
                      <div>${ballot.reason}</div>
                      <details>
                        <summary>Signature</summary>
                        <code class="small">${ballot.signature}</code>
                      </details>
                    </td>
                  </tr>`,
                )}
            </tbody>
          </table>
        </div>`,
    );
  }
}

/**
 * A dot per voter, filled for those that endorse.
 * @param {any[]} voters
 * @param {string[]} endorsers
 * @param {number} needed
 */
function dots(voters, endorsers, needed) {
  return html`<svg
    class="dots"
    width=${voters.length * 10 + 6}
    height="14"
    role="img"
    aria-label="${endorsers.length} of ${voters.length} endorse, ${needed} needed"
  >
    ${voters.map(
      (voter, index) =>
        svg`<circle class=${endorsers.includes(voter.voter) ? "on" : ""} cx=${index * 10 + 8} cy="7" r="5" />`,
    )}
  </svg>`;
}

class ResponseEvidence extends ResponsePanel {
  render() {
    const rows = this.response.evidence ?? [];
    if (!rows.length) return html`<p class="muted">No evidence has been gathered yet.</p>`;
    return repeat(
      rows,
      (/** @type {any} */ row) => row.id,
      (/** @type {any} */ row) => html`<article class="evidence" id="evidence-${row.id}">
        <header class="row spread">
          <h3><span class="cite">${this.citation(row.id)}</span> ${row.title}</h3>
          <span class="row">${tag(row.family, "")}</span>
        </header>
        <p class="muted small">
          ${row.agent} read it from ${row.source}${row.observed_from
            ? html`, ${time(row.observed_from)} to ${time(row.observed_to)}`
            : nothing}
        </p>
        ${this.#data(row)}
      </article>`,
    );
  }

  /** @param {any} row */
  #data(row) {
    if (row.kind === "series") return series(row.data);
    const isText = row.kind === "excerpt" || row.kind === "attachment";
    if (isText && row.data?.rows?.length) return excerpts(row.data.rows);
    if (row.data?.rows?.length) return table(row.data.rows);
    return html`<details>
      <summary>Data</summary>
      <dl class="facts small">
        ${Object.entries(row.data ?? {}).map(
          ([name, value]) => html`<dt>${word(name)}</dt><dd>${shown(value)}</dd>`,
        )}
      </dl>
    </details>`;
  }
}

/** @param {import("../charts.js").Series} data */
function series(data) {
  const { points, forecast = [] } = data;
  return html`
    <p>
      ${points.length} points${data.unit ? ` in ${data.unit}` : ""}${data.threshold === null ||
      data.threshold === undefined
        ? ""
        : ` · alert condition ${data.comparison || "at"} ${number(data.threshold)}`}${data.baseline
        ? ` · usual range ${number(data.baseline[0])} to ${number(data.baseline[1])}`
        : ""}${(data.change_points ?? []).map((at) => html` · change at ${timeOf(at)}`)}
    </p>
    <evidence-plot class="plot" aria-hidden="true" .series=${data}></evidence-plot>
    <details>
      <summary>Figures as a table</summary>
      <div class="scroll tall" tabindex="0" role="region" aria-label="Figures">
        <table>
          <caption>
            ${points.length > 60 ? `The latest 60 of ${points.length} points; the API has all.` : "All points."}
          </caption>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col" class="num">Value</th>
            </tr>
          </thead>
          <tbody>
            ${points
              .slice(-60)
              .map(([at, value]) => html`<tr><td>${timeOf(at)}</td><td class="num">${number(value)}</td></tr>`)}
            ${forecast.map(
              ([at, mean, low, high]) => html`<tr>
                <td>${timeOf(at)} <span class="muted">forecast</span></td>
                <td class="num">${number(mean)} <span class="muted">(${number(low)} to ${number(high)})</span></td>
              </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </details>
  `;
}

/** @param {{text: string, uri?: string}[]} rows */
function excerpts(rows) {
  return rows.map(
    ({ text, uri }) => html`<figure class="excerpt">
      <blockquote>${text}</blockquote>
      ${uri
        ? html`<figcaption class="muted small">
            From ${isLocalPath(uri) ? html`<a href=${uri}>${uri}</a>` : uri}
          </figcaption>`
        : nothing}
    </figure>`,
  );
}

/** @param {Record<string, unknown>[]} rows */
function table(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return html`<div class="scroll tall" tabindex="0" role="region" aria-label="Rows of this evidence">
    <table>
      <thead>
        <tr>
          ${columns.map((column) => html`<th scope="col">${word(column)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr>${columns.map((column) => html`<td>${shown(row[column])}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;
}

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d.*(Z|[+-]\d\d:\d\d)$/;

/**
 * A JSON value in a table: instants as times, everything else as text.
 * @param {unknown} value
 */
function shown(value) {
  return typeof value === "string" && INSTANT.test(value) ? time(value) : cell(value);
}

const WIDTH = 960;
const LABEL = 200;
const ROW = 24;

class ResponseWaterfall extends ResponsePanel {
  render() {
    const rows = this.#rows();
    if (!rows.length) return html`<p class="muted">Nothing has started yet.</p>`;
    const begin = Math.min(...rows.map((row) => row.start));
    const total = Math.max(0.001, ...rows.map((row) => Math.max(row.start, row.end ?? 0) - begin));
    const scale = (WIDTH - LABEL - 90) / total;
    const height = rows.length * ROW + 28;
    return html`<div class="scroll" tabindex="0" role="region" aria-label="Phases and agent runs against time">
      <svg
        class="waterfall"
        viewBox="0 0 ${WIDTH} ${height}"
        role="img"
        aria-label="The response took ${span(total)}; the phases' durations are in the list above."
      >
        ${[0, 0.25, 0.5, 0.75, 1].map((part) => {
          const x = LABEL + total * part * scale;
          return svg`<line class="grid" x1=${x} x2=${x} y1="16" y2=${height} /><text class="faint" x=${x} y="11" text-anchor="middle">${part ? span(total * part) : "0"}</text>`;
        })}
        ${rows.map((row, index) => {
          const x = LABEL + (row.start - begin) * scale;
          const seconds = (row.end ?? begin + total) - row.start;
          const width = Math.max(2, seconds * scale);
          return svg`<g transform="translate(0 ${index * ROW + 20})">
            <text x=${row.isRun ? 18 : 0} y="16" class=${row.isRun ? "faint" : ""}>${row.label}</text>
            <rect class="bar-${row.kind}" x=${x} y=${row.isRun ? 8 : 5} width=${width} height=${row.isRun ? 8 : 14} rx="2" />
            <text class="faint" x=${x + width + 6} y="16">${span(seconds)}</text>
          </g>`;
        })}
      </svg>
    </div>`;
  }

  /** @returns {{label: string, kind: string, start: number, end: number | null, isRun: boolean}[]} */
  #rows() {
    const { phases = [], runs = [] } = this.response;
    /** @param {string | null} at */
    const epoch = (at) => (at ? Date.parse(at) / 1000 : null);
    return phases.flatMap((/** @type {any} */ phase) =>
      [
        { label: phase.phase, kind: phase.state, row: phase, isRun: false },
        ...runs
          .filter((/** @type {any} */ run) => run.phase === phase.phase)
          .map((/** @type {any} */ run) => ({ label: `${run.agent} agent`, kind: "run", row: run, isRun: true })),
      ].flatMap(({ label, kind, row, isRun }) => {
        const start = epoch(row.started_at);
        return start === null ? [] : [{ label, kind, start, end: epoch(row.finished_at), isRun }];
      }),
    );
  }
}

customElements.define("response-phases", ResponsePhases);
customElements.define("response-findings", ResponseFindings);
customElements.define("response-unknowns", ResponseUnknowns);
customElements.define("response-decision", ResponseDecision);
customElements.define("response-evidence", ResponseEvidence);
customElements.define("response-waterfall", ResponseWaterfall);
