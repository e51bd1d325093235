// Footage of both people: chosen, played, and searched for faces.

import { ask, button, bytes, clock, clearErrors, dialog, empty, field, get, h, link, number, post, say, showError, t } from "/page/dom.js";
import { playable } from "/page/player.js";
import { followJobs, studio } from "/page/studio.js";

const SIDES = ["a", "b"];
const known = new Map(); // what files say of themselves, by path

export async function open(place) {
  const stage = h("section", { class: "stage", "aria-label": t("footage.player") });
  const panels = Object.fromEntries(SIDES.map((side) => [side, makePanel(side, stage)]));
  place.append(h("div", { class: "footage-layout" }, stage, h("div", { class: "stack" }, SIDES.map((side) => panels[side].box))));
  const draw = () => SIDES.forEach((side) => panels[side].draw());
  studio.listeners.add(draw);
  draw();
  const first = SIDES.flatMap((side) => studio.project.footage[side].map((clip) => [side, clip])).find(([, clip]) => clip.there);
  if (first) await show(stage, first[0], first[1], panels);
  else stage.replaceChildren(empty(t("footage.empty"), t("footage.empty_next"),
    SIDES.map((side) => button(t("footage.add", { side: side.toUpperCase() }), () => panels[side].add(), { class: side === "a" ? "main" : "" }))));
}

function makePanel(side, stage) {
  const list = h("ul", { class: "clips" }), jobs = h("div"), faces = h("div", { class: "strip", role: "img", "aria-label": t("footage.found") });
  const start = h("input", { type: "text", inputmode: "decimal", placeholder: "0:00", size: 8 });
  const end = h("input", { type: "text", inputmode: "decimal", placeholder: t("footage.to_end"), size: 8 });
  const every = h("input", { type: "number", min: 1, max: 1000, step: 1, value: "1" });
  const search = button(t("footage.search"), () => extract(false), { class: "main" });
  const done = h("p", { class: "hint" });
  const form = h("form", { class: "stack", on: { submit: (event) => event.preventDefault() } },
    h("details", {}, h("summary", {}, t("footage.part")),
      h("div", { class: "fields" }, field("start", t("footage.start"), start), field("end", t("footage.end"), end),
        field("every", t("footage.every"), every, t("footage.every_hint"))),
      h("p", { class: "hint" }, t("footage.part_hint"))));
  const box = h("section", { class: "panel stack", "aria-labelledby": `side-${side}` },
    h("div", { class: "row spread" }, h("h2", { id: `side-${side}` }, h("span", { class: `badge ${side}` }, side.toUpperCase()), t(`footage.side_${side}`)),
      button(t("footage.add_short"), () => add(), { class: "small", "aria-label": t("footage.add", { side: side.toUpperCase() }) })),
    list, form, h("div", { class: "row" }, search, done), jobs, faces);
  const follow = followJobs(jobs, ["extract"], (job) => job.facts.side === side);
  const panel = { box, start, end, add, draw };

  async function add() {
    const path = await pick(t("footage.pick", { side: side.toUpperCase() }));
    if (!path) return;
    try {
      await post("/api/footage", { project: studio.path, side, path });
      await studio.refresh();
      draw();
      await show(stage, side, studio.project.footage[side].find((clip) => clip.path === path), { [side]: panel });
    } catch (error) { showError(error); }
  }

  async function extract(overwrite) {
    clearErrors(form);
    const values = { side, start: start.value.trim(), end: end.value.trim(), every: Number(every.value), overwrite };
    try {
      await studio.order("extract", values, form);
    } catch (error) {
      if (await ask(t("footage.again"), error.message, t("footage.replace"))) await extract(true);
    }
  }

  let lastClips = "";
  function draw() {
    const clips = studio.project.footage[side], running = follow()?.state, busy = ["running", "stopping"].includes(running);
    const text = JSON.stringify(clips);
    if (text !== lastClips) {
      lastClips = text;
      list.replaceChildren(...clips.map((clip) => clipItem(side, clip, stage, panel, draw)));
      if (!clips.length) list.append(h("li", { class: "hint" }, t("footage.none")));
    }
    form.hidden = search.hidden = !clips.length;
    search.disabled = busy;
    const sets = studio.project.sets[side], count = sets.reduce((sum, each) => sum + each.faces, 0);
    done.replaceChildren(...(count && !busy ? [t("footage.have", { n: count }), " ", h("a", { href: `#faces/${encodeURIComponent(studio.path)}` }, t("footage.see"))] : []));
    if (busy) showFound(side, faces);
    else faces.replaceChildren();
  }
  return panel;
}

async function showFound(side, strip) {
  try {
    const { files } = await get("/api/found", { project: studio.path, side });
    for (const old of [...strip.children]) if (!files.includes(old.dataset.file)) old.remove();
    const there = new Set([...strip.children].map((each) => each.dataset.file));
    for (const file of files.filter((each) => !there.has(each)).reverse()) {
      const image = h("img", { alt: "", width: 72, height: 72, "data-file": file, src: link("/api/found", { project: studio.path, side, file }) });
      image.addEventListener("error", () => image.remove());
      strip.prepend(image);
    }
  } catch { /* the extraction has just ended */ }
}

