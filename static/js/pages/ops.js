// The operators' page.

import "../panels/board.js";
import "../panels/rail.js";
import { announce } from "../announce.js";
import { listen } from "../keys.js";
import { storeOf } from "../store.js";

announce(storeOf("ops"));

/** @param {number} step */
function move(step) {
  const links = [...document.querySelectorAll("ops-board a.title")];
  const at = links.findIndex((link) => link === document.activeElement);
  const next = links[at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step];
  if (next instanceof HTMLElement) next.focus();
}

/** Acknowledge the incident in focus and follow its card to where it goes. */
async function acknowledge() {
  const link = document.activeElement;
  if (!(link instanceof HTMLAnchorElement) || !link.matches("ops-board a.title")) return;
  const number = link.pathname.split("/")[2];
  const token = document.querySelector('input[name="csrfmiddlewaretoken"]');
  const answer = await fetch(`/api/v1/incidents/${number}/acknowledge/`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-CSRFToken": token instanceof HTMLInputElement ? token.value : "",
    },
    body: "{}",
  });
  if (!answer.ok) {
    say(`Incident ${number} was not acknowledged: ${(await answer.json()).detail ?? answer.status}`);
    return;
  }
  say(`Incident ${number} acknowledged.`);
  board().follow(Number(number));
}

/** @param {string} text */
function say(text) {
  const place = document.getElementById("outcome");
  if (place) place.textContent = text;
}

/** @returns {any} */
function board() {
  return document.querySelector("ops-board");
}

listen([
  { key: "j", does: "next incident", run: () => move(1) },
  { key: "k", does: "previous incident", run: () => move(-1) },
  { key: "a", does: "acknowledge the incident in focus", run: () => void acknowledge() },
  {
    key: ".",
    does: "show updates that wait",
    run: () => board().apply(),
  },
]);
