// The numbers.

import "../panels/numbers.js";
