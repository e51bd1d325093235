// Results: played beside their sources, saved, and what says that they are synthetic.

import { button, bytes, day, empty, get, h, link, number, say, t } from "/page/dom.js";
import { sideBySide } from "/page/convert.js";
import { followJobs, studio } from "/page/studio.js";

export async function open(place) {
  const box = h("div", { class: "stack" });
  place.append(box);
  let shown = "", last = "";
  const draw = () => {
    const { results } = studio.project, text = results.map((each) => each.name + each.made).join();
    if (text === last) return;
    last = text;
    if (!results.length) {
      box.replaceChildren(empty(t("results.empty"), t("results.empty_next"), h("a", { class: "button main", href: `#convert/${encodeURIComponent(studio.path)}` }, t("results.to_convert"))));
      return;
    }
    const detail = h("section", { class: "stack", "aria-live": "off" });
    const list = h("ul", { class: "clips results-list" });
    const open = (each) => {
      shown = each.name;
      for (const entry of list.querySelectorAll("button")) entry.setAttribute("aria-current", String(entry.dataset.name === shown));
      detail.replaceChildren(...describe(each));
    };
    list.append(...results.map((each) => h("li", {}, h("button", { type: "button", class: "clip", "data-name": each.name, on: { click: () => open(each) } },
      h("span", {}, h("strong", {}, each.name), h("small", {}, `${day(each.made * 1000)} · ${bytes(each.size)}`))))));
    box.replaceChildren(h("div", { class: "results-layout" }, list, detail));
    open(results.find((each) => each.name === shown) ?? results[0]);
  };
  studio.listeners.add(draw);
  draw();
  return null;
}

function describe(result) {
  const job = result.job, address = link("/api/result", { project: studio.path, name: result.name });
  const shown = job?.source ? sideBySide(job.source, result.name, job.begins, result.kind === "folder")
    : result.kind === "folder" ? sideBySide(result.path, result.name, 0, true).slice(1)
    : [result.kind === "video" ? h("video", { src: address, controls: true, class: "big", "aria-label": result.name }) : h("img", { src: address, alt: result.name, class: "big" })];
  const marks = h("section", { class: "panel stack" }, h("h2", {}, t("results.marks")), h("p", { class: "hint" }, t("loading")));
  drawMarks(marks, result);
  return [h("h2", {}, result.name), ...shown,
    h("div", { class: "row" }, result.kind === "folder" ? "" : h("a", { class: "button main", href: `${address}&download=1`, download: result.name }, t("results.download")),
      button(t("results.copy"), async () => {
        try { await navigator.clipboard.writeText(result.path); say(t("results.copied")); } catch { say(result.path); }
      }), h("code", { class: "path" }, result.path)),
    h("div", { class: "two" }, drawFigures(result), marks), drawEvaluation(job?.run)];
}

function drawFigures(result) {
  const figures = result.job?.figures, rows = [[t("results.size"), bytes(result.size)]];
  if (result.job?.run) rows.unshift([t("train.run"), result.job.run]);
  if (figures) {
    rows.push([t("results.frames"), t("results.of", { swapped: figures.swapped_frames ?? 0, frames: figures.frames ?? 0 })],
      [t("results.speed"), t("footage.rate", { rate: number(figures.frames_per_second, 1) })]);
    if (figures.face_pixels) rows.push([t("results.face"), t("results.pixels", { face: figures.face_pixels, network: figures.network_pixels ?? 0 })]);
  }
  for (const [key, value] of Object.entries(result.job?.looks ?? {})) rows.push([t(`convert.look.${key}`), String(value)]);
  return h("section", { class: "panel stack" }, h("h2", {}, t("results.figures")), h("dl", { class: "figures" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

/** What `verify` finds, or where there is no such, the file beside the result. */
async function drawMarks(box, result) {
  let found = null;
  try { found = (await get("/api/marks", { project: studio.path, name: result.name })).verify?.files?.[0]; } catch { /* said below */ }
  const rows = [], facts = result.sidecar;
  if (found) rows.push([t("results.verdict"), found.verdict]);
  for (const part of ["credential", "watermark", "metadata", "sidecar"]) if (found?.[part]) rows.push([t(`results.part.${part}`), sum(found[part])]);
  if (!found && facts) rows.push([t("results.part.sidecar"), facts.notice ?? ""]);
  if (facts) rows.push([t("results.model"), String(facts.model_sha256 ?? "").slice(0, 16)], [t("results.from"), facts.source ?? ""]);
  const marked = found ? found.marked : Boolean(facts);
  box.lastChild.replaceWith(rows.length ? h("dl", { class: "figures wide" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))) : "");
  box.append(marked ? h("p", { class: "hint" }, t("results.keep")) : h("p", { class: "wrong" }, t("results.no_marks")));
}

/** The words and numbers of a finding in a line. */
function sum(part) {
  if (typeof part !== "object") return String(part);
  const known = Object.entries(part).filter(([, value]) => ["string", "number"].includes(typeof value) && String(value).length < 80 && value !== "");
  return known.map(([key, value]) => (key === "status" ? value : `${key.replaceAll("_", " ")}: ${value}`)).join(" · ");
}

function drawEvaluation(run) {
  if (!run || !studio.project.runs.some((each) => each.name === run)) return "";
  const jobs = h("div"), box = h("section", { class: "panel stack" }, h("h2", {}, t("results.evaluate")), h("p", { class: "hint" }, t("results.evaluate_hint")),
    h("div", { class: "row" }, button(t("results.measure", { run }), () => studio.order("evaluate", { run }))), jobs);
  const follow = followJobs(jobs, ["evaluate"], (job) => job.facts.run === run), figures = h("dl", { class: "figures" });
  box.append(figures);
  const draw = () => {
    const job = follow();
    if (job?.state !== "done" || figures.dataset.job === job.name) return;
    figures.dataset.job = job.name;
    figures.replaceChildren(...flatten(job.result).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, number(value, 3)))));
  };
  studio.listeners.add(draw);
  draw();
  return box;
}

/** Numbers of an evaluation by their names; words and lists are left out. */
function flatten(values, path = "") {
  return Object.entries(values ?? {}).flatMap(([key, value]) => {
    const name = (path ? `${path} ` : "") + key.replaceAll("_", " ");
    if (typeof value === "number") return [[name, value]];
    return value && typeof value === "object" && !Array.isArray(value) ? flatten(value, name) : [];
  }).slice(0, 40);
}
