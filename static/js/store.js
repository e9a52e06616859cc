// What one topic shows, kept by its snapshot and the events after it.
//
// An event at or before the position held is skipped, and a card older than the one held is not
// taken: applying anything twice changes nothing. What an event cannot carry whole (an incident's
// story, its evidence) is asked for again as a snapshot, so at rest the state is the server's.

/**
 * @typedef {{number: number, title: string, status: string, severity: string, service: string,
 *   origin: string, alert_count: number, version: number, impact_start: string | null,
 *   detected_at: string, received_at: string, acknowledged_at: string | null,
 *   mitigated_at: string | null, resolved_at: string | null, closed_at: string | null,
 *   assignee: string | null, merged_into: number | null, snoozed_until: string | null,
 *   reopen_count: number}} Card
 * @typedef {{position: number, type: string, at: string, version: number, data: any}} TopicEvent
 * @typedef {Record<string, any>} State
 */

/** Events that change a part of a snapshot beyond what they carry. */
const WHOLE = {
  incident: [
    "incident.opened",
    "incident.updated",
    "incident.resolved",
    "alert.attached",
    "phase.changed",
    "agent.state",
    "evidence.added",
    "ballot.cast",
    "decision.made",
    "approval.requested",
    "approval.decided",
    "action.state",
    "communication.sent",
    "awsai.call",
  ],
  transparency: ["phase.changed", "evidence.added", "ballot.cast", "decision.made", "agent.state"],
  demo: [],
};

/** A run in one of these is over: its agent is idle, unless another run of it goes on. */
const ENDED = ["completed", "error", "timeout"];

export class Store extends EventTarget {
  /** @param {string} topic */
  constructor(topic) {
    super();
    this.topic = topic;
    /** @type {State | null} */
    this.state = null;
    this.epoch = "";
    this.position = 0;
    /** @type {TopicEvent[]} newest first */
    this.recent = [];
  }

  /** @param {{epoch: string, position: number, data: State}} frame */
  replace(frame) {
    this.epoch = frame.epoch;
    this.position = frame.position;
    // Snapshots do not have the words that are still being written.
    this.state = withWords(frame.data, this.state?.writing);
    this.#changed([]);
  }

  /**
   * @param {{epoch: string, events: TopicEvent[]}} frame
   * @returns {boolean} false when events are missing before the first of these
   */
  apply(frame) {
    if (this.state === null || frame.epoch !== this.epoch) return false;
    const fresh = frame.events.filter((event) => event.position > this.position);
    const first = fresh[0];
    if (first === undefined) return true;
    if (first.position > this.position + 1) return false;
    for (const event of fresh) {
      this.state = reduce(this.topic, this.state, event);
      this.position = event.position;
    }
    this.recent = [...fresh.toReversed(), ...this.recent].slice(0, 100);
    this.#changed(fresh);
    if (fresh.some((event) => needsWhole(this.topic, event))) {
      this.dispatchEvent(new Event("incomplete"));
    }
    return true;
  }

  /** @param {TopicEvent[]} events */
  #changed(events) {
    this.dispatchEvent(new CustomEvent("change", { detail: events }));
  }
}

/**
 * @param {string} topic
 * @param {TopicEvent} event
 */
function needsWhole(topic, event) {
  const family = /** @type {keyof typeof WHOLE} */ (topic.split(":")[0]);
  if (topic === "ops") return event.type === "agent.state" && ENDED.includes(event.data.state);
  return WHOLE[family]?.some((type) => type === event.type) ?? false;
}

/**
 * The state after an event. Pure: a new object where something changed.
 * @param {string} topic
 * @param {State} state
 * @param {TopicEvent} event
 * @returns {State}
 */
