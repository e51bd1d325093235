// The frame of the page: projects, navigation and consent.

import { bytes, button, day, dialog, empty, field, get, h, post, say, showError, t } from "/page/dom.js";
import { VIEWS, listen, studio, unlisten } from "/page/studio.js";

const nav = document.getElementById("nav"), place = document.getElementById("view");

function drawNav() {
  const links = VIEWS.map((view, index) => h("a", {
    href: `#${view}/${encodeURIComponent(studio.path ?? "")}`,
    "aria-current": studio.view === view ? "page" : null,
  }, h("span", { class: "step", "aria-hidden": "true" }, String(index + 1)), h("span", {}, t(`${view}.title`))));
  const running = studio.state.jobs.filter((job) => ["running", "stopping"].includes(job.state));
  nav.setAttribute("aria-label", t("navigation"));
  const focused = nav.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  nav.replaceChildren(
    h("a", { href: "#projects", class: "brand" }, h("img", { src: "/page/icon.svg", alt: "", width: 28, height: 28 }),
      h("span", {}, h("strong", {}, studio.project?.name ?? t("name")), h("small", {}, studio.project ? t("projects.all") : t("subtitle")))),
    studio.project ? h("div", { class: "links" }, links) : "",
    studio.project ? h("div", { class: "running" }, running.map(small),
      studio.state.free !== null && h("p", { class: "hint" }, t("free", { size: bytes(studio.state.free) }))) : "");
  if (focused) nav.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

function small(job) {
  const progress = job.progress, share = progress?.total ? progress.done / progress.total : null;
  const view = { extract: "footage", proxy: "footage", train: "train", convert: "convert", evaluate: "results" }[job.kind];
  return h("a", { class: "job-small", href: `#${view}/${encodeURIComponent(studio.path)}` },
    h("span", {}, t(`jobs.kind.${job.kind}`)),
    h("progress", { max: 1, value: share ?? undefined, "aria-label": t(`jobs.kind.${job.kind}`) }),
    h("small", {}, share === null ? t("jobs.begun") : `${Math.floor(100 * Math.min(1, share))} %`));
}

async function route() {
  const [view, name] = location.hash.slice(1).split("/");
  studio.leave?.();
  studio.leave = null;
  studio.listeners.clear();
  if (!VIEWS.includes(view) || !name) return drawProjects();
  const path = decodeURIComponent(name);
  try {
    if (studio.path !== path) {
      await post("/api/open", { project: path });
      studio.project = { path };
      studio.state = { jobs: [], versions: {}, free: null };
      await studio.refresh();
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
window.addEventListener("hashchange", route);
window.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  say(event.reason?.message ?? t("errors.title"), "bad");
});
studio.redraw = drawNav;
try {
  studio.started = await get("/api/start");
  await route();
} catch (error) { place.replaceChildren(empty(t("errors.title"), error.message)); }
