// One socket per page: subscribe, acknowledge, resume, measure.

import { storeOf } from "./store.js";

const ACK_EVERY = 8;
const ACK_AFTER_MS = 250;
const PING_EVERY_MS = 10_000;
const SILENT_AFTER_MS = 40_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;
const STALE_AFTER_MS = 15_000;
const WHOLE_AFTER_MS = 150;
// Events carry nearly all of the board and many watch it: rarely, and not all at once.
const BOARD_WHOLE_AFTER_MS = 3_000;
// The server allows a socket two resumes a second, for all its topics together.
const WHOLE_EVERY_MS = 1_200;
const SIGNED_OUT = [4401, 4403];

/**
 * @typedef {{state: "connecting" | "live" | "reconnecting" | "stale" | "off", attempt: number,
 *   since: number | null, lastEventAt: number | null, rttMs: number | null, reason: string}} Status
 */

/**
 * The quality of a round trip on this page's own clock.
 * @param {number} rttMs
 */
export function quality(rttMs) {
  if (rttMs < 50) return "excellent";
  if (rttMs < 100) return "good";
  return rttMs < 200 ? "fair" : "poor";
}

/**
 * How long to wait before the next attempt: doubling, with jitter so that a restarted server does
 * not meet all its clients at once.
 * @param {number} attempt from 1
 * @param {number} chance in [0, 1)
 */
export function backOff(attempt, chance) {
  const ceiling = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (attempt - 1));
  return ceiling / 2 + (ceiling / 2) * chance;
}

export class Live extends EventTarget {
  /** @param {string} query e.g. "dashboard=ops&incident=12" */
  constructor(query) {
    super();
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.url = `${scheme}//${location.host}/dashboard/ws?${query}`;
    /** @type {Status} */
    this.status = {
      state: "connecting",
      attempt: 0,
      since: null,
      lastEventAt: null,
      rttMs: null,
      reason: "",
    };
    /** @type {WebSocket | null} */
    this.socket = null;
    this.heardAt = performance.now();
    /** @type {Map<string, number>} frames not yet acknowledged, by topic */
    this.unacknowledged = new Map();
    /** @type {Map<string, number>} timers of topics whose snapshot was asked for */
    this.asked = new Map();
    /** @type {Map<string, number>} when a topic's snapshot was last asked for */
    this.askedAt = new Map();
    /** @type {Set<string>} */
    this.topics = new Set();
    this.wasRevoked = false;
    this.retryTimer = 0;
    this.ackTimer = 0;
  }

  start() {
    this.#connect();
    setInterval(() => this.#beat(), PING_EVERY_MS);
    addEventListener("online", () => this.#reconnectNow());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#reconnectNow();
    });
  }

