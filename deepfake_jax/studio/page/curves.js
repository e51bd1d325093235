// Curves of a run, by uPlot, which is loaded when the first one is drawn.

import { h, number, t } from "/page/dom.js";

let loading = null;
function load() {
  loading ??= new Promise((resolve, reject) => {
    document.head.append(h("link", { rel: "stylesheet", href: "/page/uplot.css" }),
      h("script", { src: "/page/uplot.js", on: { load: resolve, error: reject } }));
  });
  return loading;
}

const LOSSES = [["loss_a", "--a"], ["loss_b", "--b"], ["loss_swap", "--c"]];
const FIGURES = [["identity_transfer_a_to_b", "--a"], ["identity_transfer_b_to_a", "--b"], ["following_a_to_b", "--c"]];

/** Two charts that are updated with what is known of a run. */
export function drawCurves(place) {
  const panels = [make("train.losses", LOSSES, true), make("train.judged", FIGURES, false)];
  place.append(...panels.map((panel) => panel.box));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let last = null;
  const watcher = new ResizeObserver(() => panels.forEach((panel) => panel.fit()));
  watcher.observe(place);
  const redo = () => { panels.forEach((panel) => panel.reset()); if (last) update(last); };
  dark.addEventListener("change", redo);
  async function update(run) {
    last = run;
    await load();
    panels[0].set(run.losses);
    panels[1].set(run.judged);
  }
  return { update, close() { watcher.disconnect(); dark.removeEventListener("change", redo); panels.forEach((panel) => panel.reset()); } };
}

function make(title, series, logarithmic) {
  const canvas = h("div", { class: "chart" }), summary = h("p", { class: "hint" });
  const box = h("section", { class: "panel", hidden: true, role: "group", "aria-label": t(title) }, h("h2", {}, t(title)), canvas, summary);
  let plot = null, shown = "";
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const size = () => ({ width: Math.max(240, box.clientWidth - 32), height: Math.max(200, Math.min(360, innerHeight * 0.32)) });
  function set(columns) {
    const known = series.filter(([name]) => columns[name]);
    box.hidden = !known.length || columns.step.length < 1;
    if (box.hidden) return;
    const data = [columns.step, ...known.map(([name]) => columns[name])];
    const names = known.map(([name]) => t(`train.curve.${name}`));
    summary.textContent = known.map(([name], index) => `${names[index]}: ${number(columns[name].findLast((value) => value !== null), 3)}`).join(" · ");
    if (plot && shown === names.join()) { plot.setData(data); return; }
    reset();
    shown = names.join();
    const axis = { stroke: color("--faint"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
    plot = new window.uPlot({
      ...size(), cursor: { points: { size: 6 } },
      scales: { x: { time: false }, y: logarithmic ? { distr: 3 } : {} },
      axes: [{ ...axis, label: t("train.steps") }, { ...axis, size: 60, values: (self, ticks) => ticks.map((value) => value === null ? "" : String(value)) }],
      series: [{ label: t("train.figure.step") }, ...known.map(([, name], index) => ({ label: names[index], stroke: color(name), width: 2, spanGaps: true, points: { show: !logarithmic, size: 5 } }))],
    }, data, canvas);
    plot.root.setAttribute("role", "img");
    plot.root.setAttribute("aria-label", `${t(title)}: ${summary.textContent}`);
  }
  function reset() {
    plot?.destroy();
    plot = null;
    canvas.replaceChildren();
  }
  return { box, set, reset, fit() { plot?.setSize(size()); } };
}
