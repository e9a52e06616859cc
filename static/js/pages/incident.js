// The page of one incident.

import "../panels/incident.js";
import "../panels/ledger.js";
import "../panels/response.js";
import { announce } from "../announce.js";
import { storeOf } from "../store.js";

const store = storeOf(document.body.dataset.topic ?? "");
announce(store);

// Only what is lawful now can be pressed; the server decides anew in any case.
store.addEventListener("change", () => {
  const incident = store.state?.incident;
  if (!incident) return;
  /** @type {Record<string, boolean>} */
  const makesSense = {
    release: incident.assignee !== null,
    take: incident.assignee !== document.body.dataset.user,
    wake: incident.snoozed_until !== null,
  };
  for (const form of document.querySelectorAll("form[data-statuses]")) {
    if (!(form instanceof HTMLFormElement)) continue;
    const isLawful = (form.dataset.statuses ?? "").split(" ").includes(incident.status);
    form.hidden = !isLawful || makesSense[form.dataset.verb ?? ""] === false;
  }
});