function clipItem(side, clip, stage, panel, draw) {
  const about = h("small", {}, clip.there ? "" : t("footage.missing"));
  const image = h("img", { alt: "", loading: "lazy", width: 112, height: 64 });
  if (clip.kind === "folder") about.textContent = t("footage.pictures", { n: clip.files });
  else if (clip.there) {
    image.src = link("/api/frame", { project: studio.path, path: clip.path, time: 0, small: 1 });
    probe(clip.path).then((info) => { about.textContent = describe(info); }, (error) => { about.textContent = error.message; about.className = "wrong"; });
  }
  return h("li", {}, h("button", { type: "button", class: "clip", disabled: !clip.there, on: { click: () => show(stage, side, clip, { [side]: panel }) } },
    image, h("span", {}, h("strong", {}, clip.name), about)),
  button("×", async () => {
    await post("/api/footage", { project: studio.path, side, path: clip.path, remove: true }).catch(showError);
    await studio.refresh();
    draw();
  }, { class: "plain", "aria-label": t("footage.remove", { name: clip.name }) }));
}

async function probe(path) {
  if (!known.has(path)) {
    const asked = get("/api/probe", { project: studio.path, path });
    known.set(path, asked);
    asked.catch(() => known.delete(path));
  }
  return known.get(path);
}

function describe(info) {
  const parts = [`${info.width} × ${info.height}`];
  if (info.kind === "video") {
    if (info.seconds !== null) parts.push(clock(info.seconds));
    parts.push(t("footage.rate", { rate: number(info.rate, info.rate % 1 ? 2 : 0) }), info.codec);
    if (info.sound) parts.push(t("footage.sound"));
  }
  return parts.join(" · ");
}

async function show(stage, side, clip, panels) {
  const panel = panels[side];
  let info;
  if (!clip) return;
  if (clip.kind === "folder") {
    stage.replaceChildren(h("h2", {}, h("span", { class: `badge ${side}` }, side.toUpperCase()), clip.name), await gallery(clip.path));
    return;
  }
  stage.replaceChildren(h("h2", {}, h("span", { class: `badge ${side}` }, side.toUpperCase()), clip.name),
    h("img", { class: "big loading", alt: "", src: link("/api/frame", { project: studio.path, path: clip.path, time: 0, small: 1 }) }), h("p", { class: "hint" }, t("loading")));
  try { info = await probe(clip.path); } catch (error) {
    stage.replaceChildren(empty(clip.name, error.message));
    return;
  }
  const title = h("div", { class: "row spread" }, h("h2", {}, h("span", { class: `badge ${side}` }, side.toUpperCase()), clip.name), h("small", {}, describe(info)));
  if (info.kind === "picture") {
    stage.replaceChildren(title, h("img", { class: "big", src: link("/api/media", { path: clip.path }), alt: clip.name }));
    return;
  }
  const video = h("video", { controls: true, playsinline: true, preload: "metadata", class: "big", "aria-label": clip.name });
  const from = button(t("footage.from_here"), () => { panel.start.value = clock(video.currentTime, 1); reveal(panel); });
  const to = button(t("footage.to_here"), () => { panel.end.value = clock(video.currentTime, 1); reveal(panel); });
  stage.replaceChildren(title, playable(video, clip.path, info), h("div", { class: "row" }, from, to, h("p", { class: "hint" }, t("footage.part_of", { side: side.toUpperCase() }))));
}

/** The first pictures of a folder. */
export async function gallery(path) {
  try {
    const { files } = await get("/api/folder", { path });
    return h("div", { class: "gallery" }, files.slice(0, 24).map((each) => h("img", { alt: each.name, loading: "lazy", src: link("/api/frame", { project: studio.path, path: each.path, time: 0, small: 1 }) })));
  } catch (error) { return h("p", { class: "wrong" }, error.message); }
}

function reveal(panel) {
  panel.box.querySelector("details").open = true;
  say(t("footage.part_set"));
}

/** Lets a file be chosen of the folders that the page may see; null if none was. */
export async function pick(title) {
  const body = h("div", { class: "picker" });
  let close;
  async function list(path) {
    try {
      const found = await get("/api/folder", { path });
      const rows = [];
      if (found.parent !== null && (found.parent !== "" || studio.started.roots.length > 1 || found.path)) {
        if (!(found.parent === "" && studio.started.roots.length === 1)) rows.push(h("li", {}, button(t("footage.up"), () => list(found.parent), { class: "entry folder" })));
      }
      rows.push(...found.folders.map((each) => h("li", {}, button(each.name, () => list(each.path), { class: "entry folder" }))));
      rows.push(...(found.files ?? []).map((each) => h("li", {}, h("button", { type: "button", class: `entry ${each.kind}`, on: { click: () => close(each.path) } },
        h("span", {}, each.name), h("small", {}, bytes(each.size))))));
      if (!rows.length) rows.push(h("li", { class: "hint" }, t("footage.nothing")));
      const all = found.files?.length ? button(t("footage.whole_folder"), () => close(found.path), { class: "small" }) : "";
      body.replaceChildren(h("div", { class: "row spread" }, h("p", { class: "hint path" }, found.path || t("footage.folders")), all), h("ul", {}, rows));
      body.querySelector("ul button")?.focus();
    } catch (error) { body.replaceChildren(h("p", { class: "wrong" }, error.message), button(t("footage.folders"), () => list(""))); }
  }
  const { roots } = studio.started;
  list(roots.length === 1 ? roots[0] : "");
  return dialog(title, body, (end) => { close = end; return [button(t("cancel"), () => end(null))]; });
}
