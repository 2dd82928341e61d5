// The runs of the folder as a table, live while something trains, and the training curves of those that are chosen.

import { spoken } from "./answer.js";
import * as client from "./client.js";
import { drawCurves, SERIES, swatch } from "./curves.js";
import { byId, make } from "./dom.js";
import { duration, large, number, percent, plain, said, t } from "./words.js";

const EVERY_MS = 2000;
const MOST = SERIES;
const OPTIMIZERS = { sgdm: "SGDM", adam: "ADAM", muon: "Muon" };

let runs = null;
let watched = false;
let timer = null;
let problem = null;
/** Ids of runs with curves, each at its own place so that it keeps its colour; null where there is room. */
const places = Array(MOST).fill(null);
/** What trained when the runs were asked for last. */
let training = new Set();
let order = { key: "top1", down: true };
const lines = new Map();

const COLUMNS = [
  { key: "name", value: (run) => run.name, cell: nameCell },
  { key: "status", value: (run) => run.status, cell: statusCell },
  { key: "top1", value: (run) => run.top1, cell: accuracyCell, wide: true, numbers: true },
  { key: "reported", value: (run) => run.reported_top1, cell: (run) => percent(run.reported_top1, 2), numbers: true },
  { key: "epochs", value: epochs, cell: (run) => number(epochs(run)), numbers: true },
  { key: "parameters", value: (run) => run.parameters, cell: (run) => large(run.parameters), numbers: true },
  { key: "macs", value: (run) => run.macs, cell: (run) => large(run.macs), numbers: true },
  { key: "train_s", value: (run) => run.train_s, cell: (run) => duration(run.train_s), numbers: true },
];

export function startRuns() {
  document.addEventListener("visibilitychange", () => watchRuns(watched));
  byId("curves-figures").addEventListener("toggle", figures);
}

/** Ask for the runs again and again while the tab is open and the page can be seen. */
export function watchRuns(open) {
  watched = open;
  clearTimeout(timer);
  if (open && document.visibilityState === "visible") poll();
}

async function poll() {
  try {
    const found = await client.runs();
    problem = null;
    if (found) {
      const first = runs === null;
      runs = found.runs;
      chooseNew(first);
      show();
    }
  } catch (error) {
    problem = error;
  }
  const wrong = problem ? client.sentence(problem) : { text: "", foreign: false };
  if (byId("runs-problem").textContent !== wrong.text) byId("runs-problem").textContent = wrong.text;
  clearTimeout(timer);
  if (watched && document.visibilityState === "visible") timer = setTimeout(poll, EVERY_MS);
}

/** What begins to train is shown without being asked for; at first, where nothing trains, the first of the table. */
function chooseNew(first) {
  const now = runs.filter((run) => run.status === "running").map((run) => run.id);
  for (const id of now.filter((one) => !training.has(one))) setChosen(id, true);
  training = new Set(now);
  const ids = new Set(runs.map((run) => run.id));
  places.forEach((id, i) => {
    if (id && !ids.has(id)) places[i] = null;
  });
  if (first && places.every((id) => id === null)) {
    const best = sorted().find((run) => run.history.length > 1);
    if (best) setChosen(best.id, true);
  }
}

function setChosen(id, on) {
  const at = places.indexOf(id);
  if (!on) {
    if (at >= 0) places[at] = null;
  } else if (at < 0) {
    const free = places.indexOf(null);
    places[free < 0 ? MOST - 1 : free] = id;
  }
}

export function runsWords() {
  lines.clear();
  byId("runs-table").replaceChildren();
  if (runs) show();
}

function epochs(run) {
  return run.epochs ?? (run.history.length ? run.history.at(-1).epoch : null);
}

function show() {
  const table = byId("runs-table");
  byId("runs-words").textContent = runs.length ? t("runs.words") : t("runs.none");
  byId("runs-apart").hidden = new Set(runs.filter((run) => run.top1 !== null).map((run) => run.data)).size < 2;
  live();
  if (!runs.length) {
    table.replaceChildren();
  } else {
    if (!table.tHead) table.append(head(), make("tbody", { role: "rowgroup" }));
    headWords();
    body(table.tBodies[0]);
  }
  curves();
}

