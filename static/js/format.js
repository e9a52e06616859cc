// How instants, durations and numbers are written. The server writes them the same way.

/** @type {Record<string, string>} */
const WORDS = { awaiting_approval: "awaiting approval", NO_ACTION: "no action" };

export const PHASES = [
  "detection",
  "diagnosis",
  "prediction",
  "consensus",
  "resolution",
  "verification",
  "communication",
];
export const SEVERITIES = ["critical", "high", "medium", "low"];

/** @param {unknown} value */
export function word(value) {
  const text = String(value ?? "");
  return WORDS[text] ?? text.replaceAll("_", " ");
}

/**
 * A duration in its two largest units.
 * @param {number | null | undefined} seconds
 */
export function span(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const size = Math.abs(seconds);
  if (seconds === 0) return "0 s";
  if (size < 1) return `${(seconds * 1000).toFixed(0)} ms`;
  if (size < 10) return `${Number(seconds.toPrecision(3))} s`;
  if (size < 60) return `${seconds.toFixed(0)} s`;
  const left = Math.round(seconds);
  /** @type {[number, string, number, string][]} */
  const units = [
    [86_400, "d", 3_600, "h"],
    [3_600, "h", 60, "min"],
    [60, "min", 1, "s"],
  ];
  for (const [whole, unit, part, partUnit] of units) {
    if (left < whole) continue;
    const rest = Math.floor((left % whole) / part);
    return `${Math.floor(left / whole)} ${unit}${rest ? ` ${rest} ${partUnit}` : ""}`;
  }
  return `${left} s`;
}

/**
 * @param {string | null | undefined} start
 * @param {string | null | undefined} end
 */
export function between(start, end) {
  return start && end ? span((Date.parse(end) - Date.parse(start)) / 1000) : "–";
}

/**
 * A measured value with four significant digits and a thousands separator; what counts is whole.
 * @param {unknown} value
 */
export function number(value) {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return (value + 0).toLocaleString("en-US");
  if (size < 1e-3 || size >= 1e7) return value.toExponential(3);
  return value.toLocaleString("en-US", size < 1e4 ? { maximumSignificantDigits: 4 } : { maximumFractionDigits: 0 });
}

/**
 * A JSON value as text.
 * @param {any} value
 * @returns {string}
 */
export function cell(value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return number(value);
  if (Array.isArray(value)) return value.map(cell).join(", ");
  if (typeof value === "object") {
    return Object.entries(value)
      .map(([key, part]) => `${key}=${cell(part)}`)
      .join(", ");
  }
  return String(value);
}

/**
 * Bytes in the unit people use for files; a kilobyte has 1024.
 * @param {number} bytes
 */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} byte${bytes === 1 ? "" : "s"}`;
  const kilobytes = bytes / 1024;
  return kilobytes < 1024 ? `${kilobytes.toFixed(1)} KB` : `${(kilobytes / 1024).toFixed(1)} MB`;
}

/**
 * @param {number | null | undefined} value
 * @param {string} unit
 */
export function measured(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "s" || unit === "seconds") return span(value);
  if (unit === "ratio" || unit === "share" || unit === "fraction") {
    return `${(value * 100).toFixed(1)} %`;
  }
  if (unit.toLowerCase() === "usd") {
    return value.toLocaleString("en-US", { style: "currency", currency: "USD" });
  }
  return number(value);
}

/** @param {unknown} value */
export function count(value) {
  return typeof value === "number" ? value.toLocaleString("en-US") : "–";
}

/** @param {number | null | undefined} value */
export function milliseconds(value) {
  return span(value === null || value === undefined ? null : value / 1000);
}

/**
 * Dollars from nano-dollars, cents at least and then to the last digit that counts.
 * @param {number | null | undefined} nano
 */
export function dollars(nano) {
  if (nano === null || nano === undefined) return "price not known";
  const [whole = "0", part = ""] = (nano / 1e9).toFixed(9).replace(/0+$/, "").split(".");
  return `$${Number(whole).toLocaleString("en-US")}.${part.padEnd(2, "0")}`;
}

/**
 * A sum of prices and how many calls it leaves out because their price is not known.
 * @param {number | null} nano
 * @param {number} unknown
 */
export function money(nano, unknown) {
  if (nano === null || !unknown) return dollars(nano);
  return `${dollars(nano)} and ${unknown} call${unknown === 1 ? "" : "s"} whose price is not known`;
}

// Not "//host", and nothing that a browser would drop or turn round before it reads the address.
const LOCAL_PATH = /^\/(?!\/)[A-Za-z0-9_./~%?=&#-]*$/;

/**
 * Whether an address is a path of this installation, which a page may link to.
 * @param {unknown} uri
 */
export function isLocalPath(uri) {
  return typeof uri === "string" && LOCAL_PATH.test(uri);
}

/** @returns {"utc" | "local"} */
export function zone() {
  return document.documentElement.dataset.zone === "local" ? "local" : "utc";
}

/**
 * An instant in the zone the reader chose.
 * @param {string | number | Date} value RFC 3339, milliseconds since 1970 or a Date
 */
export function instant(value) {
  const at = new Date(value);
  if (Number.isNaN(at.getTime())) return "–";
  if (zone() === "utc") return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const parts = new Intl.DateTimeFormat("sv-SE", {
    dateStyle: "short",
    timeStyle: "medium",
  }).format(at);
  const name = new Intl.DateTimeFormat("en", { timeZoneName: "short" })
    .formatToParts(at)
    .find((part) => part.type === "timeZoneName");
  return `${parts} ${name?.value ?? ""}`.trim();
}

/** @param {string | number | Date} value */
export function ago(value) {
  return span(Math.max(0, Math.floor((Date.now() - new Date(value).getTime()) / 1000)));
}

/**
 * Rewrites every `<time>` under `root`: ages as of now, instants in the chosen zone.
 * @param {ParentNode} root
 */
export function refreshTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = element.getAttribute("datetime") ?? "";
    const isAge = element.hasAttribute("data-age");
    const text = isAge ? ago(at) : instant(at);
    if (element.textContent !== text) element.textContent = text;
    const title = isAge ? instant(at) : `${ago(at)} ago`;
    if (element.getAttribute("title") !== title) element.setAttribute("title", title);
  }
}
