// What the page asks of the server.

import { known, round, t } from "./words.js";

/** An answer that is no answer: `code` is the contract's, `message` the server's sentence. */
export class Refused extends Error {
  constructor(code, message, status = 0, wait_s = 1) {
    super(message);
    this.code = code;
    this.status = status;
    this.wait_s = wait_s;
  }
}

let limits = { max_bytes: Infinity, max_pixels: Infinity, max_photos: 1 };

/** What an error says in the page's language: { text, foreign }. */
export function sentence(error) {
  const key = `error.${error.code ?? "unknown"}`;
  const values = { bytes: round(limits.max_bytes, 2 ** 20), pixels: round(limits.max_pixels, 1e6), photos: limits.max_photos };
  if (known(key)) return { text: t(key, values), foreign: false };
  return error instanceof Refused && error.message ? { text: error.message, foreign: true } : { text: t("error.unknown"), foreign: false };
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("no_server", "");
  }
  if (response.ok || response.status === 304) return response;
  let said = {};
  try {
    said = (await response.json()).error ?? {};
  } catch {
    // not the API's own words; the status has to do
  }
  throw new Refused(said.code ?? "unknown", said.message ?? "", response.status, Number(response.headers.get("Retry-After")) || 1);
}

/** As `ask`, again a few times where the server is only busy. */
async function patiently(path, options, tries = 4) {
  for (let left = tries; ; left -= 1) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (left <= 1 || ![429, 503].includes(error.status)) throw error;
      await new Promise((done) => setTimeout(done, 1000 * Math.min(error.wait_s, 5)));
    }
  }
}

const address = (path, query) => `${path}?${new URLSearchParams(query)}`;

async function send(path, query, picture, signal) {
  const type = picture.type.startsWith("image/") ? picture.type : "application/octet-stream";
  const response = await patiently(address(path, query), { method: "POST", body: picture, headers: { "Content-Type": type }, signal });
  return response.json();
}

export async function models() {
  const found = await (await ask("/api/models")).json();
  limits = { ...limits, ...found.limits };
  return found.models;
}

export async function demo() {
  return (await (await ask("/api/demo")).json()).pictures;
}

export async function picture(url) {
  return (await ask(url)).blob();
}

/** All models' answers to a picture. A file that is too large is refused before it is sent. */
export async function predict(file, signal) {
  if (file.size > limits.max_bytes) throw new Refused("too_large", "");
  if (file.size === 0) throw new Refused("empty", "");
  const found = await send("/api/predict", { top: 10 }, file, signal);
  if (!found.answers.length && found.errors?.length) throw new Refused(found.errors[0].code, found.errors[0].message);
  return found.answers;
}

export const explain = (file, model, kind, signal) => send("/api/explain", { model, class: kind }, file, signal);

export const way = (file, model, signal) => send("/api/way", { model }, file, signal);

export async function filters(model) {
  return (await ask(address("/api/filters", { model }))).json();
}

let tag = null;

/** The runs, or null where nothing has changed since they were asked for last. */
export async function runs() {
  const response = await ask("/api/runs", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
  if (response.status === 304) return null;
  tag = response.headers.get("ETag");
  return response.json();
}
