// Faces of both people in a grid: looked through, left out, brought back, moved.

import { button, choice, dialog, empty, field, get, h, link, number, post, say, showError, t } from "/page/dom.js";
import { makeGrid } from "/page/grid.js";
import { studio } from "/page/studio.js";

const SORTS = ["time", "yaw", "pitch", "sharpness", "width", "occlusion", "alignment"];
let side = "a", sort = "time", shown = "kept";

export async function open(place) {
  const body = h("div", { class: "stack" });
  const tabs = h("div", { class: "row", role: "group", "aria-label": t("faces.side") });
  place.append(tabs, body);
  let view = null, last = "";
  const draw = async () => {
    const sets = studio.project.sets;
    tabs.replaceChildren(...["a", "b"].map((each) => button(`${each.toUpperCase()} · ${t("faces.count", { n: total(sets[each]) })}`, () => { side = each; last = ""; draw(); },
      { class: "tab", "aria-pressed": String(each === side) })));
    const text = side + JSON.stringify(sets[side].map((each) => each.path));
    if (text !== last) {
      last = text;
      view?.close();
      view = sets[side].length ? await drawSets(body, sets[side]) : null;
      if (!view) body.replaceChildren(empty(t("faces.empty", { side: side.toUpperCase() }), t("faces.empty_next"),
        h("a", { class: "button main", href: `#footage/${encodeURIComponent(studio.path)}` }, t("faces.to_footage"))));
    } else await view?.refresh();
  };
  if (!total(studio.project.sets.a) && total(studio.project.sets.b)) side = "b";
  studio.listeners.add((before) => {
    if (before.versions[`faces_${side}`] !== studio.state.versions[`faces_${side}`]) draw();
  });
  await draw();
  return () => view?.close();
}

const total = (sets) => sets.reduce((sum, each) => sum + each.faces, 0);

async function drawSets(body, sets) {
  let current = (sets.find((each) => each.trains) ?? sets[0]).path, data = null;
  const people = h("div", { class: "row people", role: "group", "aria-label": t("faces.people") });
  const poses = h("div", { class: "panel" }), status = h("p", { class: "hint", role: "status" });
  const grid = makeGrid({
    label: t("faces.grid"),
    image: (file) => link("/api/thumb", { project: studio.path, set: current, file }),
    about: (index) => describe(data, index),
    changed: () => drawBar(),
    drop: () => edit("drop"),
    open: (index) => enlarge(current, data, index),
  });
  const query = h("input", { type: "search", placeholder: "yaw>60 or sharpness<0.2", autocomplete: "off", spellcheck: "false" });
  const form = h("form", { class: "row bar", on: { submit: (event) => { event.preventDefault(); edit("drop", query.value); } } },
    field("query", t("faces.query"), query),
    h("button", { type: "submit" }, t("faces.drop_query")), button(t("faces.restore_query"), () => edit("restore", query.value)),
    h("details", { class: "help" }, h("summary", {}, t("faces.query_help")), h("p", { class: "hint" }, t("faces.query_hint", { keys: studio.started.keys.join(", ") }))));
  const sorts = choice(SORTS.map((name) => [name, t(`faces.sort.${name}`)]), sort, () => { sort = sorts.value; fill(); });
  const filter = choice(["kept", "all", "dropped"].map((name) => [name, t(`faces.show.${name}`)]), shown, () => { shown = filter.value; fill(); });
  const size = h("input", { type: "range", min: 64, max: 224, step: 8, value: "112", on: { input: () => grid.resize(Number(size.value)) } });
  const bar = h("div", { class: "row selection", role: "group", "aria-label": t("faces.selection") });
  const looks = h("div", { class: "row bar" }, field("sort", t("faces.sort_by"), sorts), field("show", t("faces.show_what"), filter), field("size", t("faces.size"), size));
  body.replaceChildren(people, poses, h("div", { class: "bars" }, looks, form), h("div", { class: "row spread" }, bar, status), grid.element);

  function drawPeople() {
    const now = studio.project.sets[side];
    people.replaceChildren(...now.map((each) => button([h("strong", {}, personName(each.path)), h("small", {}, `${t("faces.count", { n: each.faces })}${each.trains ? ` · ${t("faces.trains")}` : ""}`)],
      () => { current = each.path; refresh(); }, { class: "tab", "aria-pressed": String(each.path === current) })));
    const chosen = now.find((each) => each.path === current);
    if (now.length > 1 && chosen && !chosen.trains) people.append(button(t("faces.use"), use, { class: "small" }));
    if (now.length > 1) people.append(button(t("faces.merge"), merge, { class: "small" }));
  }

  async function use() {
    await post("/api/choose", { project: studio.path, side, set: current }).catch(showError);
    await studio.refresh();
    drawPeople();
  }

  async function merge() {
    const others = studio.project.sets[side].filter((each) => each.path !== current);
    const target = choice(others.map((each) => [numberOf(each.path), personName(each.path)]));
    const yes = await dialog(t("faces.merge"), h("div", { class: "stack" }, h("p", {}, t("faces.merge_text", { name: personName(current) })), field("person", t("faces.merge_into"), target)),
      (close) => [button(t("cancel"), () => close(false)), button(t("faces.merge"), () => close(true), { class: "main" })]);
    if (yes) await move(data.columns.file.filter((_, index) => !data.dropped[index]), Number(target.value));
  }

  async function move(files, person) {
    try {
      const { set } = await post("/api/move", { project: studio.path, set: current, files, person });
      current = set;
      say(t("faces.moved", { n: files.length, name: personName(set) }));
      await studio.refresh();
      await refresh();
    } catch (error) { showError(error); }
  }

  async function edit(way, text = null) {
    const files = text === null ? grid.selected() : undefined;
    if (text === null && !files.length) return;
    try {
      const { changed } = await post(`/api/${way}`, { project: studio.path, set: current, files, query: text ?? undefined });
      say(t(`faces.${way === "drop" ? "dropped" : "restored"}`, { n: changed }));
      await studio.refresh();
      await refresh();
    } catch (error) { showError(error, form); }
  }

  function drawBar() {
    const files = grid.selected();
    status.textContent = t("faces.status", { n: grid.count(), chosen: files.length });
    const parts = files.length ? [h("strong", {}, t("faces.chosen", { n: files.length })), button(t("faces.drop"), () => edit("drop"), { class: "main" }),
      button(t("faces.restore"), () => edit("restore")),
      choice([["", t("faces.move")], ...studio.project.sets[side].filter((each) => each.path !== current && numberOf(each.path)).map((each) => [numberOf(each.path), personName(each.path)]), ["new", t("faces.new_person")]], "",
        (event) => { if (event.target.value) move(files, event.target.value === "new" ? null : Number(event.target.value)); }),
      button(t("faces.none"), () => grid.clear())] : [h("span", { class: "hint" }, t("faces.how"))];
    bar.querySelector("select")?.remove();
    bar.replaceChildren(...parts);
    bar.querySelector("select")?.setAttribute("aria-label", t("faces.move"));
  }

  function fill() {
    const { columns, dropped } = data, order = columns.file.map((_, index) => index)
      .filter((index) => shown === "all" || dropped[index] === (shown === "dropped"));
    if (sort !== "time") order.sort((one, two) => columns[sort][one] - columns[sort][two]);
    grid.fill(order.map((index) => ({ index, file: columns.file[index], dropped: dropped[index] })));
    drawBar();
  }

  let asked = 0;
  async function refresh() {
    const mine = (asked += 1);
    const sets = studio.project.sets[side];
    if (!sets.some((each) => each.path === current)) current = (sets.find((each) => each.trains) ?? sets[0])?.path;
    if (!current) return;
    const found = await get("/api/faces", { project: studio.path, set: current });
    if (mine !== asked) return;
    data = found;
    drawPeople();
    poses.replaceChildren(...drawPoses(data));
    fill();
  }
  await refresh();
  return { refresh, close: grid.close };
}