  #connect() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.addEventListener("open", () => {
      this.heardAt = performance.now();
      for (const topic of this.topics) this.#resume(topic);
      this.#ping();
    });
    socket.addEventListener("message", (message) => {
      this.heardAt = performance.now();
      this.#receive(JSON.parse(message.data));
    });
    socket.addEventListener("close", (event) => {
      if (this.socket === socket) this.#lost(event.code);
    });
  }

  /** @param {number} code */
  #lost(code) {
    this.socket = null;
    this.unacknowledged.clear();
    const mayReturn = this.wasRevoked;
    this.wasRevoked = false;
    if (SIGNED_OUT.includes(code) && !mayReturn) {
      this.#tell({ state: "off", since: this.status.since ?? Date.now(), reason: "signed out" });
      return;
    }
    const attempt = this.status.attempt + 1;
    const since = this.status.since ?? Date.now();
    const reason = code === 4429 ? "the server is full" : "";
    const state = Date.now() - since > STALE_AFTER_MS ? "stale" : "reconnecting";
    this.#tell({ state, attempt, since, rttMs: null, reason });
    clearTimeout(this.retryTimer);
    this.retryTimer = window.setTimeout(
      () => this.#connect(),
      backOff(attempt, Math.random()),
    );
  }

  #reconnectNow() {
    if (this.socket || this.status.state === "off" || this.status.state === "connecting") return;
    clearTimeout(this.retryTimer);
    this.#connect();
  }

  /** @param {any} frame */
  #receive(frame) {
    switch (frame.type) {
      case "snapshot":
        this.topics.add(frame.topic);
        this.#storeOf(frame.topic).replace(frame);
        this.#tell({ state: "live", attempt: 0, since: null, reason: "" });
        this.#acknowledge(frame.topic);
        break;
      case "batch":
        this.#batch(frame);
        break;
      case "heartbeat":
        if (frame.position > storeOf(frame.topic).position) this.#resume(frame.topic);
        this.#tell({});
        break;
      case "pong":
        this.#tell({ rttMs: performance.now() - frame.t });
        break;
      case "revoked":
        // Rights changed; whoever may still read is let in again.
        this.wasRevoked = true;
        this.#tell({ state: "reconnecting", since: Date.now(), reason: "rights changed" });
        break;
    }
  }

  /** @param {any} frame */
  #batch(frame) {
    const store = storeOf(frame.topic);
    if (!store.apply(frame)) this.#resume(frame.topic);
    this.#tell({ state: "live", attempt: 0, since: null, lastEventAt: Date.now(), reason: "" });
    this.#acknowledge(frame.topic);
  }

  /** @param {string} topic */
  #storeOf(topic) {
    const store = storeOf(topic);
    if (!this.#watched.has(topic)) {
      this.#watched.add(topic);
      store.addEventListener("incomplete", () => this.#askWhole(topic));
    }
    return store;
  }

  /** @type {Set<string>} */
  #watched = new Set();

  /**
   * Ask for a whole snapshot, once for a burst of events.
   * @param {string} topic
   */
  #askWhole(topic) {
    if (this.asked.has(topic)) return;
    const next = (this.askedAt.get(topic) ?? -WHOLE_EVERY_MS) + WHOLE_EVERY_MS - performance.now();
    const wait =
      topic === "ops"
        ? BOARD_WHOLE_AFTER_MS * (1 + Math.random())
        : Math.max(WHOLE_AFTER_MS, next);
    this.asked.set(
      topic,
      window.setTimeout(() => {
        this.asked.delete(topic);
        this.askedAt.set(topic, performance.now());
        // No epoch is empty, so the answer is a snapshot.
        this.#send({ type: "resume", topic, epoch: "", position: 0 });
      }, wait),
    );
  }

  /** @param {string} topic */
  #resume(topic) {
    const { epoch, position } = storeOf(topic);
    this.#send({ type: "resume", topic, epoch, position });
  }

  /** @param {string} topic */
  #acknowledge(topic) {
    const frames = (this.unacknowledged.get(topic) ?? 0) + 1;
    this.unacknowledged.set(topic, frames);
    clearTimeout(this.ackTimer);
    if (frames >= ACK_EVERY / 2) this.#flushAcks();
    else this.ackTimer = window.setTimeout(() => this.#flushAcks(), ACK_AFTER_MS);
  }

  #flushAcks() {
    for (const topic of this.unacknowledged.keys()) {
      this.#send({ type: "ack", topic, position: storeOf(topic).position });
    }
    this.unacknowledged.clear();
  }

  #beat() {
    if (this.socket === null) {
      const since = this.status.since;
      if (since && Date.now() - since > STALE_AFTER_MS && this.status.state === "reconnecting") {
        this.#tell({ state: "stale" });
      }
      return;
    }
    if (performance.now() - this.heardAt > SILENT_AFTER_MS) {
      const silent = this.socket;
      this.#lost(0);
      silent.close();
      return;
    }
    this.#ping();
  }

  #ping() {
    this.#send({ type: "ping", t: performance.now() });
  }

  /** @param {object} frame */
  #send(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  /** @param {Partial<Status>} change */
  #tell(change) {
    this.status = { ...this.status, ...change };
    this.dispatchEvent(new Event("status"));
  }
}

/** @type {Live | null} */
let page = null;

/** The page's connection, started at first use; null on pages without a topic. */
export function connection() {
  const query = document.body.dataset.socket;
  if (page === null && query) {
    page = new Live(query);
    page.start();
  }
  return page;
}
