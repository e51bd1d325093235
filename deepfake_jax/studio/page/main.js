// The frame of the page: projects, navigation and consent.

import { bytes, button, day, dialog, empty, field, get, h, post, say, showError, t } from "/page/dom.js";
import { VIEWS, listen, setProgress, shareOf, studio, unlisten } from "/page/studio.js";

const nav = document.getElementById("nav"), place = document.getElementById("view");

const links = h("div", { class: "links" }), busy = h("div", { class: "running" }), space = h("p", { class: "hint" });
const cards = new Map();
let drawn = "";

/** Draws what has changed alone, so that a link stays where it is being pressed. */
function drawNav() {
  const key = JSON.stringify([studio.path, studio.project?.name, studio.view]);
  if (key !== drawn) {
    drawn = key;
    drawLinks();
  }
  if (!studio.project) return;
  const jobs = studio.state.jobs.filter((job) => job.state === "running" || job.state === "stopping");
  for (const [name, card] of cards) if (!jobs.some((job) => job.name === name)) { card.remove(); cards.delete(name); }
  for (const job of jobs) {
    if (!cards.has(job.name)) { cards.set(job.name, small(job)); space.before(cards.get(job.name)); }
    cards.get(job.name).update(job);
  }
  space.textContent = studio.state.free === null ? "" : t("free", { size: bytes(studio.state.free) });
}

function drawLinks() {
  nav.setAttribute("aria-label", t("navigation"));
  links.replaceChildren(...VIEWS.map((view, index) => h("a", {
    href: `#${view}/${encodeURIComponent(studio.path ?? "")}`,
    "aria-current": studio.view === view ? "page" : null,
  }, h("span", { class: "step", "aria-hidden": "true" }, String(index + 1)), h("span", {}, t(`${view}.title`)))));
  if (!busy.contains(space)) busy.append(space);
  const brand = h("a", { href: "#projects", class: "brand" }, h("img", { src: "/page/icon.svg", alt: "", width: 28, height: 28 }),
    h("span", {}, h("strong", {}, studio.project?.name ?? t("name")), h("small", {}, studio.project ? t("projects.all") : t("subtitle"))));
  nav.replaceChildren(brand, ...(studio.project ? [links, busy] : []));
}

function small(job) {
  const view = { extract: "footage", proxy: "footage", train: "train", convert: "convert", evaluate: "results" }[job.kind];
  const bar = h("progress", { max: 1, "aria-label": t(`jobs.kind.${job.kind}`) }), told = h("small");
  const card = h("a", { class: "job-small", href: `#${view}/${encodeURIComponent(studio.path)}` }, h("span", {}, t(`jobs.kind.${job.kind}`)), bar, told);
  card.update = (now) => {
    const share = shareOf(now);
    setProgress(bar, share);
    told.textContent = share === null ? t("jobs.begun") : `${Math.floor(100 * share)} %`;
  };
  return card;
}

let moved = false; // whether the page is past its first view
let routing = Promise.resolve();
/** Shows what the address says; one after another, as each waits for the server. */
function route() {
  routing = routing.then(showAddress, showAddress);
  return routing;
}

async function showAddress() {
  const [view, name] = location.hash.slice(1).split("/");
  studio.leave?.();
  studio.leave = null;
  studio.listeners.clear();
  if (!VIEWS.includes(view) || !name) return drawProjects();
  const path = decodeURIComponent(name);
  try {
    if (studio.path !== path) {
      await post("/api/open", { project: path });
      studio.project = await get("/api/project", { project: path });
      studio.state = { jobs: [], versions: {}, free: null };
      drawNav();
      listen();
    }
    if (!studio.project.consent && !(await askConsent())) { location.hash = "#projects"; return; }
    studio.view = view;
    post("/api/left", { project: path, view }).catch(() => {});
    const module = await import(`/page/${view}.js`);
    document.title = `${t(`${view}.title`)} · ${studio.project.name} · ${t("name")}`;
    drawNav();
    place.className = `view ${view}`;
    place.replaceChildren(h("header", {}, h("h1", {}, t(`${view}.title`)), h("p", { class: "lead" }, t(`${view}.lead`))));
    if (moved) place.focus({ preventScroll: true });
    studio.leave = (await module.open(place)) ?? null;
  } catch (error) {
    studio.project = null;
    studio.view = "";
    drawNav();
    document.title = t("name");
    place.replaceChildren(empty(t("errors.title"), error.message, button(t("projects.all"), () => { location.hash = "#projects"; }, { class: "main" })));
  }
}