export function personName(path) {
  const found = numberOf(path);
  return found ? t("faces.person", { number: String(found) }) : t("faces.one_person");
}

const numberOf = (path) => Number(/person_(\d+)$/.exec(path)?.[1] ?? 0);

function describe(data, index) {
  const { columns } = data, facts = (name, digits = 0) => number(columns[name][index], digits);
  return t("faces.about", { source: data.sources[columns.source[index]] ?? "", time: number(columns.time[index], 2), yaw: facts("yaw"), pitch: facts("pitch"),
    sharpness: facts("sharpness", 2), width: facts("width") }) + (data.dropped[index] ? ` · ${t("faces.is_dropped")}` : "");
}

async function enlarge(set, data, index) {
  const image = h("img", { src: link("/api/face", { project: studio.path, set, file: data.columns.file[index] }), alt: describe(data, index), width: 256, height: 256, class: "enlarged" });
  await dialog(data.columns.file[index], h("div", { class: "stack" }, image, h("p", {}, describe(data, index))), (close) => [button(t("close"), () => close(), { class: "main" })]);
}

const ROWS = ["up", "level", "down"], COLUMNS = ["left", "ahead", "right"];
const FEW = 0.02; // share of all faces below which a pose is rare

/** How many faces look where, as a table, and what is missing in words. */
function drawPoses(data) {
  const counts = ROWS.map(() => COLUMNS.map(() => 0));
  let sum = 0;
  data.columns.file.forEach((_, index) => {
    if (data.dropped[index]) return;
    const yaw = data.columns.yaw[index], pitch = data.columns.pitch[index];
    counts[pitch > 12 ? 0 : pitch < -12 ? 2 : 1][yaw < -20 ? 0 : yaw > 20 ? 2 : 1] += 1;
    sum += 1;
  });
  const missing = [];
  counts.forEach((row, y) => row.forEach((count, x) => {
    if (count < Math.max(3, FEW * sum) && !(x !== 1 && y !== 1)) missing.push([count, t(`faces.pose.${ROWS[y]}_${COLUMNS[x]}`)]);
  }));
  const most = Math.max(1, ...counts.flat());
  const table = h("table", { class: "poses" }, h("caption", {}, t("faces.poses")),
    h("thead", {}, h("tr", {}, h("td"), COLUMNS.map((name) => h("th", { scope: "col" }, t(`faces.pose.${name}`))))),
    h("tbody", {}, ROWS.map((name, y) => h("tr", {}, h("th", { scope: "row" }, t(`faces.pose.${name}`)), counts[y].map((count) => {
      const cell = h("td", {}, number(count));
      cell.style.setProperty("--share", String(count / most));
      return cell;
    })))));
  const words = missing.length ? h("ul", {}, missing.map(([count, pose]) => h("li", {}, t(count ? "faces.rare" : "faces.absent", { pose, n: count })))) : h("p", {}, t("faces.all_poses"));
  const reasons = Object.entries(data.reasons);
  const left = reasons.length ? h("p", { class: "hint" }, t("faces.left_out", { list: reasons.map(([why, count]) => `${number(count)} ${why}`).join(", ") })) : "";
  return [h("div", { class: "pose-layout" }, table, h("div", {}, h("h2", {}, t("faces.advice")), words, left))];
}
