// Small helpers for making a page: elements, icons, messages, dialogs, formats.
// Nothing here makes HTML out of text.
import { t, lang, has } from "./i18n.js";

/**
 * An element. Props: on* are listeners, class and dataset as they are called,
 * style an object; what is true is an attribute without a value, what is false,
 * null or undefined is none. Children: nodes, texts, numbers, lists of these.
 */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** As h, for SVG. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(el, props, children) {
  for (const [name, v] of Object.entries(props ?? {})) {
    if (v === false || v === null || v === undefined) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2).toLowerCase(), v);
    else if (name === "class") el.setAttribute("class", v);
    else if (name === "dataset") Object.assign(el.dataset, v);
    else if (name === "style") for (const [k, s] of Object.entries(v)) el.style.setProperty(k, s);
    else if (name === "value") el.value = v;
    else el.setAttribute(name, v === true ? "" : v);
  }
  el.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false).map((c) => typeof c === "number" ? String(c) : c));
  return el;
}

/** Puts children in the place of those that an element has. */
export const replace = (el, ...children) =>
  el.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));

const shapes = {
  download: "M12 4v11m-5-4.5 5 5 5-5M5 20h14",
  upload: "M12 16V5M7 9.5l5-5 5 5M5 20h14",
  trash: "M5 7h14M10 7V4.5h4V7m-7.5 0 .8 12.5h9.4L17.5 7M10 11v5m4-5v5",
  undo: "M9 6 4.5 10.5 9 15m-4-4.5h9a5 5 0 0 1 0 10h-3",
  close: "M6 6l12 12M18 6 6 18",
  left: "M14.5 5.5 8 12l6.5 6.5",
  right: "M9.5 5.5 16 12l-6.5 6.5",
  grid: "M4.5 4.5h6v6h-6zm9 0h6v6h-6zm-9 9h6v6h-6zm9 0h6v6h-6z",
  map: "M12 21s6.5-6.2 6.5-11.2a6.5 6.5 0 0 0-13 0C5.5 14.8 12 21 12 21zm0-9a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6z",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zm4.8-1.7L20 20",
  check: "M5 12.5l4.5 4.5L19 7.5",
  warning: "M12 4.5 21 19.5H3zM12 10v4.5m0 2.2v.3",
  clock: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zm0-13.5v5l3.5 2",
  up: "M12 19V6m-5.5 5L12 5.5l5.5 5.5",
  down: "M12 5v13m-5.5-5 5.5 5.5 5.5-5.5",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M5 9V5h4m6 0h4v4m0 6v4h-4m-6 0H5v-4",
  image: "M4.5 5.5h15v13h-15zm0 10 4.5-4.5 4 4 2.5-2.5 4 4M15.5 9.5v.2",
  film: "M4.5 5.5h15v13h-15zM8.5 5.5v13m7-13v13M4.5 10h4m-4 4h4m7-4h4m-4 4h4",
  sound: "M9.5 17.5V6.5l9-2v11M9.5 17.5a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zm9-2a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  archive: "M4.5 4.5h15v4h-15zm1 4h13v11h-13zM10 12h4",
  text: "M6.5 3.5h7.5l4 4v13h-11.5zM13.5 3.5v4.5H18M9.5 12.5h5.5m-5.5 3.5h5.5",
  table: "M4.5 5.5h15v13h-15zm0 4.5h15m-15 4.3h15M10 5.5v13",
  cube: "M12 3.5 19.5 8v8L12 20.5 4.5 16V8zm0 8.5v8.5m0-8.5L4.5 8m7.5 4 7.5-4",
  file: "M6.5 3.5h7.5l4 4v13h-11.5zM13.5 3.5v4.5H18",
  story: "M5 6.5h14M5 12h14M5 17.5h8",
  pause: "M9 6v12m6-12v12",
  play: "M8 5.5v13l10.5-6.5z",
  retry: "M19 12a7 7 0 1 1-2.2-5.100L19 9m0-5v5h-5",
  tag: "M4.5 4.5h7.5l8 8-7.5 7.5-8-8zM8.5 8.5v.2",
  copy: "M9 9h10.5v10.5H9zM6 15H4.5V4.5H15V6",
  north: "M12 20.5V4m-5 5.5L12 4l5 5.5",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1m2 3.7a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1",
};

