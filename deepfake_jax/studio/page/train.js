// Training: started, stopped, gone on with; its curves, its preview, when to end.

import { button, choice, clearErrors, clock, empty, field, get, h, link, number, t } from "/page/dom.js";
import { drawCurves } from "/page/curves.js";
import { followJobs, studio } from "/page/studio.js";

export async function open(place) {
  const { sets, runs } = studio.project;
  const missing = ["a", "b"].filter((side) => !sets[side].length);
  if (missing.length && !runs.length) {
    place.append(empty(t("train.empty"), t("train.empty_next", { sides: missing.map((side) => side.toUpperCase()).join(t("and")) }),
      h("a", { class: "button main", href: `#footage/${encodeURIComponent(studio.path)}` }, t("faces.to_footage"))));
    return null;
  }
  const running = studio.running("train");
  let name = running?.facts.run ?? runs[0]?.name ?? "";
  const form = h("form", { class: "panel stack", "aria-label": t("train.settings") }), jobs = h("div");
  const run = h("input", { type: "text", maxlength: 64, autocomplete: "off", value: freeName(runs) });
  const preset = choice(studio.started.presets.map((each) => [each, `${each} – ${presetText(each)}`]), "lite128");
  const minutes = h("input", { type: "number", min: 0.1, max: 10080, step: "any", value: "15" });
  const more = h("input", { type: "number", min: 0.1, max: 10080, step: "any", value: "10" });
  const charts = h("div", { class: "charts" }), figures = h("dl", { class: "figures" }), verdict = h("p", { class: "verdict", role: "status" });
  const preview = h("section", { class: "panel stack", "aria-label": t("train.preview") });
  const head = h("div", { class: "row spread" });
  const shown = h("section", { class: "stack" }, head, verdict, figures, preview, charts);
  place.append(h("div", { class: "train-layout" }, h("div", { class: "stack side" }, jobs, form), shown));
  const follow = followJobs(jobs, ["train"]);
  const curves = drawCurves(charts);
  const draw = drawPreview(preview);
  let data = null;

  function drawForm() {
    const busy = ["running", "stopping"].includes(follow()?.state);
    form.replaceChildren(h("h2", {}, t("train.new")), field("run", t("train.name"), run), field("preset", t("train.preset"), preset),
      field("minutes", t("train.minutes"), minutes, t("train.minutes_hint")), ...["a", "b"].map(sideNote),
      h("button", { type: "submit", class: "main", disabled: busy }, t("train.start")),
      ...(busy ? [h("p", { class: "hint" }, t("train.busy"))] : []));
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearErrors(form);
    const begun = await studio.order("train", { run: run.value, preset: preset.value, minutes: minutes.valueAsNumber }, form);
    if (begun) { name = run.value.trim(); data = null; await studio.refresh(); drawHead(); }
  });

  function drawHead() {
    const known = studio.project.runs.map((each) => each.name);
    if (name && !known.includes(name)) known.unshift(name);
    if (!known.length) { head.replaceChildren(h("p", { class: "hint" }, t("train.none"))); return; }
    const picker = choice(known.map((each) => [each, each]), name, () => { name = picker.value; data = null; refresh(); drawHead(); });
    const busy = studio.jobs("train").some((job) => job.state === "running" || job.state === "stopping");
    const onward = h("form", { class: "row", on: { submit: async (event) => {
      event.preventDefault();
      clearErrors(onward);
      const done = (data?.seconds ?? 0) / 60;
      await studio.order("train", { run: name, minutes: Math.max(0.1, done + more.valueAsNumber) }, onward);
    } } }, field("minutes", t("train.more"), more), h("button", { type: "submit", disabled: busy }, t("train.go_on")));
    head.replaceChildren(field("shown", t("train.run"), picker), ...(studio.project.runs.some((each) => each.name === name) ? [onward] : []));
  }

  async function refresh() {
    const wanted = name;
    if (!studio.project.runs.some((each) => each.name === wanted)) {
      verdict.textContent = studio.running("train") ? t("train.compiling") : "";
      return;
    }
    const found = await get("/api/run", { project: studio.path, run: wanted });
    if (wanted !== name) return;
    data = found;
    if (found.problem) { verdict.textContent = found.problem; return; }
    verdict.textContent = t(`train.verdict.${found.verdict.state}`, { step: found.verdict.best ?? 0, since: found.verdict.since });
    verdict.className = `verdict ${found.verdict.state}`;
    const last = (columns, key) => columns[key]?.findLast((value) => value !== null);
    const rows = [["step", number(found.step)], ["time", clock(found.seconds)], ["rate", found.rate ? t("train.rate", { rate: found.rate }) : null],
      ["loss_a", number(last(found.losses, "loss_a"), 4)], ["loss_b", number(last(found.losses, "loss_b"), 4)],
      ["transfer", found.judged.identity_transfer_a_to_b ? number(last(found.judged, "identity_transfer_a_to_b"), 2) : null]];
    figures.replaceChildren(...rows.filter(([, value]) => value !== null).map(([key, value]) => h("div", {}, h("dt", {}, t(`train.figure.${key}`)), h("dd", {}, value))));
    curves.update(found);
    draw(wanted, found.preview);
  }

  drawForm();
  drawHead();
  let state = follow()?.state;
  studio.listeners.add((before) => {
    const now = follow()?.state;
    if (now !== state) { state = now; drawForm(); drawHead(); }
    const key = `run ${name}`;
    if (before.versions[key] !== studio.state.versions[key]) { if (!(key in before.versions)) drawHead(); refresh(); }
  });
  await refresh();
  return () => curves.close();
}

