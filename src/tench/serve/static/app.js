// The page of `tench serve`: brings its parts together.

import { showAnswers, startAnswers, answersWords } from "./answer.js";
import * as client from "./client.js";
import { asTabs, byId, keep } from "./dom.js";
import { insideWords, showInside, startInside } from "./inside.js";
import { pictureWords, startPicture, tell } from "./picture.js";
import { runsWords, startRuns, watchRuns } from "./runs.js";
import { applyWords, choose, language, loadWords, t } from "./words.js";

const PARTS = ["picture", "inside", "runs"];
const dark = window.matchMedia("(prefers-color-scheme: dark)");

async function start() {
  await loadWords();
  words();
  byId("page").hidden = false;
  startTabs();
  startSwitches();
  startRuns();
  const ready = client.models().then((models) => {
    startAnswers(models);
    startInside(models);
  });
  ready.catch(tell);
  startPicture(ready, ({ file, name, answers, picture }) => {
    showAnswers({ file, name, answers, picture });
    showInside({ file, name, picture });
  });
}

function words() {
  applyWords();
  document.title = `tench – ${t("picture.title")}`;
  for (const lang of ["en", "pl"]) byId(`lang-${lang}`).setAttribute("aria-pressed", String(language() === lang));
  themeWords();
  pictureWords();
  answersWords();
  insideWords();
  runsWords();
}

function startTabs() {
  const tabs = PARTS.map((name) => byId(`tab-${name}`));
  const show = (place) => {
    PARTS.forEach((name, i) => {
      byId(name).hidden = i !== place;
    });
    const hash = `#${PARTS[place]}`;
    if (location.hash !== hash && (location.hash || place)) history.replaceState(null, "", hash);
    if (PARTS[place] === "inside") showInside();
    watchRuns(PARTS[place] === "runs");
  };
  const chooseTab = asTabs(tabs[0].parentElement, tabs, show);
  const named = () => Math.max(0, PARTS.indexOf(location.hash.slice(1)));
  chooseTab(named());
  window.addEventListener("hashchange", () => {
    if (PARTS.includes(location.hash.slice(1))) chooseTab(named());
  });
}

function startSwitches() {
  for (const lang of ["en", "pl"]) {
    byId(`lang-${lang}`).addEventListener("click", () => {
      choose(lang);
      words();
    });
  }
  byId("theme").addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    keep("tench.theme", next);
    themeWords();
  });
  dark.addEventListener("change", themeWords);
}

const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";

function themeWords() {
  const button = byId("theme");
  button.setAttribute("aria-pressed", String(isDark()));
  button.setAttribute("aria-label", t("page.dark"));
  button.title = t(isDark() ? "page.to_light" : "page.to_dark");
}

start();
