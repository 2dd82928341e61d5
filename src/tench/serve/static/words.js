// The page's words and numbers in the language chosen. texts.json has them; the report's texts (report/texts) have the same terms.

import { keep } from "./dom.js";

const LANGUAGES = ["en", "pl"];
const root = document.documentElement;
let texts = { en: {}, pl: {}, said: {} };

export async function loadWords() {
  const response = await fetch("/static/texts.json");
  texts = await response.json();
  phrases = Object.entries(texts.said).map(([english, polish]) => [pattern(english), polish]);
}

export const language = () => root.lang;

export function choose(lang) {
  if (!LANGUAGES.includes(lang)) return;
  root.lang = lang;
  keep("tench.language", lang);
}

/** The text of `key`, `values` in its braces: numbers are written as the language does. */
export function t(key, values = {}) {
  const text = texts[language()][key] ?? key;
  return spaced(text.replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : (values[name] ?? ""))));
}

/** Whether there is such a text. */
export const known = (key) => key in texts[language()];

const spaced = (text) => text.replaceAll(" %", "\u00a0%").replaceAll(" px", "\u00a0px");

/** Put the words into all elements that name theirs: data-t for what they hold, data-label for what they are called. */
export function applyWords(within = document) {
  for (const one of within.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  for (const one of within.querySelectorAll("[data-t-label]")) one.setAttribute("aria-label", t(one.dataset.tLabel));
}

const formats = new Map();

/** A number with so many decimals; a dash for none. */
export function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  const key = `${language()} ${digits}`;
  if (!formats.has(key)) {
    // Polish leaves four digits together, but a table's digits should stand under each other.
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: "always" };
    formats.set(key, new Intl.NumberFormat(language(), options));
  }
  return formats.get(key).format(value);
}

/** A share, 0 to 1, as per cent, without the sign. */
export const percent = (share, digits = 1) => number(share === null || share === undefined ? null : 100 * share, digits);

/** A probability with its sign; what rounds to nothing or to all is "< 0.1 %" or "> 99.9 %". */
export function certainty(share) {
  if (share < 0.0005) return `< ${number(0.1, 1)}\u00a0%`;
  if (share >= 0.9995) return `> ${number(99.9, 1)}\u00a0%`;
  return `${number(100 * share, 1)}\u00a0%`;
}

/** Millions or thousands of millions, as parameters and multiply-adds are given. */
export function large(count) {
  if (count === null || count === undefined) return "–";
  const giga = count >= 1e9;
  return `${number(count / (giga ? 1e9 : 1e6), 2)}\u00a0${t(giga ? "unit.giga" : "unit.mega")}`;
}

/** A count of `unit`s with one decimal where it needs it. */
export const round = (count, unit) => number(count / unit, count % unit ? 1 : 0);

/** Seconds for reading: "42 s", "3 min 05 s", "2 h 07 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.round(seconds);
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} ${t("unit.hour")} ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** A number as short as it is exact to `digits` digits, such as a learning rate. */
export function plain(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const text = String(Number(value.toPrecision(digits)));
  return language() === "pl" ? text.replace(".", ",") : text;
}

/** A row of a network's table without what it sets by name; its own name stays. "Conv, 3x3, 32, bias=no" is "Conv, 3x3, 32". */
export const brief = (row) => row.replace(/, name=([^,]+)/, ", $1").replace(/, \w+=[^,]+/g, "");

/** A class's or a demo picture's name. */
export const named = (kind) => (language() === "pl" ? kind.polish : kind.english);

let phrases = [];

function pattern(english) {
  const parts = english.split(/\{(\w+)\}/);
  const escaped = parts.map((part, i) => (i % 2 ? `(?<${part}>.+?)` : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
  return new RegExp(`^${escaped.join("")}$`);
}

/**
 * What tench itself wrote in English, in the page's language: { text, foreign }. What is not known stays as it is and is `foreign`.
 * A place called "name" keeps what stands in it, other places are numbers or phrases themselves.
 */
export function said(english) {
  if (language() === "en") return { text: english, foreign: false };
  for (const [form, polish] of phrases) {
    const found = form.exec(english);
    if (!found) continue;
    const place = (name) => (name === "name" ? found.groups[name] : said_place(found.groups[name]));
    return { text: spaced(polish.replace(/\{(\w+)\}/g, (_, name) => place(name))), foreign: false };
  }
  return { text: english, foreign: true };
}

const said_place = (text) => (/^-?\d+\.\d+$/.test(text) ? text.replace(".", ",") : said(text).text);
