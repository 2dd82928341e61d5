// Training curves as small SVG drawings: loss, accuracy and learning rate by epoch, on the same axis of epochs.

import { draw, make } from "./dom.js";
import { number, percent, plain, t } from "./words.js";

/** How many runs can be told apart by colour and dashes. */
export const SERIES = 4;

const HEIGHT = 210;
const MARGIN = { top: 10, right: 12, bottom: 34 };

const PANELS = [
  { key: "loss", fit: "loss", select: "select_loss", tick: (value) => plain(value, 3), last: (value) => number(value, 3) },
  { key: "accuracy", fit: "top1", select: "select_top1", tick: (value) => percent(value, 0), last: (value) => `${percent(value)} %` },
  { key: "learn_rate", fit: "learn_rate", select: null, log: true, tick: power, last: (value) => plain(value, 3) },
];

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A rate at the axis: small powers of ten as such. */
function power(value) {
  const exponent = Math.log10(value);
  if (value > 0.0009 || Math.abs(exponent - Math.round(exponent)) > 1e-6) return plain(value, 2);
  return `10⁻${[...String(Math.round(-exponent))].map((digit) => SUPERSCRIPTS[digit]).join("")}`;
}

/** A piece of the line of the run at `place`, as a key to the curves. */
export function swatch(place) {
  const line = draw("polyline", { points: "0,4 28,4", class: `curve s${place}` });
  return draw("svg", { class: "swatch", viewBox: "0 0 28 8", "aria-hidden": "true" }, line);
}

let drawn = null;
const watcher = new ResizeObserver(() => {
  if (drawn && widthOf(drawn.place) !== drawn.width) drawCurves(drawn.place, drawn.series);
});

const widthOf = (place) => Math.floor(place.firstElementChild?.clientWidth ?? 0);

/** Curves of `series`, each { place, name, history }: `place`, 0 to 3, decides colour and dashes. */
export function drawCurves(place, series) {
  if (place.childElementCount !== PANELS.length) {
    place.replaceChildren(...PANELS.map(() => make("figure", {}, make("figcaption"), make("div", { class: "plot" }))));
    watcher.observe(place);
  }
  const width = widthOf(place);
  drawn = { place, series, width };
  PANELS.forEach((panel, i) => {
    const [caption, plot] = place.children[i].children;
    caption.textContent = t(`curves.${panel.key}`);
    plot.replaceChildren(...(width > 0 ? [chart(panel, series, width)] : []));
  });
}

function chart(panel, series, width) {
  const kept = (key) => (line) => Number.isFinite(line[key]) && (!panel.log || line[key] > 0);
  const pointsOf = (history, key) => history.filter(kept(key)).map((line) => [line.epoch, line[key]]);
  const keys = [panel.fit, panel.select].filter(Boolean);
  const lines = series.flatMap(({ place, history }) =>
    keys.map((key) => ({ place, dotted: key === panel.select, points: pointsOf(history, key) })),
  );
  const points = lines.flatMap((line) => line.points);
  const alt = [t(`curves.${panel.key}`), ...series.map((one) => spokenEnd(panel, one))].join(". ");
  const svg = draw("svg", { role: "img", "aria-label": alt, viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT });
  if (!points.length) {
    svg.append(draw("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "tick" }, t("curves.empty")));
    return svg;
  }
  const values = points.map(([, value]) => value);
  const ticks = panel.log ? logTicks(values) : niceTicks(Math.min(...values), Math.max(...values), 4);
  const left = 14 + 7.5 * Math.max(...ticks.map((tick) => panel.tick(tick).length));
  const across = scale([1, Math.max(2, ...points.map(([epoch]) => epoch))], [left, width - MARGIN.right]);
  const ends = [Math.min(ticks[0], ...values), Math.max(ticks.at(-1), ...values)];
  const up = scale(panel.log ? ends.map(Math.log) : ends, [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const y = (value) => up(panel.log ? Math.log(value) : value);
  svg.append(...axes(ticks, panel.tick, y, across, left, width), ...lines.flatMap((line) => curve(line, across, y)));
  return svg;
}

function spokenEnd(panel, { name, history }) {
  const last = history.at(-1);
  if (!last) return name;
  const value = (panel.select && last[panel.select]) ?? last[panel.fit];
  return t("curves.end", { name, epoch: last.epoch, value: Number.isFinite(value) ? panel.last(value) : "–" });
}

const scale = ([from, to], [low, high]) => (value) => low + ((value - from) / (to - from || 1)) * (high - low);

function axes(ticks, text, y, across, left, width) {
  const marks = ticks.flatMap((tick) => [
    draw("line", { x1: left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick), class: "grid" }),
    draw("text", { x: left - 7, y: y(tick) + 4, "text-anchor": "end", class: "tick" }, text(tick)),
  ]);
  const last = Math.round(1 + (width - MARGIN.right - across(1)) / (across(2) - across(1)));
  const inside = (epoch) => Number.isInteger(epoch) && epoch >= 1 && epoch <= last;
  const epochs = niceTicks(1, last, Math.max(2, Math.floor(width / 80))).filter(inside);
  if (!epochs.includes(1)) epochs.unshift(1);
  if (across(last) - across(epochs.at(-1)) > 28) epochs.push(last);
  const base = HEIGHT - MARGIN.bottom;
  marks.push(draw("line", { x1: left, x2: width - MARGIN.right, y1: base, y2: base, class: "axis" }));
  for (const epoch of epochs) {
    marks.push(draw("line", { x1: across(epoch), x2: across(epoch), y1: base, y2: base + 4, class: "axis" }));
    marks.push(draw("text", { x: across(epoch), y: base + 17, "text-anchor": "middle", class: "tick" }, number(epoch)));
  }
  marks.push(draw("text", { x: width - MARGIN.right, y: HEIGHT - 3, "text-anchor": "end", class: "tick" }, t("curves.epoch")));
  return marks;
}

function curve({ place, dotted, points }, across, y) {
  const path = points.map(([epoch, value]) => `${across(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const parts = [draw("polyline", { points: path, class: `curve s${place}${dotted ? " select" : ""}` })];
  if (dotted || points.length === 1) {
    const radius = points.length > 40 ? 1.6 : 2.6;
    const at = ([epoch, value]) => ({ cx: across(epoch).toFixed(1), cy: y(value).toFixed(1) });
    parts.push(...points.map((point) => draw("circle", { ...at(point), r: radius, class: `dot s${place}` })));
  }
  return parts;
}

/** About `n` round values that enclose low to high. */
export function niceTicks(low, high, n) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: Math.max(1, last - first) + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Powers of ten that enclose the values; with few of them also 2 and 5 times. */
function logTicks(values) {
  const low = Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  const high = Math.ceil(Math.log10(Math.max(...values)) - 1e-9);
  const powers = Array.from({ length: Math.max(1, high - low) + 1 }, (_, i) => low + i);
  const every = Math.ceil(powers.length / 5);
  const factors = powers.length <= 2 ? [1, 2, 5] : [1];
  const ticks = powers.filter((_, i) => i % every === 0).flatMap((power) => factors.map((factor) => factor * 10 ** power));
  const top = 10 ** high;
  return ticks.filter((tick) => tick <= top * 1.001 || powers.length === 1).map((tick) => Number(tick.toPrecision(6)));
}