function presetText(name) {
  try { return t(`train.presets.${name}`); } catch { return t("train.presets.other"); }
}

function sideNote(side) {
  const set = studio.project.sets[side].find((each) => each.trains);
  const text = set ? t("train.uses", { side: side.toUpperCase(), set: set.path, n: set.faces }) : t("train.lacks", { side: side.toUpperCase() });
  const few = set && set.faces < 100 ? ` ${t("train.few")}` : "";
  const note = h("div", { class: "field" }, h("p", { class: set ? "hint" : "wrong", "data-field": side, id: `train-${side}`, tabindex: -1 }, text + few), h("p", { class: "wrong", id: `train-${side}-wrong` }));
  return note;
}

function freeName(runs) {
  for (let number = 1; ; number += 1) if (!runs.some((each) => each.name === `run ${number}`)) return `run ${number}`;
}

/** Faces of A and B, each with its swap; one slider moves the line between the two. */
function drawPreview(place) {
  const slider = h("input", { type: "range", min: 0, max: 100, value: "50", "aria-label": t("train.slider") });
  const canvases = ["a", "b"].map((side) => h("canvas", { role: "img", "aria-label": t(`train.preview_${side}`) }));
  const box = h("div", { class: "stack" }, canvases.map((canvas, index) => h("figure", {}, canvas, h("figcaption", {}, t(`train.preview_${index ? "b" : "a"}`)))));
  const note = h("p", { class: "hint" });
  const bar = h("label", { class: "row" }, h("span", {}, t("train.source")), slider, h("span", {}, t("train.swap")));
  place.append(h("h2", {}, t("train.preview")), note, bar, box);
  const image = new Image();
  let layout = null, loaded = "";
  const paint = () => {
    if (!layout || !image.complete || !image.naturalWidth) return;
    const { side, left, top, step, columns } = layout;
    canvases.forEach((canvas, index) => {
      canvas.width = columns * step - (step - side);
      canvas.height = side;
      // Of each side: real faces, by their own decoder, by the other's.
      const pen = canvas.getContext("2d"), real = top + 3 * index * step, row = real + 2 * step;
      for (let column = 0; column < columns; column += 1) {
        const x = left + column * step, at = column * step, cut = Math.round(side * slider.value / 100);
        pen.drawImage(image, x, real, side, side, at, 0, side, side);
        if (cut < side) pen.drawImage(image, x + cut, row, side - cut, side, at + cut, 0, side - cut, side);
        pen.fillStyle = "#fff";
        if (cut > 0 && cut < side) pen.fillRect(at + cut - 1, 0, 2, side);
      }
    });
  };
  slider.addEventListener("input", paint);
  image.addEventListener("load", paint);
  return (run, found) => {
    note.textContent = found ? "" : t("train.no_preview");
    box.hidden = bar.hidden = !found;
    if (!found || loaded === run + found.changed) return;
    loaded = run + found.changed;
    layout = found;
    image.src = link("/api/preview", { project: studio.path, run, changed: found.changed });
  };
}
