// Sends files to a tag that takes them from anybody, as a phone's program does: the
// bytes go to /upload/TAG/NAME, through the broker.
import { t } from "../i18n.js";
import { button, h, icon, problemText, replace } from "../ui.js";
import { Problem } from "../api.js";

const atOnce = 3;
const tries = 4;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Puts a place for files into an element. */
export function mountSend(el, { tag }) {
  const queue = [];
  const failed = [];
  let running = 0, sent = 0, total = 0, bytesDone = 0, bytesAll = 0;

  const input = h("input", { type: "file", multiple: true, class: "off-screen", tabindex: "-1", "aria-hidden": "true" });
  input.addEventListener("change", () => { add(Array.from(input.files)); input.value = ""; });
  const bar = h("progress", { "aria-label": t("tags.progress"), max: 1, value: 0 });
  const line = h("p", { class: "gallery-line", role: "status" });
  const bad = h("div", {});
  const zone = h("div", { class: "send" }, icon("upload", 28), h("p", {}, t("tags.drop")), button(t("tags.choose"), { onClick: () => input.click() }), input);
  const work = h("div", { class: "send-work", hidden: true }, bar, line, bad);
  replace(el, zone, work);

  addEventListener("dragover", (e) => { if (e.dataTransfer?.types.includes("Files")) { e.preventDefault(); zone.classList.add("dragging"); } });
  addEventListener("dragleave", (e) => { if (!e.relatedTarget) zone.classList.remove("dragging"); });
  addEventListener("drop", (e) => {
    if (!e.dataTransfer?.files.length) return;
    e.preventDefault();
    zone.classList.remove("dragging");
    add(Array.from(e.dataTransfer.files).filter((f) => f.size > 0 || f.type)); // a folder is neither
  });
  addEventListener("beforeunload", (e) => { if (running) e.preventDefault(); });

  function add(files) {
    if (!running && !queue.length) [sent, total, bytesDone, bytesAll] = [0, 0, 0, 0];
    for (const file of files) {
      queue.push(file);
      total++;
      bytesAll += file.size;
    }
    while (running < atOnce && queue.length) next();
    draw();
  }

  async function next() {
    const file = queue.shift();
    if (!file) return;
    running++;
    let counted = 0;
    const loaded = (n) => { bytesDone += n - counted; counted = n; draw(); };
    try {
      await patiently(file, loaded);
      sent++;
    } catch (err) {
      failed.push({ file, err });
    }
    loaded(file.size);
    running--;
    draw();
    next();
  }

  async function patiently(file, loaded) {
    for (let n = 1; ; n++) {
      try {
        return await put(file, loaded);
      } catch (err) {
        loaded(0);
        const soon = err.status === 0 || err.status === 429 || err.status === 503 || err.status === 502;
        if (!soon || n === tries) throw err;
        await pause(Math.max(err.retryAfter * 1000, 1000 * 2 ** n));
      }
    }
  }

  function put(file, loaded) {
    return new Promise((done, refuse) => {
      const x = new XMLHttpRequest(); // fetch tells nothing of how far it is
      x.open("PUT", `/upload/${encodeURIComponent(tag)}/${encodeURIComponent(file.name)}`);
      x.responseType = "json";
      if (file.type) x.setRequestHeader("Content-Type", file.type);
      x.upload.addEventListener("progress", (e) => loaded(e.loaded));
      x.addEventListener("load", () => x.status < 300 ? done(x.response)
        : refuse(new Problem({ code: "unexpected", ...x.response, status: x.status })));
      x.addEventListener("error", () => refuse(new Problem({ code: "unreachable" })));
      x.send(file);
    });
  }

  function draw() {
    work.hidden = total === 0;
    bar.value = bytesAll ? bytesDone / bytesAll : 0;
    line.textContent = running || queue.length ? t("tags.sending", { n: sent, of: total }) : t("tags.sent", { n: sent });
    replace(bad, failed.length > 0 && h("div", { class: "empty bad" },
      h("p", {}, t("tags.failed", { n: failed.length })),
      h("ul", {}, failed.slice(0, 5).map(({ file, err }) => h("li", {}, h("bdi", {}, file.name), ": ", problemText(err)))),
      button(t("common.again"), { kind: "quiet", icon: "retry", onClick: () => add(failed.splice(0).map((f) => f.file)) })));
  }
}
