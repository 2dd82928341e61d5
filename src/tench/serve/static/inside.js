// The way of the picture through a network, layer by layer, and what its first kernels look for.

import * as client from "./client.js";
import { asTabs, byId, make } from "./dom.js";
import { drawGiven } from "./heat.js";
import { brief, number, t } from "./words.js";

let models = [];
/** The picture: { file, name(), picture }. */
let current = null;
const ways = new Map();
const kernels = new Map();
let layer = 1;
let problem = null;
let waiting = false;

export function startInside(found) {
  models = found.filter((model) => model.kind !== "bundle");
  const list = byId("network");
  list.replaceChildren(...models.map((model) => make("option", { value: model.id }, model.name)));
  list.addEventListener("change", () => {
    layer = 1;
    showInside();
  });
  byId("network-line").hidden = models.length === 0;
  byId("inside-none").hidden = models.length > 0;
  showInside();
}

const chosen = () => models.find((model) => model.id === byId("network").value);
const isOpen = () => !byId("inside").hidden;

/** Show this part if it is open; with a new picture, forget the old one's way. */
export function showInside(picture) {
  if (picture) {
    current = picture;
    ways.clear();
  }
  if (!isOpen() || !chosen()) return;
  problem = null;
  insideWords();
  askWay(current, chosen());
  askFilters(chosen());
}

async function askWay(of, model) {
  if (!of || ways.has(model.id)) return;
  ways.set(model.id, null);
  waiting = true;
  wayWords();
  try {
    const found = await client.way(of.file, model.id);
    if (of === current) ways.set(model.id, found.rows);
  } catch (error) {
    if (of !== current) return;
    ways.delete(model.id);
    problem = error;
  }
  waiting = [...ways.values()].includes(null);
  wayWords();
}

async function askFilters(model) {
  if (kernels.has(model.id)) return;
  kernels.set(model.id, null);
  try {
    kernels.set(model.id, await client.filters(model.id));
  } catch (error) {
    if (error.code === "no_filters") kernels.set(model.id, { none: true });
    else kernels.delete(model.id);
  }
  filterWords();
}

export function insideWords() {
  wayWords();
  filterWords();
}

function wayWords() {
  const model = chosen();
  const rows = model && ways.get(model.id);
  byId("way-words").textContent = !model ? "" : !current ? t("way.no_picture") : !rows && waiting ? t("way.waiting") : "";
  const wrong = problem ? client.sentence(problem) : { text: "", foreign: false };
  byId("way-problem").textContent = wrong.text;
  byId("way-problem").lang = wrong.foreign ? "en" : document.documentElement.lang;
  if (!rows) {
    byId("way").replaceChildren();
    return;
  }
  strip(model, rows);
}

/** A strip of layers, the picture first; below it the maps of the one chosen. */
function strip(model, rows) {
  const panel = make("div", { role: "tabpanel", id: "layer", tabindex: "0", class: "layer" });
  const tabs = [givenTab(model), ...rows.map((row, i) => layerTab(row, i + 1))];
  const list = make("div", { class: "strip", role: "tablist", "aria-label": t("way.layers") }, tabs);
  byId("way").replaceChildren(list, panel);
  layer = Math.min(layer, tabs.length - 1);
  const show = asTabs(list, tabs, (place) => {
    layer = place;
    panel.setAttribute("aria-labelledby", tabs[place].id);
    panel.replaceChildren(...(place === 0 ? given(model) : maps(rows[place - 1], place, rows.length)));
    // Only along the strip: the page itself stays where it is.
    list.scrollLeft = tabs[place].offsetLeft - list.offsetLeft - (list.clientWidth - tabs[place].offsetWidth) / 2;
  });
  show(layer);
}

/** A tab of the strip: what it shows small, its title, and the size of its maps. */
function tabOf(place, shown, title, size) {
  const attributes = { type: "button", role: "tab", id: `layer-${place}`, "aria-controls": "layer" };
  return make("button", attributes, shown, make("span", { class: "title" }, title), make("span", { class: "size" }, size));
}

const size = (channels, height, width) => `${number(channels)} × ${number(height)} × ${number(width)}`;

function givenCanvas(model) {
  const target = make("canvas", { "aria-hidden": "true" });
  if (current.picture) drawGiven(target, current.picture, model.input_px, model.resize === "crop");
  return target;
}

function givenTab(model) {
  return tabOf(0, givenCanvas(model), t("way.picture"), size(3, model.input_px, model.input_px));
}

function layerTab(row, place) {
  const shown = make("img", { src: row.maps[0], alt: "" });
  return tabOf(place, shown, brief(row.title), size(row.channels, row.height_px, row.width_px));
}

function given(model) {
  const words = t("way.given", { name: current.name(), px: model.input_px });
  return [make("p", {}, words), make("div", { class: "given" }, givenCanvas(model))];
}

function maps(row, place, of) {
  const values = { title: row.title, shown: row.maps.length, n: row.channels, height: row.height_px, width: row.width_px, place, of };
  const tiles = row.maps.map((uri) => make("img", { src: uri, alt: "" }));
  const words = make("p", {}, make("b", {}, row.title), " ", t("way.maps", values));
  return [words, make("div", { class: "maps", role: "img", "aria-label": t("way.alt", values) }, tiles)];
}

function filterWords() {
  const model = chosen();
  const found = model && kernels.get(model.id);
  byId("filters-part").hidden = !found;
  if (!found) return;
  if (found.none) {
    byId("filters-words").textContent = t("filters.none");
    byId("filters").replaceChildren();
    return;
  }
  byId("filters-words").replaceChildren(t("filters.words", { n: found.filters.length }), " ", `${brief(found.title)}.`);
  const tiles = found.filters.map((uri, i) => make("li", {}, make("img", { src: uri, alt: t("filters.alt", { n: i + 1 }) })));
  byId("filters").replaceChildren(...tiles);
}
