// Swapping: one frame at once with every setting at hand, then the whole video.

import { button, choice, clearErrors, clock, empty, field, get, h, link, number, once, post, showError, t } from "/page/dom.js";
import { gallery } from "/page/footage.js";
import { compare, inStep, playable, probe } from "/page/player.js";
import { followJobs, studio } from "/page/studio.js";

const SLIDERS = [["erode", -0.2, 0.3, 0.01], ["feather", 0, 0.49, 0.01], ["sharpen", 0, 3, 0.1], ["texture", 0, 2, 0.1]];
const SWITCHES = ["cover", "drawn_mask", "guard"];

export async function open(place) {
  const { runs, footage } = studio.project, clips = ["a", "b"].flatMap((side) => footage[side].filter((clip) => clip.there).map((clip) => ({ ...clip, side })));
  if (!runs.length || !clips.length) {
    place.append(empty(t("convert.empty"), t(runs.length ? "convert.empty_footage" : "convert.empty_run"),
      h("a", { class: "button main", href: `#${runs.length ? "footage" : "train"}/${encodeURIComponent(studio.path)}` }, t(runs.length ? "faces.to_footage" : "convert.to_train"))));
    return null;
  }
  const stage = h("section", { class: "stage", "aria-label": t("convert.frame") });
  const form = h("form", { class: "panel stack looks", "aria-label": t("convert.settings") });
  const jobs = h("div"), compared = h("div", { class: "stack" });
  place.append(h("div", { class: "convert-layout" }, h("div", { class: "stack" }, stage, jobs, compared), form));
  let looks = { ...studio.started.looks.default }, info = null, files = null, chosen = "", moment = 0, pair = null;

  const source = choice(clips.map((clip) => [clip.path, `${clip.side.toUpperCase()} · ${clip.name}`]), clips[0].path, () => changeSource());
  const run = choice(runs.map((each) => [each.name, each.name]), runs[0].name, () => swapSoon());
  const name = h("input", { type: "text", maxlength: 64, autocomplete: "off" });
  const start = h("input", { type: "text", inputmode: "decimal", placeholder: "0:00" }), end = h("input", { type: "text", inputmode: "decimal", placeholder: t("footage.to_end") });
  const scrub = h("input", { type: "range", min: 0, max: 1, step: "any", value: "0", class: "seek", "aria-label": t("convert.scrub") });
  const at = h("output", { class: "time" }), about = h("p", { class: "hint", role: "status" });
  const before = h("img", { alt: t("convert.before"), class: "big" }), after = h("img", { alt: t("convert.after"), class: "big" });
  const picture = compare(before, after, [t("train.source"), t("train.swap")]);
  picture.classList.add("waiting");
  const step = (way) => { scrub.value = String(Number(scrub.value) + (files ? way : way / (info?.rate ?? 25))); moved(); };
  const scrubbing = h("div", { class: "row controls" }, button("‹", () => step(-1), { class: "small", "aria-label": t("player.back") }),
    button("›", () => step(1), { class: "small", "aria-label": t("player.next") }), scrub, at);
  stage.append(picture, scrubbing, about);

  function look(key, input, read) {
    input.addEventListener(input.type === "range" ? "input" : "change", () => { looks[key] = read(input); label(key); swapSoon(); });
    return input;
  }
  const inputs = {}, outputs = {};
  for (const key of ["mask", "color", "blend"]) inputs[key] = look(key, choice(studio.started.choices[key].map((each) => [each.name, `${each.name} – ${each.about.replaceAll("`", "")}`])), (input) => input.value);
  inputs.to = look("to", choice([["b", t("convert.to_b")], ["a", t("convert.to_a")]]), (input) => input.value);
  inputs.person = look("person", choice(["auto", "largest", "all"].map((each) => [each, t(`convert.person.${each}`)])), (input) => input.value);
  inputs.checkpoint = look("checkpoint", choice(["last", "best"].map((each) => [each, t(`convert.checkpoint.${each}`)])), (input) => input.value);
  for (const [key, min, max, unit] of SLIDERS) inputs[key] = look(key, h("input", { type: "range", min, max, step: unit }), (input) => Number(input.value));
  for (const key of SWITCHES) inputs[key] = look(key, h("input", { type: "checkbox" }), (input) => input.checked);
  function label(key) { if (outputs[key]) outputs[key].textContent = number(looks[key], 2); }
  function fill() {
    for (const [key, input] of Object.entries(inputs)) {
      if (input.type === "checkbox") input.checked = looks[key];
      else input.value = String(looks[key]);
      label(key);
    }
  }
  const row = (key) => {
    outputs[key] = h("output", {});
    const made = field(key, t(`convert.look.${key}`), inputs[key], t(`convert.hint.${key}`));
    if (inputs[key].type === "range") made.querySelector("label").append(" ", outputs[key]);
    return made;
  };
  const preset = (kind) => button(t(`convert.preset.${kind}`), () => { looks = { ...studio.started.looks[kind], to: looks.to, person: looks.person, checkpoint: looks.checkpoint }; fill(); swapSoon(); }, { class: "small" });
  const submit = h("button", { type: "submit", class: "main" }, t("convert.start"));
  const part = h("details", {}, h("summary", {}, t("footage.part")), h("div", { class: "fields" }, field("start", t("footage.start"), start), field("end", t("footage.end"), end)));
  /** Whom to swap: where several people were found, each of them by a face of theirs. */
  function listPeople(side) {
    const sets = studio.project.sets[side], known = ["auto", "largest", "all"].map((each) => [each, t(`convert.person.${each}`)]);
    const people = sets.length < 2 ? [] : sets.map((each) => [each.path, t("convert.somebody_of", { name: t("faces.person", { number: each.path.match(/\d+$/)?.[0] ?? "" }), n: each.faces })]);
    inputs.person.replaceChildren(...[...known, ...people].map(([value, text]) => h("option", { value }, text)));
    if (![...known, ...people].some(([value]) => value === looks.person)) looks.person = "auto";
    inputs.person.value = looks.person;
  }
  form.append(h("h2", {}, t("convert.what")), field("source", t("convert.source"), source), field("run", t("convert.run"), run), row("to"),
    h("h2", {}, t("convert.looks")), h("div", { class: "row" }, preset("default"), preset("classic")),
    row("mask"), row("color"), row("blend"), ...SLIDERS.slice(0, 2).map(([key]) => row(key)),
    h("details", {}, h("summary", {}, t("convert.more")), h("div", { class: "stack" }, row("sharpen"), row("texture"), ...SWITCHES.map(row), row("person"), row("checkpoint"))),
    h("h2", {}, t("convert.whole")), field("name", t("convert.name"), name, t("convert.name_hint")),
    part, submit);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    clearErrors(form);
    await studio.order("convert", { source: source.value, run: run.value, name: name.value, start: start.value.trim(), end: end.value.trim(), looks }, form);
  });
  fill();

  const follow = followJobs(jobs, ["convert"]);
  let state = follow()?.state, made = "";
  function showResult() {
    const job = follow();
    if (job?.state !== "done" || made === job.name || (state === "done" && made === "" && Date.now() / 1000 - (job.ended ?? 0) > 600)) return;
    made = job.name;
    compared.replaceChildren(...sideBySide(job.facts.source, job.facts.out, job.facts.begins, job.facts.folder));
  }
  studio.listeners.add(() => { const now = follow()?.state; if (now === "done") showResult(); state = now; submit.disabled = now === "running" || now === "stopping"; });
  submit.disabled = state === "running" || state === "stopping";
  showResult();

  let busy = false, again = false;
  async function swap() {
    if (chosen !== source.value) return; // it is being looked at, and swapped then
    if (busy) { again = true; return; }
    busy = true;
    picture.classList.add("waiting");
    const slow = setTimeout(() => { about.textContent = t("convert.loading"); }, 1500), begun = performance.now();
    try {
      clearErrors(form);
      pair = await post("/api/swap", { project: studio.path, source: files ? files[moment].path : chosen, run: run.value, time: files ? 0 : moment, looks });
      const shown = (file) => link("/api/shown", { project: studio.path, name: file });
      before.src = `${shown(pair.before)}&v=${source.selectedIndex}`;
      after.src = shown(pair.after);
      await Promise.allSettled([before.decode(), after.decode()]);
      const seconds = (performance.now() - begun) / 1000;
      about.textContent = pair.swapped ? t("convert.swapped", { n: pair.swapped, seconds: number(seconds, 2) }) : t(pair.found ? "convert.somebody" : "convert.nobody");
      picture.classList.remove("waiting");
    } catch (error) {
      about.textContent = error.message;
      if (error.field) showError(error, form);
    }
    clearTimeout(slow);
    busy = false;
    if (again) { again = false; swap(); }
  }
  const swapSoon = once(swap, 60);
  function moved() {
    moment = files ? Math.min(files.length - 1, Math.max(0, Math.round(Number(scrub.value)))) : Math.max(0, Number(scrub.value));
    at.textContent = files ? `${moment + 1} / ${files.length}` : info?.seconds ? `${clock(moment, 1)} / ${clock(info.seconds, 1)}` : "";
    scrub.setAttribute("aria-valuetext", files ? files[moment].name : clock(moment, 1));
    swapSoon();
  }
  scrub.addEventListener("input", moved);
  async function changeSource() {
    try {
      const { side, kind } = clips.find((clip) => clip.path === source.value);
      const path = source.value, pictures = kind === "folder" ? (await get("/api/folder", { path })).files.filter((each) => each.kind === "picture") : null;
      const found = await probe(pictures ? pictures[0]?.path : path);
      if (path !== source.value) return;
      [files, info, chosen] = [pictures, found, path];
      scrubbing.hidden = info.kind === "picture" && !files;
      part.hidden = info.kind === "picture";
      if (part.hidden) start.value = end.value = "";
      scrub.step = files ? "1" : "any";
      scrub.max = String(files ? files.length - 1 : Math.max(0.001, (info.seconds ?? 0) - 1 / (info.rate ?? 25)));
      scrub.value = String(info.kind === "picture" ? 0 : Math.min(Number(scrub.max), (info.seconds ?? 0) * 0.3));
      picture.style.setProperty("--ratio", `${info.width} / ${info.height}`);
      looks.to = side === "a" ? "b" : "a";
      inputs.to.value = looks.to;
      listPeople(side);
      moved();
    } catch (error) { about.textContent = error.message; }
  }
  await changeSource();
  return null;
}

/** The source and the result next to each other, in step. */
export function sideBySide(source, out, offset = 0, folder = false) {
  if (folder) {
    const both = [[source, t("train.source")], [`${studio.path}/results/${out}`, t("convert.result")]];
    return both.map(([path, title]) => {
      const box = h("figure", {}, h("p", { class: "hint" }, t("loading")), h("figcaption", {}, title));
      gallery(path).then((pictures) => box.firstChild.replaceWith(pictures));
      return box;
    });
  }
  const first = h("video", { class: "big", "aria-label": t("train.source") }), second = h("video", { class: "big", "aria-label": t("convert.result") });
  const result = link("/api/result", { project: studio.path, name: out });
  if (!/\.(mp4|m4v|mov|webm|mkv)$/i.test(out)) {
    return [h("div", { class: "pair" }, h("figure", {}, h("img", { class: "big", src: link("/api/media", { path: source }), alt: t("train.source") }), h("figcaption", {}, t("train.source"))),
      h("figure", {}, h("img", { class: "big", src: result, alt: t("convert.result") }), h("figcaption", {}, t("convert.result"))))];
  }
  second.src = result;
  const box = h("figure", {}, h("p", { class: "hint" }, t("loading")), h("figcaption", {}, t("train.source")));
  probe(source).then((info) => box.firstChild.replaceWith(playable(first, source, info)), (error) => { box.firstChild.textContent = error.message; });
  return [h("div", { class: "pair" }, box, h("figure", {}, second, h("figcaption", {}, t("convert.result")))), inStep(first, second, offset)];
}