/** A drawing of 24 by 24, in the colour of the text; it says nothing to those who don't see it. */
export function icon(name, size = 20) {
  return svg("svg", {
    viewBox: "0 0 24 24", width: size, height: size, class: "icon", "aria-hidden": "true", fill: "none",
    stroke: "currentColor", "stroke-width": 1.7, "stroke-linecap": "round", "stroke-linejoin": "round",
  }, svg("path", { d: shapes[name] ?? shapes.file }));
}

/** A button; kind is "", "quiet", "danger" or "plain". */
export function button(label, { kind = "", icon: drawing, onClick, ...props } = {}) {
  return h("button", { type: "button", class: kind, onClick, ...props }, drawing && icon(drawing), h("span", {}, label));
}

/** A button of an icon alone; its label is read out and shown as a tip. */
export function iconButton(drawing, label, onClick, props = {}) {
  return h("button", { type: "button", ...props, class: `plain icon-button ${props.class ?? ""}`, title: label, "aria-label": label, onClick }, icon(drawing));
}

const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const tailChars = 4; // of the name itself: numbers of photos are at its end

/**
 * A file's name as parts that are one line: where room is short, the folder shrinks
 * first, then the middle of the name; its end with the extension stays.
 */
export function fileName(path) {
  if (rightToLeft.test(path)) return [h("bdi", { class: "stem" }, path)];
  const cut = path.lastIndexOf("/") + 1;
  const name = path.slice(cut);
  const dot = name.lastIndexOf(".");
  const chars = Array.from(name.slice(0, dot > 0 && name.length - dot <= 9 ? dot : name.length));
  const stem = chars.slice(0, Math.max(1, chars.length - tailChars)).join("");
  return [cut > 0 && h("span", { class: "folder" }, path.slice(0, cut)), h("span", { class: "stem" }, stem),
    name.length > stem.length && h("span", { class: "tail" }, name.slice(stem.length))];
}

let shelf;