async function askConsent() {
  const form = h("form", { class: "stack" });
  const who = h("input", { type: "text", maxlength: 200, autocomplete: "name", required: true });
  const agreed = h("input", { type: "checkbox" });
  form.append(h("p", {}, t("consent.purpose")), h("p", {}, t("consent.marks")), h("p", {}, t("consent.local")),
    field("agreed", t("consent.statement"), agreed), field("who", t("consent.who"), who, t("consent.who_hint")));
  const confirmed = await dialog(t("consent.title"), form, (close) => {
    const confirm = async (event) => {
      event?.preventDefault();
      try {
        await post("/api/consent", { project: studio.path, agreed: agreed.checked, who: who.value });
        close(true);
      } catch (error) { showError(error, form); }
    };
    form.addEventListener("submit", confirm);
    return [button(t("consent.no"), () => close(false)), button(t("consent.yes"), confirm, { class: "main" })];
  });
  if (confirmed) await studio.refresh();
  else studio.project = null;
  return confirmed;
}

async function drawProjects() {
  unlisten();
  studio.project = null;
  studio.view = "";
  studio.state = { jobs: [], versions: {}, free: null };
  const { projects, roots } = await get("/api/start");
  drawNav();
  document.title = t("name");
  const form = h("form", { class: "panel stack", on: { submit: async (event) => {
    event.preventDefault();
    try {
      const { project } = await post("/api/create", { parent: parent.value, name: name.value });
      location.hash = `#footage/${encodeURIComponent(project)}`;
    } catch (error) { showError(error, form); }
  } } });
  const name = h("input", { type: "text", maxlength: 64, autocomplete: "off" });
  const parent = choiceOfRoots(roots);
  form.append(h("h2", {}, t("projects.new")), field("name", t("projects.name"), name, t("projects.name_hint")),
    field("parent", t("projects.where"), parent), h("div", {}, h("button", { class: "main", type: "submit" }, t("projects.create"))));
  const listed = projects.length
    ? h("ul", { class: "cards" }, projects.map((each) => h("li", {}, h("a", { class: "card", href: `#footage/${encodeURIComponent(each.path)}`, on: { click: (event) => openLeft(event, each) } },
      h("strong", {}, each.name), h("small", {}, each.path), each.opened && h("small", {}, t("projects.opened", { when: day(each.opened) }))))))
    : h("p", { class: "hint" }, t("projects.none"));
  place.className = "view projects";
  place.replaceChildren(h("header", {}, h("h1", {}, t("projects.title")), h("p", { class: "lead" }, t("projects.lead"))),
    h("div", { class: "two" }, h("section", { class: "stack" }, h("h2", {}, t("projects.yours")), listed), form));
}

function choiceOfRoots(roots) {
  return h("select", {}, roots.map((root) => h("option", { value: root }, root)));
}

async function openLeft(event, project) {
  event.preventDefault();
  try {
    const { view } = await post("/api/open", { project: project.path });
    location.hash = `#${view}/${encodeURIComponent(project.path)}`;
  } catch (error) { showError(error); }
}

const skip = document.getElementById("skip");
skip.textContent = t("skip");
skip.addEventListener("click", (event) => { event.preventDefault(); place.focus(); });
window.addEventListener("hashchange", () => { moved = true; route(); });
window.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  say(event.reason?.message ?? t("errors.title"), "bad");
});
studio.redraw = drawNav;
try {
  studio.started = await get("/api/start");
  await route();
} catch (error) { place.replaceChildren(empty(t("errors.title"), error.message)); }
