// Sends files to a tag that takes them from anybody, as a phone's program does: the
// bytes go to /upload/TAG/NAME, through the broker.
import { dropped, filesOf, readable } from "../../uploadbroker-files.js";
import { t } from "../i18n.js";
import { button, confirmDialog, duration, h, icon, problemText, replace } from "../ui.js";
import { Problem, stayWhile } from "../api.js";

const atOnce = 3;
const tries = 4;
const stallMillis = 60_000; // without a byte: broken off, and another try

/** Waits, but not when it is cancelled. */
const pause = (ms, signal) => new Promise((done) => {
  const end = () => { clearTimeout(timer); signal.removeEventListener("abort", end); done(); };
  const timer = setTimeout(end, ms);
  signal.addEventListener("abort", end);
});

/** Puts a place for files into an element. */
export function mountSend(el, { tag }) {
  const queue = []; // {file, name}
  let failed = []; // {file, name, err}; file is null where it can't be opened
  let running = 0, sent = 0, total = 0, bytesDone = 0, bytesAll = 0;
  let heldUntil = 0; // by the server, which takes so many files a minute
  let left = 0; // of what lay in folders, and is of no use to anybody
  let pending = false, told = null;
  let adding = 0; // folders that are still being read
  let calls = new AbortController(); // what is under way, until it is cancelled

  const input = h("input", { type: "file", multiple: true, class: "off-screen", tabindex: "-1", "aria-hidden": "true" });
  input.addEventListener("change", () => { add(Array.from(input.files)); input.value = ""; });
  const bar = h("progress", { "aria-label": t("tags.progress"), max: 1, value: 0 });
  const line = h("p", { class: "gallery-line" });
  const status = h("p", { class: "off-screen", role: "status" }); // for those who hear the page: not each step
  const bad = h("div", {});
  const zone = h("div", { class: "send" }, icon("upload", 28), h("p", {}, t("tags.drop")), button(t("tags.choose"), { onClick: () => input.click() }), input);
  const cancel = button(t("upload.cancel"), { kind: "quiet", onClick: cancelRest });
  const work = h("div", { class: "send-work", hidden: true }, bar, h("div", { class: "send-line" }, line, cancel), bad);
  replace(el, zone, work, status);

  const files = (e) => Array.from(e.dataTransfer?.types ?? []).includes("Files");
  const asked = () => document.querySelector("dialog[open]"); // something else is to be answered first
  addEventListener("dragover", (e) => { if (files(e)) { e.preventDefault(); zone.classList.toggle("dragging", !asked()); } });
  addEventListener("dragleave", (e) => { if (!e.relatedTarget) zone.classList.remove("dragging"); });
  addEventListener("drop", (e) => {
    if (!files(e)) return;
    e.preventDefault();
    zone.classList.remove("dragging");
    if (!asked()) add(dropped(e.dataTransfer));
  });
  const busy = () => adding > 0 || running > 0 || queue.length > 0;
  addEventListener("beforeunload", (e) => { if (busy()) e.preventDefault(); });
  stayWhile(busy, () => {}); // whoever may send without a session goes on without one

  async function add(things) {
    const { signal } = calls;
    if (!busy()) [sent, total, bytesDone, bytesAll, left] = [0, 0, 0, 0, 0];
    adding++;
    draw();
    for await (const batch of filesOf(things, () => { left++; })) {
      if (signal.aborted) break;
      put(batch);
    }
    adding--;
    draw();
  }

  async function cancelRest() {
    const { signal } = calls;
    if (!await confirmDialog({ title: t("upload.cancel_title"), text: t("upload.cancel_sent"), ok: t("upload.cancel_ok"), no: t("upload.cancel_no"), danger: true })) return;
    if (signal !== calls.signal) return;
    for (const it of queue.splice(0)) forget(it);
    calls.abort();
    calls = new AbortController();
    heldUntil = 0;
    draw();
    zone.querySelector("button").focus();
  }

  function forget(it) {
    total--;
    bytesAll -= it.file.size;
  }

  function put(batch) {
    for (const it of batch) {
      total++;
      bytesAll += it.file?.size ?? 0;
      if (it.file) queue.push(it);
      else failed.push({ ...it, err: unreadable() });
    }
    while (running < atOnce && queue.length) next();
    draw();
  }

  async function next() {
    const it = queue.shift();
    if (!it) return;
    running++;
    const { signal } = calls;
    let counted = 0;
    const loaded = (n) => { bytesDone += n - counted; counted = n; draw(); };
    try {
      await patiently(it, loaded, signal);
      sent++;
      loaded(it.file.size);
    } catch (err) {
      if (signal.aborted) {
        loaded(0);
        forget(it);
      } else {
        failed.push({ ...it, err });
        loaded(it.file.size);
      }
    }
    running--;
    draw();
    next();
  }

  async function patiently(it, loaded, signal) {
    for (let n = 1; ;) {
      await turn(signal);
      signal.throwIfAborted();
      try {
        return await send(it, loaded, signal);
      } catch (err) {
        loaded(0);
        signal.throwIfAborted();
        if (err.status === 429) { // it is not this file's fault, and no try of it
          heldUntil = Math.max(heldUntil, Date.now() + 1000 * Math.max(1, err.retryAfter));
          continue;
        }
        if (err.status === 0 && !(await readable(it.file))) throw unreadable();
        const soon = err.status === 0 || err.status === 503 || err.status === 502;
        if (!soon || n === tries) throw err;
        await pause(Math.max(err.retryAfter * 1000, 1000 * 2 ** n), signal);
        n++;
      }
    }
  }

  /** Waits until the server takes files again. */
  async function turn(signal) {
    for (let left; (left = heldUntil - Date.now()) > 0 && !signal.aborted;) {
      draw(); // the seconds are counted down
      await pause(Math.min(left, 1000), signal);
    }
  }

  function send({ file, name }, loaded, signal) {
    return new Promise((done, refuse) => {
      const x = new XMLHttpRequest(); // fetch tells nothing of how far it is
      let stall, stalled = false;
      const moved = () => {
        clearTimeout(stall);
        stall = setTimeout(() => { stalled = true; x.abort(); }, stallMillis);
      };
      const abort = () => x.abort();
      x.open("PUT", `/upload/${encodeURIComponent(tag)}/${name.split("/").map(encodeURIComponent).join("/")}`);
      x.responseType = "json";
      if (file.type) x.setRequestHeader("Content-Type", file.type);
      x.upload.addEventListener("progress", (e) => { moved(); loaded(Math.min(e.loaded, file.size)); });
      x.upload.addEventListener("load", moved);
      x.addEventListener("load", () => x.status < 300 ? done(x.response)
        : refuse(new Problem({ code: "unexpected", retry_after: Number(x.getResponseHeader("Retry-After")) || 0, ...x.response, status: x.status })));
      x.addEventListener("error", () => refuse(new Problem({ code: "unreachable" })));
      x.addEventListener("abort", () => refuse(stalled ? new Problem({ code: "stalled", detail: t("upload.stalled") }) : signal.reason));
      x.addEventListener("loadend", () => { clearTimeout(stall); signal.removeEventListener("abort", abort); });
      signal.addEventListener("abort", abort);
      moved();
      x.send(file);
    });
  }

  const unreadable = () => new Problem({ code: "unreadable", detail: t("upload.problem.unreadable") });

  // However often something changes, the page draws once a frame.
  function draw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      drawNow();
    });
  }

  function drawNow() {
    work.hidden = total === 0 && !adding && !failed.length && !left;
    bar.value = bytesAll ? bytesDone / bytesAll : 0;
    const wait = Math.ceil((heldUntil - Date.now()) / 1000);
    const on = busy();
    cancel.hidden = !on;
    line.textContent = [
      on ? (total ? t("tags.sending", { n: sent, of: total }) : t("upload.looking")) : t("tags.sent", { n: sent }),
      on && wait > 0 && t("upload.held", { time: duration(wait) }),
      left > 0 && t("upload.left_out_any", { n: left }),
    ].filter(Boolean).join(" ");
    say(on ? (wait > 0 ? t("upload.held_on") : "") : line.textContent);
    const now = `${failed.length} ${failed[0]?.name}`;
    if (now === told) return;
    told = now;
    const again = failed.some((f) => f.file);
    replace(bad, failed.length > 0 && h("div", { class: "empty bad" },
      h("p", {}, t("tags.failed", { n: failed.length })),
      h("ul", {}, failed.slice(0, 5).map(({ name, err }) => h("li", {}, h("bdi", {}, name), ": ", problemText(err)))),
      again && button(t("common.again"), { kind: "quiet", icon: "retry", onClick: sendAgain })));
  }

  function say(text) { if (total && status.textContent !== text) status.textContent = text; }

  function sendAgain() {
    const again = failed.filter((f) => f.file);
    failed = failed.filter((f) => !f.file);
    if (!busy()) [sent, total, bytesDone, bytesAll] = [0, 0, 0, 0];
    put(again);
  }
}
