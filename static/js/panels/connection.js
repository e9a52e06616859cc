// The connection pill. Plain DOM, so that it works where the libraries are missing.

import { ago, instant } from "../format.js";
import { connection, quality } from "../live.js";

class ConnectionPill extends HTMLElement {
  #timer = 0;
  #abort = new AbortController();

  connectedCallback() {
    const live = connection();
    if (live === null) return;
    this.#abort = new AbortController();
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of Object.entries({
      width: "10",
      height: "10",
      viewBox: "0 0 10 10",
      fill: "currentColor",
      "aria-hidden": "true",
    })) {
      svg.setAttribute(name, value);
    }
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const name of ["cx", "cy"]) dot.setAttribute(name, "5");
    dot.setAttribute("r", "4.5");
    svg.append(dot);
    const text = document.createElement("span");
    const pill = document.createElement("span");
    pill.className = "pill";
    pill.append(svg, text);
    this.replaceChildren(pill);
    const show = () => {
      const { state, attempt, since, lastEventAt, rttMs, reason } = live.status;
      pill.dataset.state = state;
      const because = reason ? `: ${reason}` : "";
      if (state === "live") {
        text.textContent = lastEventAt ? `Live · last event ${ago(lastEventAt)} ago` : "Live";
      } else if (state === "connecting") {
        text.textContent = "Connecting";
      } else if (state === "reconnecting") {
        text.textContent = `Reconnecting ${attempt}${because}`;
      } else {
        text.textContent = `Stale since ${instant(since ?? Date.now()).slice(11, 16)}${because}`;
      }
      pill.title =
        rttMs === null
          ? "Round trip not measured"
          : `Connection ${quality(rttMs)}: round trip ${rttMs.toFixed(0)} ms`;
      document.body.classList.toggle("is-stale", state === "stale" || state === "off");
    };
    live.addEventListener("status", show, { signal: this.#abort.signal });
    this.#timer = window.setInterval(show, 1000);
    show();
  }

  disconnectedCallback() {
    clearInterval(this.#timer);
    this.#abort.abort();
  }
}

customElements.define("connection-pill", ConnectionPill);
