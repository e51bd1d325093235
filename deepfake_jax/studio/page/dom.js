// Elements, texts, requests and numbers: what every view is made with.

export const texts = await (await fetch("/page/texts.json")).json();
const language = texts.language;
document.documentElement.lang = language;
const plural = new Intl.PluralRules(language);
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });

/** A text by its path, with facts filled in; {n} also chooses singular or plural. */
export function t(path, facts = {}) {
  let text = path.split(".").reduce((part, name) => part?.[name], texts);
  if (text && typeof text === "object") text = text[plural.select(facts.n ?? 0)] ?? text.other;
  if (text === undefined) throw new Error(`no text ${path}`);
  return text.replace(/\{(\w+)\}/g, (all, name) => {
    const value = facts[name];
    return value === undefined ? all : typeof value === "number" ? number(value) : value;
  });
}

/** An element; `on` has its listeners, other properties are attributes. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name === "on") for (const [kind, act] of Object.entries(value)) element.addEventListener(kind, act);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "muted") element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function button(label, act, properties = {}) {
  return h("button", { type: "button", ...properties, on: { click: act } }, label);
}

let fields = 0;
/** A labelled field with room for what is wrong with it; `name` is the server's. */
export function field(name, label, input, hint = "") {
  const id = `field-${(fields += 1)}`;
  input.id = id;
  input.dataset.field = name;
  const notes = [`${id}-wrong`];
  if (hint) notes.unshift(`${id}-hint`);
  input.setAttribute("aria-describedby", notes.join(" "));
  return h("div", { class: input.type === "checkbox" ? "field check" : "field" },
    h("label", { for: id }, label), input,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    h("p", { class: "wrong", id: `${id}-wrong` }));
}

export function choice(options, value, act) {
  const select = h("select", act ? { on: { change: act } } : {},
    options.map(([key, label]) => h("option", { value: key }, label)));
  if (value !== undefined) select.value = value;
  return select;
}

/** Says what is wrong with a request: at its field in `form`, or as a message. */
export function showError(error, form = null) {
  clearErrors(form);
  const input = error.field && form?.querySelector(`[data-field="${CSS.escape(error.field)}"]`);
  if (!input) return say(error.message, "bad");
  input.setAttribute("aria-invalid", "true");
  document.getElementById(`${input.id}-wrong`).textContent = error.message;
  input.closest("details")?.setAttribute("open", "");
  input.focus();
}

export function clearErrors(form) {
  for (const input of form?.querySelectorAll("[aria-invalid]") ?? []) {
    input.removeAttribute("aria-invalid");
    document.getElementById(`${input.id}-wrong`).textContent = "";
  }
}

/** A short message at the edge of the page; bad ones stay until closed. */
export function say(text, kind = "good") {
  const box = document.getElementById("messages");
  for (const old of box.children) if (old.dataset.text === text) old.remove();
  const note = h("div", { class: `message ${kind}`, "data-text": text }, h("p", {}, text),
    button("×", () => note.remove(), { class: "plain", "aria-label": t("close") }));
  box.append(note);
  while (box.children.length > 3) box.firstChild.remove();
  if (kind === "good") setTimeout(() => note.remove(), 6000);
}

async function answer(response) {
  let values = {};
  try { values = await response.json(); } catch { /* no JSON: told below */ }
  if (response.ok) return values;
  const error = new Error(values.error ?? t("errors.unreachable"));
  throw Object.assign(error, { field: values.field ?? "", code: values.code ?? "", status: response.status });
}

export async function get(address, query = {}) {
  return answer(await fetch(link(address, query)).catch(gone));
}

export async function post(address, values) {
  const body = JSON.stringify(values);
  const headers = { "content-type": "application/json" };
  return answer(await fetch(address, { method: "POST", headers, body }).catch(gone));
}

function gone() {
  throw Object.assign(new Error(t("errors.unreachable")), { field: "", code: "gone" });
}

export function link(address, query) {
  const known = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  return known.length ? `${address}?${new URLSearchParams(known)}` : address;
}

export function number(value, digits = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return t("unknown");
  return digits ? new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value) : whole.format(value);
}

/** Seconds as 1:05 or 1:02:05; tenths where asked. */
export function clock(seconds, digits = 0) {
  if (!Number.isFinite(seconds)) return t("unknown");
  const unit = 10 ** digits;
  const all = Math.round(seconds * unit) / unit;
  const hours = Math.floor(all / 3600), minutes = Math.floor(all / 60) % 60;
  const rest = (all % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  while (size >= 1000 && step < units.length - 1) { size /= 1000; step += 1; }
  return `${number(size, step && size < 100 ? 1 : 0)} ${units[step]}`;
}

/** Moments as a person tells them, in the page's language. */
export function day(moment) {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(moment));
}

/** A dialog with a heading; gives what it was closed with. */
export function dialog(title, body, buttons) {
  return new Promise((resolve) => {
    const id = `dialog-${(fields += 1)}`;
    const box = h("dialog", { "aria-labelledby": id }, h("h2", { id }, title), body,
      h("div", { class: "row end" }, buttons((value) => { result = value; box.close(); })));
    let result = null;
    box.addEventListener("close", () => { box.remove(); resolve(result); });
    document.body.append(box);
    box.showModal();
  });
}

export function ask(title, text, yes) {
  return dialog(title, h("p", {}, text), (close) => [
    button(t("cancel"), () => close(false)),
    button(yes, () => close(true), { class: "main" })]);
}

/** An empty place that says what comes next. */
export function empty(title, text, ...actions) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text), h("div", { class: "row" }, actions));
}

export function once(act, wait) {
  let timer = 0;
  return (...given) => { clearTimeout(timer); timer = setTimeout(() => act(...given), wait); };
}