// What lies below an open dialog can be neither seen nor pressed.
const onTop = () => [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;

/**
 * A message at the foot of the page; with 0 seconds it stays until it is taken away.
 * Returns how to do that; its say(text) changes the words.
 */
export function toast(text, { action, onAction, seconds = 8, bad = false } = {}) {
  if (!shelf) document.body.append(shelf = h("div", { class: "toasts", role: "status", "aria-live": "polite" }));
  const room = onTop();
  if (shelf.parentNode !== room) room.append(shelf);
  let timer;
  const close = () => { clearTimeout(timer); el.remove(); };
  const wait = () => { clearTimeout(timer); if (seconds) timer = setTimeout(close, seconds * 1000); };
  const words = h("span", {}, text);
  const el = h("div", { class: bad ? "toast bad" : "toast", onPointerEnter: () => clearTimeout(timer), onPointerLeave: wait, onFocusIn: () => clearTimeout(timer), onFocusOut: wait },
    words,
    action && h("button", { type: "button", class: "plain", onClick: () => { close(); onAction(); } }, action),
    seconds > 0 && iconButton("close", t("common.close"), close));
  shelf.append(el);
  while (shelf.children.length > 4) shelf.firstChild.remove();
  wait();
  close.say = (now) => { words.textContent = now; };
  return close;
}

/** Says why a call did not do what it should. */
export function toastProblem(err) {
  if (err?.name === "AbortError") return;
  if (!(err?.name === "Problem")) console.error(err);
  toast(problemText(err), { bad: true, seconds: 14 });
}

/** A problem in words: ours where we have them, else the server's. */
export function problemText(err) {
  if (err?.status === 401) return t("problem.unauthenticated");
  if (err?.code && has("problem." + err.code)) return t("problem." + err.code, { detail: err.detail });
  return err?.detail || (err?.status ? t("problem.status", { status: String(err.status) }) : t("problem.internal"));
}

/** Asks; the answer is true or false. */
export function confirmDialog({ title, text, ok, no = t("common.cancel"), danger = false }) {
  return new Promise((done) => {
    const d = dialog({ title, body: text && h("p", {}, text), onClose: () => done(d.returnValue === "ok"), actions: [
      button(no, { kind: "quiet", onClick: () => d.close() }),
      button(ok, { kind: danger ? "danger" : "", onClick: () => d.close("ok"), autofocus: true }),
    ] });
  });
}

let dialogs = 0;

/**
 * Opens a dialog and returns its element; it leaves the page when it closes. One that
 * stays holds what is not seen again: its actions alone close it.
 */
export function dialog({ title, body, actions = [], onClose, wide = false, stays = false }) {
  const id = `dialog-${++dialogs}`;
  const d = h("dialog", { class: wide ? "sheet wide" : "sheet", "aria-labelledby": id, closedby: stays && "none" },
    h("div", { class: "sheet-head", style: stays && { "min-height": "3.6rem" } }, h("h2", { id }, title), !stays && iconButton("close", t("common.close"), () => d.close())),
    h("div", { class: "sheet-body" }, body),
    actions.length > 0 && h("div", { class: "sheet-actions" }, actions));
  d.addEventListener("close", () => {
    if (shelf && d.contains(shelf)) document.body.append(shelf);
    d.remove();
    onClose?.();
  });
  if (stays) d.addEventListener("cancel", (e) => e.preventDefault()); // for browsers without closedby
  else d.addEventListener("pointerdown", (e) => { if (e.target === d) d.close(); }); // beside it
  document.body.append(d);
  d.showModal();
  return d;
}

/** An element that says that there is nothing, or that something failed. */
export function notice({ title, heading = "h2", text, bad = false, action, onAction, children = [] }) {
  return h("section", { class: bad ? "empty bad" : "empty", role: bad ? "alert" : null },
    title && h(heading, {}, title), text && h("p", {}, text), children,
    action && h("p", {}, button(action, { kind: "quiet", onClick: onAction })));
}

/** Puts text onto the clipboard and says so, or where that may not be, shows it selected. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // plain http in a LAN has none
    if (!copyOld(text)) {
      byHand(text);
      return;
    }
  }
  toast(t("common.copied"), { seconds: 3 });
}

function copyOld(text) {
  const before = document.activeElement;
  const area = h("textarea", { class: "off-screen", readonly: true, value: text });
  onTop().append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}

function byHand(text) {
  const area = h("textarea", { id: "by-hand", "aria-labelledby": "by-hand-how", rows: 2, readonly: true, spellcheck: "false", style: { width: "100%" }, value: text });
  const d = dialog({
    title: t("common.by_hand"), body: [h("p", { id: "by-hand-how" }, t("common.by_hand_how")), area],
    actions: [button(t("common.close"), { onClick: () => d.close() })],
  });
  area.focus();
  area.select();
}

const figures = new Intl.NumberFormat(lang, { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat(lang);

/** 4,024,770 → "4.02 MB". */
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
  return `${figures.format(n)} ${units[i]}`;
}

/** 20000 → "20,000". */
export const count = (n) => whole.format(n);

const formats = {};
const format = (name, options) => formats[name] ??= new Intl.DateTimeFormat(lang, options);

/** A moment for a person; with utc as it stands, for times without a zone; with day, without the hour. */
export function dateTime(at, { utc = false, seconds = false, brief = false, day = false } = {}) {
  if (!at) return "";
  return format(`${utc} ${seconds} ${brief} ${day}`, {
    dateStyle: brief ? "short" : "medium", timeStyle: day ? undefined : seconds ? "medium" : "short", timeZone: utc ? "UTC" : undefined,
  }).format(new Date(at));
}

/** 75 → "1 min 15 s". */
export function duration(seconds) {
  const s = Math.round(seconds);
  if (s < 60) return `${s} ${t("common.s")}`;
  if (s < 3600) return `${Math.floor(s / 60)} ${t("common.min")} ${s % 60} ${t("common.s")}`;
  return `${Math.floor(s / 3600)} ${t("common.h")} ${Math.floor(s % 3600 / 60)} ${t("common.min")}`;
}
