// What every page has: theme, time zone, connection pill. Needs no library.

import "../panels/connection.js";
import "../panels/preferences.js";
import { refreshTimes } from "../format.js";
import { connection } from "../live.js";

connection();
refreshTimes(document);
setInterval(() => refreshTimes(document), 1000);
document.addEventListener("zonechange", () => refreshTimes(document));
