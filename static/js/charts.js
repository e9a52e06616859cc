// Time series on uPlot, in the page's colours.

import uPlot from "../vendor/uplot/uPlot.js";
import { instant, number, zone } from "./format.js";

/**
 * @typedef {{unit: string, points: [number, number | null][], threshold: number | null,
 *   comparison: string, change_points: number[], baseline: [number, number] | null,
 *   forecast: [number, number, number, number][]}} Series
 */

/** @param {string} name */
function colour(name) {
  // Asked of an element, for the property itself holds both the light and the dark colour.
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/**
 * The columns uPlot draws: time, value, forecast mean, its lower and its upper bound.
 * @param {Series} series
 * @returns {uPlot.AlignedData}
 */
export function columns(series) {
  const forecast = series.forecast ?? [];
  const gap = series.points.map(() => null);
  const ahead = forecast.map(() => null);
  return [
    [...series.points.map(([at]) => at), ...forecast.map(([at]) => at)],
    [...series.points.map(([, value]) => value), ...ahead],
    [...gap, ...forecast.map(([, mean]) => mean)],
    [...gap, ...forecast.map(([, , low]) => low)],
    [...gap, ...forecast.map(([, , , high]) => high)],
  ];
}

/**
 * The range that shows the data, the threshold and the usual range.
 * @param {Series} series
 * @param {number} low
 * @param {number} high
 * @returns {[number, number]}
 */
function range(series, low, high) {
  const values = [low, high, ...(series.baseline ?? [])];
  if (series.threshold !== null && series.threshold !== undefined) values.push(series.threshold);
  const known = values.filter((value) => Number.isFinite(value));
  const bottom = Math.min(...known);
  const top = Math.max(...known);
  const margin = (top - bottom) * 0.08 || Math.abs(top) * 0.1 || 1;
  return [bottom >= 0 && bottom < margin ? 0 : bottom - margin, top + margin];
}

/**
 * Lines across the plot: the alert's threshold, change points, the usual range.
 * @param {uPlot} plot
 * @param {Series} series
 */
function drawMarks(plot, series) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  if (series.baseline) {
    const [low, high] = series.baseline.map((value) => plot.valToPos(value, "y", true));
    ctx.fillStyle = colour("--band");
    ctx.fillRect(bbox.left, high ?? 0, bbox.width, (low ?? 0) - (high ?? 0));
  }
  ctx.lineWidth = 1.5 * devicePixelRatio;
  if (series.threshold !== null && series.threshold !== undefined) {
    const y = plot.valToPos(series.threshold, "y", true);
    ctx.strokeStyle = colour("--critical");
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    line(ctx, bbox.left, y, bbox.left + bbox.width, y);
  }
  ctx.strokeStyle = colour("--ai");
  ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
  for (const at of series.change_points ?? []) {
    const x = plot.valToPos(at, "x", true);
    line(ctx, x, bbox.top, x, bbox.top + bbox.height);
  }
  ctx.restore();
}

/**
 * @param {CanvasRenderingContext2D} ctx
 * @param {number} x
 * @param {number} y
 * @param {number} toX
 * @param {number} toY
 */
function line(ctx, x, y, toX, toY) {
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(toX, toY);
  ctx.stroke();
}

/**
 * The time of a tick, with the day where the plot spans more than one.
 * @param {uPlot} plot
 * @param {number} tick
 */
function clock(plot, tick) {
  const text = instant(tick * 1000);
  const { min = 0, max = 0 } = plot.scales.x ?? {};
  return max - min > 86_400 ? text.slice(5, 16) : text.slice(11, 16);
}

/**
 * A value under the pointer; nothing while there is none.
 * @param {number | null} value
 */
function pointed(value) {
  return value === null ? "" : number(value);
}

/**
 * The legend belongs to the picture: its names are drawn by the style sheet, so that the text of the
 * page, which readers search and copy, is what the server wrote.
 * @param {uPlot} plot
 * @param {string[]} names
 */
function nameLines(plot, names) {
  const labels = /** @type {NodeListOf<HTMLElement>} */ (plot.root.querySelectorAll(".u-legend .u-label"));
  labels.forEach((label, index) => {
    label.dataset.name = names[index] ?? "";
    label.textContent = "";
  });
}

/**
 * @param {HTMLElement} place
 * @param {Series} series
 * @returns {uPlot}
 */
export function plotSeries(place, series) {
  const axis = {
    stroke: colour("--muted"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { stroke: colour("--line"), width: 1 },
    font: '12px system-ui, "DejaVu Sans", sans-serif',
  };
  const names = ["Time", series.unit ? `Value (${series.unit})` : "Value", "Forecast", "Low", "High"];
  /** @type {uPlot.Options} */
  const options = {
    width: Math.max(240, place.clientWidth),
    height: 220,
    tzDate: (at) => (zone() === "utc" ? uPlot.tzDate(new Date(at * 1e3), "UTC") : new Date(at * 1e3)),
    cursor: { drag: { x: true, y: false } },
    legend: { live: true },
    scales: { y: { range: (_, low, high) => range(series, low, high) } },
    axes: [
      { ...axis, space: 80, values: (plot, ticks) => ticks.map((tick) => clock(plot, tick)) },
      { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => number(tick)) },
    ],
    series: [
      { value: (_, at) => (at === null ? "" : instant(at * 1000)) },
      {
        stroke: colour("--accent"),
        width: 1.5,
        points: { show: series.points.length < 60, size: 4 },
        value: (_, value) => pointed(value),
      },
      {
        stroke: colour("--ai"),
        width: 1.5,
        dash: [5, 4],
        points: { show: false },
        value: (_, value) => pointed(value),
      },
      { stroke: "transparent", points: { show: false }, value: (_, value) => pointed(value) },
      { stroke: "transparent", points: { show: false }, value: (_, value) => pointed(value) },
    ],
    bands: [{ series: [4, 3], fill: colour("--band") }],
    hooks: {
      init: [(plot) => nameLines(plot, names)],
      drawAxes: [(plot) => drawMarks(plot, series)],
    },
  };
  if (!series.forecast?.length) {
    options.series.length = 2;
    options.bands = [];
    const [at, values] = columns(series);
    return new uPlot(options, /** @type {uPlot.AlignedData} */ ([at, values]), place);
  }
  return new uPlot(options, columns(series), place);
}

/** Draws its `series` property; redraws when the theme, the time zone or its width changes. */
class EvidencePlot extends HTMLElement {
  /** @type {Series | null} */
  #series = null;
  /** @type {uPlot | null} */
  #plot = null;
  #abort = new AbortController();
  #width = 0;
  #resizes = new ResizeObserver(() => {
    if (this.clientWidth !== this.#width) this.#draw();
  });

  /** @param {Series} series */
  set series(series) {
    if (JSON.stringify(series) === JSON.stringify(this.#series)) return;
    this.#series = series;
    if (this.isConnected) this.#draw();
  }

  connectedCallback() {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    document.addEventListener("themechange", () => this.#draw(), { signal });
    document.addEventListener("zonechange", () => this.#draw(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw(), { signal });
    this.#resizes.observe(this);
    this.#draw();
  }

  disconnectedCallback() {
    this.#abort.abort();
    this.#resizes.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  #draw() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#width = this.clientWidth;
    if (this.#series?.points.length) this.#plot = plotSeries(this, this.#series);
  }
}

customElements.define("evidence-plot", EvidencePlot);
