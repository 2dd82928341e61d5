// A picture comes in: dropped, pasted, chosen, photographed or one of the demo pictures. What was there stays until it is answered.

import * as client from "./client.js";
import { byId, make } from "./dom.js";
import { opened } from "./heat.js";
import { named, t } from "./words.js";

let answered = () => {};
let ready = Promise.resolve();
let demo = [];
let asking = null;
let problem = null;
let busyWith = null;

/** Take pictures in from now on; they are asked about once `models`, a promise, is there. */
export async function startPicture(models, whenAnswered) {
  ready = models;
  answered = whenAnswered;
  startFiles();
  startDrop();
  startPaste();
  try {
    demo = await client.demo();
  } catch {
    demo = []; // the page works without
  }
  pictureWords();
}

/** Say what is wrong, in the page's language; null: nothing is. */
export function tell(error) {
  problem = error;
  const element = byId("problem");
  const { text, foreign } = error ? client.sentence(error) : { text: "", foreign: false };
  element.textContent = text;
  if (foreign) element.lang = "en";
  else element.removeAttribute("lang");
}

export function pictureWords() {
  byId("demo").hidden = demo.length === 0;
  const list = byId("demo-pictures");
  if (list.childElementCount !== demo.length) list.replaceChildren(...demo.map(demoButton));
  demo.forEach((one, i) => {
    list.children[i].querySelector("img").alt = named(one);
    list.children[i].querySelector("button").title = named(one);
  });
  if (problem) tell(problem);
  if (busyWith) busy(busyWith);
}

function demoButton(one) {
  const picture = make("img", { src: one.url, alt: "", width: 56, height: 56, loading: "lazy" });
  const press = async () => {
    try {
      const blob = await client.picture(one.url);
      await look(blob, () => named(one));
    } catch (error) {
      tell(error);
    }
  };
  return make("li", {}, make("button", { type: "button", onclick: press }, picture));
}

function busy(name) {
  busyWith = name;
  byId("busy").textContent = name ? t("picture.busy", { name: name() }) : "";
  byId("answer").setAttribute("aria-busy", String(Boolean(name)));
}

/** Ask all models about a picture; `name` is a function, since names are in the page's language. */
async function look(file, name) {
  asking?.abort();
  const own = new AbortController();
  asking = own;
  tell(null);
  busy(name);
  try {
    await ready;
    const [answers, picture] = await Promise.all([client.predict(file, own.signal), opened(file)]);
    if (asking === own) answered({ file, name, answers, picture });
  } catch (error) {
    if (asking === own && error.name !== "AbortError") tell(error);
  } finally {
    if (asking === own) {
      asking = null;
      busy(null);
    }
  }
}

function take(files) {
  const all = [...files];
  if (!all.length) return;
  const file = all[0];
  look(file, () => file.name || t("picture.pasted")).then(() => {
    if (all.length > 1 && !problem) tell(new client.Refused("one_at_a_time", ""));
  });
}

function startFiles() {
  byId("photograph").hidden = navigator.maxTouchPoints === 0; // elsewhere it would only choose a file, as the other one does
  for (const [button, input] of [["choose", "file"], ["photograph", "camera"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", (event) => {
      take(event.target.files);
      event.target.value = ""; // so that the same file can be chosen again
    });
  }
}

function startDrop() {
  const place = byId("drop");
  let depth = 0;
  const over = (change) => {
    depth = Math.max(0, depth + change);
    place.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(-depth);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files);
    else tell(new client.Refused("no_file", ""));
    if (location.hash && location.hash !== "#picture") location.hash = "picture";
  });
}

function startPaste() {
  document.addEventListener("paste", (event) => {
    if (event.target instanceof HTMLInputElement && event.target.type === "text") return;
    event.preventDefault();
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
    else tell(new client.Refused("no_file", ""));
    if (location.hash && location.hash !== "#picture") location.hash = "picture";
  });
}
