// A grid of thousands of pictures that keeps in the page only those in sight.

import { h, t } from "/page/dom.js";

const GAP = 4, AHEAD = 3; // pixels; rows beyond what is seen

/** A list of pictures to choose from; `of` says how each looks and what is done. */
export function makeGrid(of) {
  const inner = h("div", { class: "grid-inner" });
  const element = h("div", { class: "grid", role: "listbox", tabindex: 0, "aria-multiselectable": "true", "aria-label": of.label }, inner);
  let items = [], wanted = 112, size = 112, columns = 1, active = 0, anchor = 0, waiting = 0, height = 0;
  const chosen = new Set(), cells = new Map(), spare = [];

  const cellStep = () => size + GAP;
  function layout() {
    const width = element.clientWidth - 2 * GAP;
    columns = Math.max(1, Math.floor((width + GAP) / (wanted + GAP)));
    size = Math.max(32, Math.floor((width + GAP) / columns) - GAP); // so that rows are full
    height = Math.ceil(items.length / columns) * cellStep();
    inner.style.height = `${height}px`;
    for (const cell of cells.values()) release(cell);
    cells.clear();
    draw();
  }
  function release(cell) {
    cell.hidden = true;
    spare.push(cell);
  }
  function draw() {
    waiting = 0;
    const first = Math.max(0, Math.floor(element.scrollTop / cellStep()) - AHEAD);
    const last = Math.ceil((element.scrollTop + element.clientHeight) / cellStep()) + AHEAD;
    const low = first * columns, high = Math.min(items.length, last * columns);
    for (const [index, cell] of cells) {
      if (index < low || index >= high) { cells.delete(index); release(cell); }
    }
    for (let index = low; index < high; index += 1) if (!cells.has(index)) place(index);
  }
  function place(index) {
    const cell = spare.pop() ?? make(), item = items[index];
    cell.hidden = false;
    cell.id = `face-${index}`;
    cell.dataset.index = index;
    const image = cell.firstChild;
    image.width = image.height = size;
    const source = of.image(item.file);
    if (image.dataset.source !== source) { image.dataset.source = source; image.src = source; }
    cell.style.transform = `translate(${(index % columns) * cellStep() + GAP}px, ${Math.floor(index / columns) * cellStep()}px)`;
    cell.style.width = cell.style.height = `${size}px`;
    cell.setAttribute("aria-posinset", index + 1);
    cell.setAttribute("aria-setsize", items.length);
    cell.setAttribute("aria-label", of.about(item.index));
    mark(cell, index);
    cells.set(index, cell);
  }
  function make() {
    const cell = h("div", { class: "cell", role: "option" }, h("img", { alt: "", decoding: "async", draggable: "false" }), h("span", { class: "tick", "aria-hidden": "true" }, "✓"));
    inner.append(cell);
    return cell;
  }
  function mark(cell, index) {
    cell.setAttribute("aria-selected", String(chosen.has(items[index].file)));
    cell.classList.toggle("dropped", items[index].dropped);
    cell.classList.toggle("active", index === active);
  }
  function markAll() {
    for (const [index, cell] of cells) mark(cell, index);
    of.changed();
  }
  function go(index) {
    active = Math.max(0, Math.min(items.length - 1, index));
    const top = Math.floor(active / columns) * cellStep();
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + cellStep() > element.scrollTop + element.clientHeight) element.scrollTop = top + cellStep() - element.clientHeight;
    draw();
    element.setAttribute("aria-activedescendant", `face-${active}`);
  }
  function choose(index, { range = false, add = true } = {}) {
    const file = items[index]?.file;
    if (!file) return;
    if (range) for (let each = Math.min(anchor, index); each <= Math.max(anchor, index); each += 1) chosen.add(items[each].file);
    else if (add && chosen.has(file)) chosen.delete(file);
    else chosen.add(file);
    if (!range) anchor = index;
  }

  element.addEventListener("scroll", () => { waiting ||= requestAnimationFrame(draw); }, { passive: true });
  element.addEventListener("click", (event) => {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    choose(Number(cell.dataset.index), { range: event.shiftKey });
    go(Number(cell.dataset.index));
    markAll();
  });
  element.addEventListener("dblclick", (event) => {
    const cell = event.target.closest(".cell");
    if (cell) of.open(items[Number(cell.dataset.index)].index);
  });
  element.addEventListener("keydown", (event) => {
    const rows = Math.max(1, Math.floor(element.clientHeight / cellStep()));
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -columns * rows, PageDown: columns * rows, Home: -items.length, End: items.length };
    if (!items.length) return;
    if (event.key in moves) {
      const from = active;
      go(active + moves[event.key]);
      if (event.shiftKey) { if (!chosen.size) anchor = from; choose(active, { range: true }); }
    } else if (event.key === " ") choose(active, { range: event.shiftKey });
    else if (event.key === "Enter") of.open(items[active].index);
    else if (event.key === "Delete" || event.key === "Backspace") of.drop();
    else if (event.key === "Escape") chosen.clear();
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) for (const item of items) chosen.add(item.file);
    else return;
    event.preventDefault();
    markAll();
  });
  const watcher = new ResizeObserver(layout);
  watcher.observe(element);

  return {
    element,
    fill(list) {
      items = list;
      const there = new Set(list.map((item) => item.file));
      for (const file of [...chosen]) if (!there.has(file)) chosen.delete(file);
      active = Math.min(active, Math.max(0, list.length - 1));
      anchor = Math.min(anchor, active);
      layout();
    },
    resize(pixels) { wanted = pixels; layout(); },
    selected: () => [...chosen],
    count: () => items.length,
    clear() { chosen.clear(); markAll(); element.focus(); },
    close() { watcher.disconnect(); },
  };
}
