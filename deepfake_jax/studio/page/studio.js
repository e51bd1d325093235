// What all views share: the open project, what runs in it, and how that is shown.

import { button, clock, get, h, post, say, showError, t } from "/page/dom.js";

export const VIEWS = ["footage", "faces", "train", "convert", "results"];

/** What views share: the open project, what runs, and who listens to changes. */
export const studio = {
  started: null, project: null, state: { jobs: [], versions: {}, free: null }, view: "",
  listeners: new Set(), leave: null, lost: false, redraw() {},
  get path() { return this.project?.path; },
  async refresh() {
    this.project = await get("/api/project", { project: this.path });
    this.redraw();
    return this.project;
  },
  jobs(kind) { return this.state.jobs.filter((job) => job.kind === kind); },
  running(kind) { return this.jobs(kind).find((job) => ["running", "stopping"].includes(job.state)); },
  async order(kind, values, form = null) {
    try {
      const { job } = await post("/api/order", { project: this.path, kind, ...values });
      return job;
    } catch (error) {
      if (error.code === "faces_exist") throw error;
      showError(error, form);
      return null;
    }
  },
  go(view) { location.hash = `#${view}/${encodeURIComponent(this.path)}`; },
};

let source = null;
export function listen() {
  source?.close();
  source = new EventSource(`/api/events?project=${encodeURIComponent(studio.path)}`);
  source.onmessage = async (message) => {
    const before = studio.state;
    studio.state = JSON.parse(message.data);
    if (studio.lost) { studio.lost = false; say(t("back")); }
    document.body.classList.remove("lost");
    for (const job of studio.state.jobs) {
      const old = before.jobs.find((each) => each.name === job.name);
      if (old && old.state !== job.state) announce(job);
    }
    if (JSON.stringify(before.versions) !== JSON.stringify(studio.state.versions)) await studio.refresh().catch(() => {});
    studio.redraw();
    for (const listener of [...studio.listeners]) listener(before);
  };
  source.onerror = () => {
    if (!studio.lost) say(t("errors.unreachable"), "bad");
    studio.lost = true;
    document.body.classList.add("lost");
  };
}

function announce(job) {
  const kind = t(`jobs.kind.${job.kind}`);
  if (job.state === "done") say(t("jobs.done", { kind }));
  if (job.state === "failed") say(t("jobs.failed", { kind, why: job.error || t("jobs.killed") }), "bad");
  if (job.state === "stopped") say(t("jobs.stopped", { kind }));
}

export function unlisten() {
  source?.close();
}

/** A job with its progress, its end or its error; redrawn when the state changes. */
export function jobCard(job) {
  const kind = t(`jobs.kind.${job.kind}`), progress = job.progress;
  const running = ["running", "stopping"].includes(job.state);
  const share = progress?.total ? Math.min(1, progress.done / progress.total) : null;
  const parts = [];
  if (progress?.total && progress.unit === "s") parts.push(t("jobs.time", { done: clock(progress.done), total: clock(progress.total) }));
  else if (progress) parts.push(t(progress.total ? "jobs.of" : "jobs.count", { done: progress.done, total: progress.total ?? 0, unit: t(`units.${progress.unit}`) }));
  if (progress?.left !== null && progress && running) parts.push(t("jobs.left", { time: clock(progress.left) }));
  if (progress?.note) parts.push(progress.note);
  const words = job.state === "failed" ? job.error || t("jobs.killed") : job.state === "stopped" ? t(`jobs.after.${job.kind}`) : "";
  const log = job.words.filter((word) => !word.startsWith("error:"));
  return h("section", { class: `job ${job.state}`, "aria-label": kind },
    h("div", { class: "row spread" }, h("strong", {}, `${kind}: ${t(`jobs.state.${job.state}`)}`),
      running && button(job.state === "stopping" ? t("jobs.force") : t("jobs.stop"), () => stop(job), { class: "small" })),
    running && h("progress", { max: 1, value: share ?? undefined, "aria-label": kind }),
    running && h("p", { class: "hint" }, parts.join(" · ") || t("jobs.begun")),
    words && h("p", { class: job.state === "failed" ? "wrong" : "hint" }, words),
    log.length ? h("details", {}, h("summary", {}, t("jobs.log")), h("pre", {}, log.join("\n"))) : "");
}

async function stop(job) {
  const force = job.state === "stopping";
  await post("/api/stop", { project: studio.path, job: job.name, force }).catch(showError);
}

/** Keeps a place filled with the latest job of some kinds, without losing open details. */
export function followJobs(box, kinds, wanted = () => true) {
  let last = "";
  const draw = () => {
    const job = studio.state.jobs.find((each) => kinds.includes(each.kind) && wanted(each));
    const text = JSON.stringify(job ?? null);
    if (text === last) return job;
    last = text;
    const open = box.querySelector("details")?.open, focused = box.contains(document.activeElement);
    box.replaceChildren(...(job ? [jobCard(job)] : []));
    if (open) box.querySelector("details")?.setAttribute("open", "");
    if (focused) box.querySelector("button")?.focus();
    return job;
  };
  studio.listeners.add(draw);
  draw();
  return draw;
}
