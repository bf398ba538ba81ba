// Sends files to a tag that takes them from anybody, as a phone's program does: the
// bytes go to /upload/TAG/NAME, through the broker.
import { dropped, filesOf, readable } from "../../uploadbroker-files.js";
import { t } from "../i18n.js";
import { button, duration, h, icon, problemText, replace, toast } from "../ui.js";
import { Problem } from "../api.js";

const atOnce = 3;
const tries = 4;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Puts a place for files into an element. */
export function mountSend(el, { tag }) {
  const queue = []; // {file, name}
  let failed = []; // {file, name, err}; file is null where it can't be opened
  let running = 0, sent = 0, total = 0, bytesDone = 0, bytesAll = 0;
  let heldUntil = 0; // by the server, which takes so many files a minute
  let pending = false, told = null;

  const input = h("input", { type: "file", multiple: true, class: "off-screen", tabindex: "-1", "aria-hidden": "true" });
  input.addEventListener("change", () => { add(Array.from(input.files)); input.value = ""; });
  const bar = h("progress", { "aria-label": t("tags.progress"), max: 1, value: 0 });
  const line = h("p", { class: "gallery-line" });
  const status = h("p", { class: "off-screen", role: "status" }); // for those who hear the page: not each step
  const bad = h("div", {});
  const zone = h("div", { class: "send" }, icon("upload", 28), h("p", {}, t("tags.drop")), button(t("tags.choose"), { onClick: () => input.click() }), input);
  const work = h("div", { class: "send-work", hidden: true }, bar, line, bad);
  replace(el, zone, work, status);

  const files = (e) => Array.from(e.dataTransfer?.types ?? []).includes("Files");
  addEventListener("dragover", (e) => { if (files(e)) { e.preventDefault(); zone.classList.add("dragging"); } });
  addEventListener("dragleave", (e) => { if (!e.relatedTarget) zone.classList.remove("dragging"); });
  addEventListener("drop", (e) => {
    if (!files(e)) return;
    e.preventDefault();
    zone.classList.remove("dragging");
    add(dropped(e.dataTransfer));
  });
  addEventListener("beforeunload", (e) => { if (running || queue.length) e.preventDefault(); });

  async function add(things) {
    try {
      for await (const batch of filesOf(things)) put(batch);
    } catch (err) {
      toast(t("upload.unreadable", { detail: err.message }), { bad: true }); // a folder that can't be listed
    }
  }

  function put(batch) {
    if (!running && !queue.length) [sent, total, bytesDone, bytesAll] = [0, 0, 0, 0];
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
    let counted = 0;
    const loaded = (n) => { bytesDone += n - counted; counted = n; draw(); };
    try {
      await patiently(it, loaded);
      sent++;
    } catch (err) {
      failed.push({ ...it, err });
    }
    loaded(it.file.size);
    running--;
    draw();
    next();
  }

  async function patiently(it, loaded) {
    for (let n = 1; ;) {
      await turn();
      try {
        return await send(it, loaded);
      } catch (err) {
        loaded(0);
        if (err.status === 429) { // it is not this file's fault, and no try of it
          heldUntil = Math.max(heldUntil, Date.now() + 1000 * Math.max(1, err.retryAfter));
          continue;
        }
        if (err.status === 0 && !(await readable(it.file))) throw unreadable();
        const soon = err.status === 0 || err.status === 503 || err.status === 502;
        if (!soon || n === tries) throw err;
        await pause(Math.max(err.retryAfter * 1000, 1000 * 2 ** n));
        n++;
      }
    }
  }

  /** Waits until the server takes files again. */
  async function turn() {
    for (let left; (left = heldUntil - Date.now()) > 0;) {
      draw(); // the seconds are counted down
      await pause(Math.min(left, 1000));
    }
  }

  function send({ file, name }, loaded) {
    return new Promise((done, refuse) => {
      const x = new XMLHttpRequest(); // fetch tells nothing of how far it is
      x.open("PUT", `/upload/${encodeURIComponent(tag)}/${name.split("/").map(encodeURIComponent).join("/")}`);
      x.responseType = "json";
      if (file.type) x.setRequestHeader("Content-Type", file.type);
      x.upload.addEventListener("progress", (e) => loaded(Math.min(e.loaded, file.size)));
      x.addEventListener("load", () => x.status < 300 ? done(x.response)
        : refuse(new Problem({ code: "unexpected", retry_after: Number(x.getResponseHeader("Retry-After")) || 0, ...x.response, status: x.status })));
      x.addEventListener("error", () => refuse(new Problem({ code: "unreachable" })));
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
    work.hidden = total === 0;
    bar.value = bytesAll ? bytesDone / bytesAll : 0;
    const left = Math.ceil((heldUntil - Date.now()) / 1000);
    const busy = running > 0 || queue.length > 0;
    line.textContent = [
      busy ? t("tags.sending", { n: sent, of: total }) : t("tags.sent", { n: sent }),
      busy && left > 0 && t("upload.held", { time: duration(left) }),
    ].filter(Boolean).join(" ");
    say(busy ? (left > 0 ? t("upload.held_on") : "") : line.textContent);
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
    put(again);
  }
}
