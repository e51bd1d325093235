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
  running(kind) { return this.jobs(kind).find((job) => running(job)); },
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
  source = null;
}

// A browser opens six connections to a server: pages that nobody sees keep none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) source?.close();
  else if (source) listen();
});

const running = (job) => job.state === "running" || job.state === "stopping";

/** How much of a job is done: a share, or null where nobody knows. */
export function shareOf(job) {
  return job.progress?.total ? Math.min(1, job.progress.done / job.progress.total) : null;
}

export function setProgress(bar, share) {
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
}

function tellProgress(job) {
  const { progress } = job, parts = [];
  if (!progress) return t("jobs.begun");
  if (progress.total && progress.unit === "s") parts.push(t("jobs.time", { done: clock(progress.done), total: clock(progress.total) }));
  else parts.push(t(progress.total ? "jobs.of" : "jobs.count", { done: Math.floor(progress.done), total: progress.total ?? 0, unit: t(`units.${progress.unit}`) }));
  if (progress.left !== null) parts.push(t("jobs.left", { time: clock(progress.left) }));
  if (progress.note) parts.push(progress.note);
  return parts.join(" · ");
}

/** A job with its progress, its end or its error. It is not made anew while it goes on,
 * so that its buttons can be pressed: `update` takes what has changed. */
export function jobCard(job) {
  const kind = t(`jobs.kind.${job.kind}`), active = running(job);
  const bar = h("progress", { max: 1, "aria-label": kind }), told = h("p", { class: "hint" }), log = h("pre");
  const words = job.state === "failed" ? job.error || t("jobs.killed") : job.state === "stopped" ? t(`jobs.after.${job.kind}`) : "";
  const details = h("details", {}, h("summary", {}, t("jobs.log")), log);
  const card = h("section", { class: `job ${job.state}`, "aria-label": kind },
    h("div", { class: "row spread" }, h("strong", {}, `${kind}: ${t(`jobs.state.${job.state}`)}`),
      active && button(job.state === "stopping" ? t("jobs.force") : t("jobs.stop"), () => stop(job), { class: "small" })),
    active && bar, active && told, words && h("p", { class: job.state === "failed" ? "wrong" : "hint" }, words), details);
  card.update = (now) => {
    setProgress(bar, shareOf(now));
    told.textContent = tellProgress(now);
    log.textContent = now.words.filter((word) => !word.startsWith("error:")).join("\n");
    details.hidden = !log.textContent;
  };
  card.update(job);
  return card;
}

async function stop(job) {
  const force = job.state === "stopping";
  await post("/api/stop", { project: studio.path, job: job.name, force }).catch(showError);
}

const OLD = 600; // seconds after which it is no news that something was done
const opened = Date.now() / 1000;

/** Keeps a place filled with the latest job of some kinds. */
export function followJobs(box, kinds, wanted = () => true) {
  let shown = "", card = null;
  const draw = () => {
    let job = studio.state.jobs.find((each) => kinds.includes(each.kind) && wanted(each));
    if (job && !running(job) && job.ended < opened - OLD) job = undefined;
    const key = job ? `${job.name} ${job.state}` : "";
    if (key === shown) { if (card) card.update(job); return job; }
    const focused = box.contains(document.activeElement);
    shown = key;
    card = job ? jobCard(job) : null;
    box.replaceChildren(...(card ? [card] : []));
    if (focused) box.querySelector("button")?.focus();
    return job;
  };
  studio.listeners.add(draw);
  draw();
  return draw;
}
