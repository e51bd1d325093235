// Videos: those that no browser plays get a copy that does; two of them run in step.

import { button, clock, get, h, link, post, showError, t } from "/page/dom.js";
import { jobCard, studio } from "/page/studio.js";

/** A video of the folders, or how to come to one that plays. */
export function playable(video, path, info) {
  const box = h("div", { class: "playable" }, video), note = h("div");
  const copied = () => { video.src = link("/api/played", { project: studio.path, path }); note.replaceChildren(); };
  const offer = () => {
    if (note.childElementCount) return;
    note.replaceChildren(h("p", {}, t("player.no", { codec: info.codec ?? "" })), button(t("player.copy"), async () => {
      try {
        const { job } = await post("/api/proxy", { project: studio.path, path });
        follow(job);
      } catch (error) { showError(error); }
    }, { class: "main" }));
  };
  const follow = (name) => {
    const look = () => {
      const job = studio.state.jobs.find((each) => each.name === name);
      if (!job) return;
      note.replaceChildren(jobCard(job));
      if (job.state === "done") copied();
      if (!["running", "stopping"].includes(job.state)) studio.listeners.delete(look);
    };
    studio.listeners.add(look);
  };
  box.append(note);
  video.addEventListener("error", offer);
  const running = studio.state.jobs.find((job) => job.kind === "proxy" && job.facts.source === path && job.state === "running");
  if (info.proxy) copied();
  else if (running) follow(running.name);
  else if (info.plays === false) offer();
  else video.src = link("/api/media", { path });
  return box;
}

const APART = 0.08; // seconds that two videos may be apart before one is moved

/** Two videos with one set of controls; the second starts `offset` seconds into the first. */
export function inStep(first, second, offset = 0) {
  const seek = h("input", { type: "range", min: 0, max: 1000, step: 1, value: "0", "aria-label": t("player.seek"), class: "seek" });
  const time = h("output", { class: "time" }), play = button("", () => (second.paused ? start() : pause()), { class: "round" });
  const mute = button("", () => { second.muted = !second.muted; draw(); }, { class: "small" });
  const back = button("‹", () => step(-1), { class: "small", "aria-label": t("player.back") });
  const next = button("›", () => step(1), { class: "small", "aria-label": t("player.next") });
  first.muted = true;
  for (const video of [first, second]) { video.controls = false; video.preload = "auto"; video.playsInline = true; }
  const align = () => { first.currentTime = second.currentTime + offset; };
  async function start() { align(); await Promise.allSettled([second.play(), first.play()]); draw(); }
  function pause() { second.pause(); first.pause(); align(); draw(); }
  function step(way) { pause(); second.currentTime = Math.max(0, second.currentTime + way / 25); align(); }
  function draw() {
    const duration = second.duration || 0;
    if (document.activeElement !== seek || !second.paused) seek.value = duration ? String(Math.round(1000 * second.currentTime / duration)) : "0";
    seek.setAttribute("aria-valuetext", clock(second.currentTime, 1));
    time.textContent = `${clock(second.currentTime, 1)} / ${clock(duration, 1)}`;
    play.textContent = second.paused ? "▶" : "❚❚";
    play.setAttribute("aria-label", second.paused ? t("player.play") : t("player.pause"));
    mute.textContent = second.muted ? t("player.sound_on") : t("player.sound_off");
  }
  function keep() {
    const apart = first.currentTime - offset - second.currentTime;
    if (!second.paused && Math.abs(apart) > 0.6) align();
    else if (!second.paused) first.playbackRate = Math.abs(apart) > APART ? (apart > 0 ? 0.9 : 1.1) : 1;
    if (!second.paused && first.paused && !first.ended) first.play().catch(() => {});
    draw();
  }
  seek.addEventListener("input", () => { second.currentTime = seek.value / 1000 * (second.duration || 0); align(); draw(); });
  for (const kind of ["timeupdate", "loadedmetadata", "pause", "play", "seeked"]) second.addEventListener(kind, keep);
  second.addEventListener("ended", () => { first.pause(); draw(); });
  draw();
  return h("div", { class: "controls row", role: "group", "aria-label": t("player.both") }, play, back, next, seek, time, mute);
}

/** What a file says of itself, for a player. */
export function probe(path) {
  return get("/api/probe", { project: studio.path, path });
}

/** Two pictures of one place, the second shown right of a line that can be moved. */
export function compare(before, after, labels) {
  const slider = h("input", { type: "range", min: 0, max: 100, value: "34", "aria-label": t("compare", { before: labels[0], after: labels[1] }) });
  const box = h("div", { class: "compare" }, before, h("div", { class: "over" }, after), h("span", { class: "tag left" }, labels[0]), h("span", { class: "tag right" }, labels[1]), h("span", { class: "line" }), slider);
  const draw = () => box.style.setProperty("--at", `${slider.value}%`);
  slider.addEventListener("input", draw);
  draw();
  return box;
}
