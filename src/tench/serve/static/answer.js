// The models' answers side by side, each with the heat map of one class over the picture.

import * as client from "./client.js";
import { byId, make } from "./dom.js";
import { drawHeat, drawLegend, grey } from "./heat.js";
import { brief, certainty, named, number, percent, said, t } from "./words.js";

const GRAPHIC_ROWS = 10;
let models = new Map();
/** What is shown: { file, name(), picture, cards: [{ answer, model, chosen, heats: Map, ... }], stop }. */
let shown = null;

export function startAnswers(found) {
  models = new Map(found.map((model) => [model.id, model]));
  drawLegend(byId("legend"));
  byId("strength").addEventListener("input", () => shown?.cards.forEach(paint));
  strengthWords();
}

const strength = () => Number(byId("strength").value) / 100;

const strengthWords = () => byId("strength").setAttribute("aria-valuetext", `${byId("strength").value} %`);

export function showAnswers({ file, name, answers, picture }) {
  shown?.stop.abort();
  const cards = answers.map((answer) => ({ answer, model: models.get(answer.model), chosen: answer.guesses[0]?.id, heats: new Map() }));
  shown = { file, name, picture, cards, stop: new AbortController() };
  byId("answer").hidden = false;
  answersWords();
  explainAll(shown);
}

/** One after the other: heat maps take longer than answers do. */
async function explainAll(of) {
  for (const card of of.cards) {
    if (of === shown) await explain(of, card);
  }
}

async function explain(of, card) {
  const kind = card.chosen;
  if (!kind || card.heats.has(kind)) return;
  card.heats.set(kind, { waiting: true });
  under(card);
  try {
    const found = await client.explain(of.file, card.model.id, kind, of.stop.signal);
    card.heats.set(kind, { ...found, map: await grey(found.heat) });
  } catch (error) {
    if (error.name === "AbortError") return;
    card.heats.set(kind, { error });
  }
  if (of === shown && card.chosen === kind) paint(card);
}

/** All that has words, again. */
export function answersWords() {
  strengthWords();
  if (!shown) return;
  byId("summary").textContent = summary();
  byId("cards").replaceChildren(...shown.cards.map(cardOf));
  byId("cards").classList.toggle("one", shown.cards.length === 1);
  shown.cards.forEach(paint);
}

function summary() {
  const say = (card) => {
    const first = card.answer.guesses[0];
    const key = card.answer.not_one_of_these ? "answer.strange_one" : "answer.one";
    return t(key, { class: named(first), p: certainty(first.probability) });
  };
  if (shown.cards.length === 1) return t("answer.single", { name: shown.name(), answer: say(shown.cards[0]) });
  const different = new Set(shown.cards.map((card) => `${card.answer.guesses[0].id} ${Boolean(card.answer.not_one_of_these)}`));
  if (different.size === 1 && !shown.cards[0].answer.not_one_of_these) {
    return t("answer.agree", { name: shown.name(), class: named(shown.cards[0].answer.guesses[0]) });
  }
  const each = shown.cards.map((card) => `${card.model.name}: ${say(card)}`).join("; ");
  return t("answer.differ", { name: shown.name(), each });
}

function cardOf(card) {
  const { answer, model } = card;
  const first = answer.guesses[0];
  const p = certainty(first.probability);
  card.canvas = make("canvas", { role: "img" });
  card.under = make("figcaption", {});
  card.rows = answer.guesses.slice(0, GRAPHIC_ROWS).map((guess) => rowOf(card, guess));
  const strange = answer.not_one_of_these ? strangeNote(answer) : null;
  return make(
    "article",
    { class: answer.not_one_of_these ? "card unsure" : "card", "aria-label": model.name },
    make("h3", {}, model.name),
    make("p", { class: "quiet score" }, ...scoreOf(model)),
    make("div", { class: "verdict" }, make("p", { class: "first" }, named(first), " ", make("span", {}, p)), strange),
    make("figure", { class: "seen" }, card.canvas, card.under),
    make(
      "div",
      { class: "classes" },
      make("ol", {}, card.rows.map((row) => make("li", {}, row))),
      make("p", { class: "quiet time" }, t("answer.time", { ms: number(answer.ms, answer.ms < 10 ? 1 : 0) })),
      trustOf(model),
    ),
  );
}

function strangeNote(answer) {
  const why = t("answer.strange_why", { share: number(Math.floor(100 * (1 - answer.familiarity))) });
  return make("p", { class: "strange" }, make("b", {}, t("answer.strange")), ` ${why}`);
}

function scoreOf(model) {
  const kind = t(`model.${model.kind}`);
  const { score } = model;
  if (!score) return [`${kind}, ${model.input_px} px. ${t("model.no_score")}`];
  const values = { top1: percent(score.top1), low: percent(score.low), high: percent(score.high), n: score.n };
  const line = `${kind}, ${model.input_px} px. ${t("model.score", values)} `;
  return [line, score.is_demo ? make("b", { class: "badge" }, t("demo.badge")) : spoken(score.data)];
}

function trustOf(model) {
  if (!model.trust) return null;
  return make("details", {}, make("summary", {}, t("answer.trust")), make("p", {}, spoken(model.trust)));
}

/** tench's own words in the page's language; what is not translated says that it is English. */
export function spoken(english) {
  const { text, foreign } = said(english);
  return foreign ? make("span", { lang: "en" }, text) : text;
}

function rowOf(card, guess) {
  const row = make(
    "button",
    { type: "button", class: "row", "data-class": guess.id, onclick: () => chooseClass(card, guess.id) },
    make("span", { class: "name" }, named(guess)),
    make("span", { class: "bar", "aria-hidden": "true" }, make("i")),
    make("span", { class: "n" }, certainty(guess.probability)),
  );
  row.querySelector("i").style.setProperty("--share", `${100 * guess.probability}%`);
  return row;
}

function chooseClass(card, kind) {
  card.chosen = kind;
  paint(card);
  explain(shown, card);
}

const chosenName = (card) => named(card.answer.guesses.find((guess) => guess.id === card.chosen));

/** The picture of a card with its heat, and which class is chosen. */
function paint(card) {
  strengthWords();
  const heat = card.heats.get(card.chosen);
  const crops = card.model.resize === "crop";
  drawHeat(card.canvas, shown.picture, heat?.map ?? null, strength(), crops);
  const words = { name: shown.name(), class: chosenName(card), network: card.model.name };
  card.canvas.setAttribute("aria-label", t(heat?.map ? "heat.alt" : "heat.alt_plain", words));
  for (const row of card.rows) row.setAttribute("aria-pressed", String(row.dataset.class === card.chosen));
  under(card);
}

function under(card) {
  const heat = card.heats.get(card.chosen);
  const parts = [];
  if (!shown.picture) parts.push(t("picture.unseen"), " ");
  if (heat?.waiting) parts.push(t("heat.waiting", { class: chosenName(card) }));
  else if (heat?.error) {
    const { text, foreign } = client.sentence(heat.error);
    parts.push(foreign ? make("span", { lang: "en" }, text) : text);
  } else if (heat) parts.push(make("b", {}, t(`heat.${heat.kind}`, { class: chosenName(card) })), " ", spoken(brief(heat.method)));
  card.under.replaceChildren(...parts);
}
