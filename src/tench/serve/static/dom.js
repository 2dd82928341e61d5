// Elements made from parts. Text goes in as text: nothing from the API is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: attributes (on... are listeners, true/false/null switch) and children, elements or texts. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Remember something for the next visit, where the browser lets it. */
export function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // storage may be forbidden; then it holds for this visit
  }
}

/**
 * Makes `list` (role=tablist) with `tabs` work as tabs do: arrows, Home and End move and choose, one tab stop.
 * Returns the function that chooses one; `chosen` is told its place.
 */
export function asTabs(list, tabs, chosen) {
  const choose = (place, focus = false) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === place));
      tab.tabIndex = i === place ? 0 : -1;
    });
    if (focus) tabs[place].focus();
    chosen(place);
  };
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const last = tabs.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to, true);
  });
  tabs.forEach((tab, i) => tab.addEventListener("click", () => choose(i)));
  return choose;
}
