// What the swarm does, step by step.

import "../panels/ledger.js";
import "../panels/picker.js";
import "../panels/rail.js";
import "../panels/response.js";
