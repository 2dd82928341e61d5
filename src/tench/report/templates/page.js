"use strict";

// The table of results: a heading sorts by its column, blocks (a mean and its runs) stay together.
for (const table of document.querySelectorAll("table.results")) {
  for (const heading of table.querySelectorAll("thead th")) {
    heading.querySelector("button").addEventListener("click", () => sortBy(table, heading));
  }
}

function sortBy(table, heading) {
  const column = heading.cellIndex;
  const numbers = heading.dataset.numbers === "yes";
  const before = heading.getAttribute("aria-sort");
  const first = numbers ? "descending" : "ascending";
  const order = before === null ? first : before === "ascending" ? "descending" : "ascending";
  const value = (block) => block.rows[0].cells[column].dataset.sort;
  const compare = (a, b) => (numbers ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b), document.documentElement.lang));
  const blocks = [...table.tBodies].sort((a, b) => (order === "ascending" ? compare(a, b) : compare(b, a)));
  for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", order);
  table.append(...blocks);
}

// The matrices of confusions: a cell shows the pictures behind it; arrow keys go from cell to cell.
const kept = JSON.parse(document.getElementById("pictures").textContent);
const MOST = 120;

for (const matrix of document.querySelectorAll("table.confusion")) {
  matrix.addEventListener("click", (event) => {
    const cell = event.target.closest("button");
    if (cell) open(matrix, cell);
  });
  matrix.addEventListener("keydown", (event) => move(matrix, event));
}

function open(matrix, cell) {
  for (const other of matrix.querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
  cell.setAttribute("aria-pressed", "true");
  const run = kept.runs[matrix.dataset.run];
  const set = kept.sets[run.set];
  const [label, answer] = [Number(cell.dataset.label), Number(cell.dataset.answer)];
  const places = set.names.map((_, i) => i).filter((i) => set.labels[i] === label && run.answers[i] === answer);
  places.sort((a, b) => run.certainty[b] - run.certainty[a]);
  const panel = document.getElementById(matrix.dataset.panel);
  const list = document.createElement("ul");
  list.append(...places.slice(0, MOST).map((i) => item(set, run, i)));
  const heading = paragraph(cell.getAttribute("aria-label"), "head");
  panel.replaceChildren(heading, list);
  if (places.length > MOST) panel.append(paragraph(panel.dataset.more.replace("#", String(places.length - MOST)), "quiet"));
}

function item(set, run, i) {
  const line = document.createElement("li");
  const small = set.thumbnails[i];
  if (small) {
    const picture = document.createElement("img");
    picture.src = small;
    picture.alt = "";
    line.append(picture);
  } else {
    line.className = "named";
  }
  line.append(`${set.names[i]} (${run.certainty[i]} %)`);
  return line;
}

function paragraph(text, kind) {
  const made = document.createElement("p");
  made.className = kind;
  made.textContent = text;
  return made;
}

function move(matrix, event) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const cell = event.target.closest("td");
  if (!step || !cell) return;
  const row = matrix.tBodies[0].rows[cell.parentElement.sectionRowIndex + step[0]];
  const next = row && row.cells[cell.cellIndex + step[1]];
  const button = next && next.querySelector("button");
  if (button) {
    button.focus();
    event.preventDefault();
  }
}
