// /openapi.json for people to read.

import { byId, make } from "./dom.js";
import { applyWords, loadWords, t } from "./words.js";

const VERBS = ["get", "post", "put", "delete"];

function show(api) {
  const of = ([path, verbs]) => VERBS.filter((verb) => verb in verbs).map((verb) => operation(path, verb, verbs[verb]));
  const parts = Object.entries(api.paths).flatMap(of);
  const about = paragraphs(api.info?.description);
  const types = Object.entries(api.components?.schemas ?? {}).map(([name, schema]) => type(name, schema));
  const contents = make("ul", {}, parts.map((part) => make("li", {}, make("a", { href: `#${part.id}` }, part.dataset.name))));
  const nav = make("nav", { "aria-labelledby": "contents" }, own("h2", "api.contents", { id: "contents" }), contents);
  byId("operations").replaceChildren(...about, nav, ...parts, own("h2", "api.types"), ...types);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

const paragraphs = (text) => (text ?? "").split("\n\n").filter(Boolean).map((line) => make("p", {}, line));

/** An element with the page's own words among English ones. */
const own = (tag, key, attributes = {}) => make(tag, { lang: document.documentElement.lang, ...attributes }, t(key));

function operation(path, verb, said) {
  const heading = make("h2", {}, make("code", {}, make("span", { class: "verb" }, verb.toUpperCase()), ` ${path}`));
  const text = paragraphs(said.description ?? said.summary);
  const parameters = said.parameters?.length ? [own("h3", "api.parameters"), table(said.parameters.map(parameter))] : [];
  const kinds = Object.keys(said.requestBody?.content ?? {}).join(", ");
  const body = said.requestBody ? [own("h3", "api.body"), make("p", {}, kinds), paragraphs(said.requestBody.description)] : [];
  const responses = Object.entries(said.responses ?? {});
  const [good, bad] = [responses.filter(([status]) => status < "400"), responses.filter(([status]) => status >= "400")];
  const errors = bad.length ? [make("details", {}, own("summary", "api.errors"), make("ul", {}, bad.map(answer)))] : [];
  const answers = [own("h3", "api.answers"), make("ul", {}, good.map(answer)), errors];
  const id = `${verb}${path.replace(/\W+/g, "-")}`;
  const shown = [own("h3", "api.example"), make("pre", { tabindex: "0" }, make("code", {}, example(path, verb, said)))];
  return make("section", { id, "data-name": `${verb.toUpperCase()} ${path}` }, heading, text, shown, parameters, body, answers);
}

function parameter(one) {
  const meaning = [one.description, one.required ? `(${t("api.needed")})` : ""].filter(Boolean).join(" ");
  return [make("code", {}, one.name), one.in, typeOf(one.schema), meaning];
}

function table(rows) {
  const heads = ["api.name", "api.where", "api.type", "api.meaning"].map((key) => own("th", key));
  for (const head of heads) head.scope = "col";
  const lines = rows.map((row) => make("tr", {}, row.map((cell) => make("td", {}, cell))));
  return make("div", { class: "wide" }, make("table", {}, make("thead", {}, make("tr", {}, heads)), make("tbody", {}, lines)));
}

function answer([status, said]) {
  const schema = Object.values(said.content ?? {})[0]?.schema;
  return make("li", {}, make("b", {}, status), ` ${said.description ?? ""}`, schema ? [" – ", typeOf(schema)] : []);
}

/** A schema in short, named types as links to where they are explained. */
function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    return make("a", { href: `#type-${name}` }, name);
  }
  if (schema.anyOf) return make("span", {}, schema.anyOf.flatMap((one, i) => [i ? " | " : "", typeOf(one)]));
  if (schema.type === "array") return make("span", {}, "[", typeOf(schema.items), "]");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in schema) return JSON.stringify(schema.const);
  const bounds = "minimum" in schema && "maximum" in schema ? ` ${schema.minimum} … ${schema.maximum}` : "";
  return `${schema.format ?? schema.type ?? "any"}${bounds}`;
}

function type(name, schema) {
  const fields = Object.entries(schema.properties ?? {}).map(([key, field]) => [
    make("code", {}, key),
    typeOf(field),
    field.description ?? "",
  ]);
  const lines = fields.map((row) => make("tr", {}, row.map((cell) => make("td", {}, cell))));
  const body = lines.length ? make("div", { class: "wide" }, make("table", {}, make("tbody", {}, lines))) : make("p", {}, typeOf(schema));
  return make("section", {}, make("h3", { id: `type-${name}` }, name), schema.description ? make("p", {}, schema.description) : [], body);
}

function example(path, verb, said) {
  const url = new URL(path.replace(/\{\w+\}/g, "0"), location.origin);
  for (const one of said.parameters ?? []) if (one.in === "query" && one.required) url.searchParams.set(one.name, "m0");
  const picture = said.requestBody ? " --data-binary @picture.jpg -H 'Content-Type: image/jpeg'" : "";
  return `curl ${verb === "get" || picture ? "" : `-X ${verb.toUpperCase()} `}'${decodeURIComponent(url.href)}'${picture}`;
}

await loadWords();
applyWords();
document.title = t("api.title");
const response = await fetch("/openapi.json").catch(() => null);
if (response?.ok) show(await response.json());
else byId("problem").textContent = t("error.no_server");