export function reduce(topic, state, event) {
  const { data } = event;
  switch (event.type) {
    case "incident.opened":
    case "incident.updated":
    case "incident.resolved":
    case "alert.attached":
      if (topic.startsWith("incident:")) return withIncident(state, data.incident);
      return state.incidents
        ? settled({ ...state, incidents: withCard(state.incidents, data.incident) })
        : state;
    case "phase.changed":
      if (topic.startsWith("incident:")) return { ...state, response: withPhase(state.response, data) };
      return topic === "ops" && state.responses
        ? settled({ ...state, responses: withResponse(state.responses, data) })
        : state;
    case "agent.state":
      return state.agents ? { ...state, agents: withAgent(state.agents, data) } : state;
    case "agent.words":
      return withWords(state, { ...state.writing, [data.run]: { ...data, id: data.run } });
    case "health.updated":
      return (state.health?.version ?? 0) > event.version
        ? state
        : { ...state, health: { ...data.health, version: event.version } };
    case "kpis.updated":
      return topic === "demo" ? { ...state, ...data } : { ...state, kpis: data.kpis };
    default:
      return state;
  }
}

/**
 * @param {State} state
 * @param {Card | undefined} card
 */
function withIncident(state, card) {
  if (!card || card.version < (state.incident?.version ?? 0)) return state;
  return { ...state, incident: card };
}

/**
 * @param {Card[]} cards
 * @param {Card | undefined} card
 */
function withCard(cards, card) {
  if (!card) return cards;
  const held = cards.find((other) => other.number === card.number);
  if (held && held.version > card.version) return cards;
  const others = cards.filter((other) => other.number !== card.number);
  return card.status === "merged" ? others : [card, ...others];
}

/**
 * @param {State[]} responses
 * @param {any} data
 */
function withResponse(responses, data) {
  const held = responses.find((row) => row.incident === data.incident);
  if (held && held.cycle > data.cycle) return responses;
  const row = {
    ...held,
    incident: data.incident,
    cycle: data.cycle,
    state: data.response_state,
    phase: data.current_phase,
  };
  return [row, ...responses.filter((other) => other.incident !== data.incident)];
}

/**
 * @param {State | null} response
 * @param {any} data
 */
function withPhase(response, data) {
  if (!response || response.cycle !== data.cycle) return response;
  return {
    ...response,
    state: data.response_state,
    phase: data.current_phase,
    phases: response.phases.map((/** @type {State} */ row) =>
      row.phase === data.phase
        ? {
            ...row,
            state: data.state,
            attempts: data.attempts,
            started_at: data.started_at,
            finished_at: data.finished_at,
          }
        : row,
    ),
  };
}

/**
 * The state with the words of those runs of its response that have not ended: a finding replaces them.
 * @param {State} state
 * @param {Record<string, State> | undefined} written by run
 */
function withWords(state, written) {
  if (!written) return state;
  const { cycle, runs = [] } = state.response ?? {};
  const ended = new Set(
    runs.filter((/** @type {State} */ run) => run.finished_at).map((/** @type {State} */ run) => run.id),
  );
  const rows = Object.values(written).filter((words) => words.cycle === cycle && !ended.has(words.id));
  return { ...state, writing: Object.fromEntries(rows.map((words) => [words.id, words])) };
}

/**
 * The board follows a response while its incident is open or it is still at work.
 * @param {State} state
 */
function settled(state) {
  if (!state.responses) return state;
  const open = new Set(
    state.incidents.filter((/** @type {Card} */ card) => isOpen(card)).map((/** @type {Card} */ card) => card.number),
  );
  return {
    ...state,
    responses: state.responses.filter(
      (/** @type {State} */ row) => row.state === "running" || open.has(row.incident),
    ),
  };
}

/** @param {Card} card */
export function isOpen(card) {
  return ["triggered", "acknowledged", "mitigated"].includes(card.status);
}

/**
 * @param {State[]} agents
 * @param {any} data
 */
function withAgent(agents, data) {
  return agents.map((row) => {
    if (row.agent !== data.agent || (row.at && row.at > data.at)) return row;
    const { state, incident, phase, at } = data;
    return ENDED.includes(state)
      ? { ...row, state: "idle", incident: null, phase: null, at }
      : { ...row, state, incident, phase, at };
  });
}

/** @type {Map<string, Store>} */
const stores = new Map();

/**
 * The page's store of a topic.
 * @param {string} topic
 * @returns {Store}
 */
export function storeOf(topic) {
  const known = stores.get(topic);
  if (known) return known;
  const store = new Store(topic);
  stores.set(topic, store);
  return store;
}