function live() {
  const say = (run) => {
    const last = run.history.at(-1);
    if (!last) return t("runs.live_start", { name: label(run) });
    return t("runs.live_epoch", { name: label(run), epoch: last.epoch, top1: percent(last.select_top1 ?? last.top1) });
  };
  const text = runs.filter((run) => run.status === "running").map(say).join(" ");
  const element = byId("runs-live");
  if (element.textContent !== text) element.textContent = text;
}

function head() {
  const cells = COLUMNS.map((column) => {
    const attributes = { scope: "col", role: "columnheader", class: column.numbers && !column.wide ? "n" : null, "data-key": column.key };
    return make("th", attributes, make("button", { type: "button", onclick: () => sortBy(column) }));
  });
  return make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, cells));
}

function headWords() {
  const [low, high] = range();
  for (const cell of byId("runs-table").tHead.rows[0].cells) {
    const { key } = cell.dataset;
    cell.firstChild.textContent = t(`runs.${key}`, { low: percent(low, 0), high: percent(high, 0) });
    if (key === order.key) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
}

function sortBy(column) {
  order = { key: column.key, down: order.key === column.key ? !order.down : Boolean(column.numbers) };
  show();
}

/** What trains comes first, what has no value last. */
function sorted() {
  const { value, numbers } = COLUMNS.find((column) => column.key === order.key);
  const sign = order.down ? -1 : 1;
  const compare = (a, b) => {
    const running = (b.status === "running") - (a.status === "running");
    if (running) return running;
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a.id.localeCompare(b.id);
    return sign * (numbers ? x - y : x.localeCompare(y, document.documentElement.lang)) || a.id.localeCompare(b.id);
  };
  return [...runs].sort(compare);
}

/** Of the bars: whole tens of per cent around all intervals. */
function range() {
  const scored = runs.filter((run) => run.top1 !== null);
  if (!scored.length) return [0, 1];
  const low = Math.floor(10 * Math.min(...scored.map((run) => run.low))) / 10;
  const high = Math.ceil(10 * Math.max(...scored.map((run) => run.high))) / 10;
  return [Math.max(0, low), Math.min(1, high)];
}

/** Rows are kept and filled again, so that the focus stays where it is. */
function body(place) {
  const wanted = sorted();
  const ids = new Set(wanted.map((run) => run.id));
  for (const [id, line] of lines) {
    if (!ids.has(id)) {
      line.remove();
      lines.delete(id);
    }
  }
  wanted.forEach((run, i) => {
    if (!lines.has(run.id)) lines.set(run.id, emptyLine(run));
    const line = lines.get(run.id);
    fill(line, run);
    if (place.rows[i] !== line) place.insertBefore(line, place.rows[i] ?? null);
  });
}

function emptyLine(run) {
  const cells = COLUMNS.map((column) => {
    const attributes = { class: column.numbers && !column.wide ? "n" : column.key, role: column.key === "name" ? "rowheader" : "cell" };
    return column.key === "name" ? make("th", { ...attributes, scope: "row" }) : make("td", attributes);
  });
  const toggle = () => {
    setChosen(run.id, !places.includes(run.id));
    show();
  };
  cells[0].append(make("button", { type: "button", class: "toggle", onclick: toggle }), make("div", { class: "about quiet" }));
  return make("tr", { role: "row" }, cells);
}

function fill(line, run) {
  COLUMNS.forEach((column, i) => {
    const cell = line.cells[i];
    cell.dataset.label = t(`runs.${column.key}_short`);
    if (column.key === "name") {
      nameCell(run, cell);
      return;
    }
    const found = column.cell(run);
    cell.replaceChildren(...[found].flat());
    cell.classList.toggle("empty", found === "–");
  });
  line.classList.toggle("running", run.status === "running");
}

function nameCell(run, cell) {
  const [button, about] = cell.children;
  const place = places.indexOf(run.id);
  button.setAttribute("aria-pressed", String(place >= 0));
  button.disabled = run.history.length === 0;
  button.title = run.history.length ? t("runs.toggle") : t("runs.no_history");
  button.replaceChildren(...(place >= 0 ? [swatch(place)] : []), spoken(run.name));
  const options = optionsText(run);
  const notes = run.notes.map((note) => said(note).text).join("; ");
  const text = [options, notes].filter(Boolean).join(". ");
  about.replaceChildren(...(run.is_demo ? [make("b", { class: "badge" }, t("demo.badge")), " "] : []), text);
}

/** The options that matter most, in short; what was not trained step by step did not use those of steps. */
function optionsText({ options, history, status }) {
  const stepwise = history.length > 0 || status !== "finished";
  const parts = [
    ["size_px", (value) => `${value}\u00a0px`],
    ["optimizer", (value) => OPTIMIZERS[value] ?? value],
    ["learn_rate", (value) => t("option.rate", { rate: plain(value) })],
    ["augment", () => t("option.augment")],
    ["share", (value) => (value < 1 ? t("option.share", { share: percent(value, 0) }) : null)],
    ["seed", (value) => t("option.seed", { seed: String(value) })],
  ];
  const shown = (key) => options[key] !== null && options[key] !== undefined && options[key] !== false;
  const used = ([key]) => shown(key) && (stepwise || ["size_px", "share"].includes(key));
  return parts.filter(used).map(([key, say]) => say(options[key])).filter(Boolean).join(", ");
}

function statusCell(run) {
  const words = t(`status.${run.status}`);
  if (run.status !== "running") return words;
  const done = run.options.epochs ? t("runs.done", { n: epochs(run) ?? 0, of: run.options.epochs }) : "";
  return [make("i", { class: "pulse", "aria-hidden": "true" }), words, " ", make("span", { class: "quiet" }, done)];
}

function accuracyCell(run) {
  if (run.top1 === null || run.top1 === undefined) return "–";
  const [low, high] = range();
  const at = (share) => `${(100 * (share - low)) / (high - low || 1)}%`;
  const [bar, point] = [make("i"), make("b")];
  bar.style.left = at(run.low);
  bar.style.width = `${(100 * (run.high - run.low)) / (high - low || 1)}%`;
  point.style.left = at(run.top1);
  const words = t("runs.interval", { low: percent(run.low, 2), high: percent(run.high, 2), n: run.n });
  return [
    make("b", {}, percent(run.top1, 2)),
    make("span", { class: "interval", "aria-hidden": "true" }, bar, point),
    make("span", { class: "quiet" }, words),
  ];
}

/** A run's name, with its seed where others have the same name. */
function label(run) {
  const name = said(run.name).text;
  if (runs.filter((one) => one.name === run.name).length === 1) return name;
  return `${name}, ${t("option.seed", { seed: String(run.options.seed ?? run.id) })}`;
}

function curves() {
  const chosen = places.map((id, place) => ({ place, run: runs.find((run) => run.id === id) })).filter((one) => one.run);
  byId("curves-part").hidden = !runs.some((run) => run.history.length);
  const key = ({ place, run }) => make("li", {}, swatch(place), label(run));
  byId("curves-key").replaceChildren(...chosen.map(key));
  drawCurves(byId("curves"), chosen.map(({ place, run }) => ({ place, name: label(run), history: run.history })));
  figures();
}

const FIGURES = [
  ["epoch", (value) => number(value)],
  ["loss", (value) => number(value, 4)],
  ["top1", (value) => percent(value, 2)],
  ["select_loss", (value) => number(value, 4)],
  ["select_top1", (value) => percent(value, 2)],
  ["learn_rate", (value) => plain(value)],
];

/** The same as figures, for those who read rather than look. */
function figures() {
  if (!byId("curves-figures").open || !runs) return;
  const tables = places.filter(Boolean).map((id) => {
    const run = runs.find((one) => one.id === id);
    const top = make("tr", {}, FIGURES.map(([key]) => make("th", { scope: "col", class: "n" }, t(`history.${key}`))));
    const rows = run.history.map((line) => make("tr", {}, FIGURES.map(([key, text]) => make("td", { class: "n" }, text(line[key])))));
    const table = make("table", {}, make("caption", {}, run.id), make("thead", {}, top), make("tbody", {}, rows));
    return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": run.id }, table);
  });
  byId("curves-tables").replaceChildren(...tables);
}
