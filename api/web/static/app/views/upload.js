// Brings files into a project: a place to drop them, and how it goes.
import { Uploader, dropped, ended, isImageName } from "../../uploadbroker.js";
import { has, lang } from "../i18n.js";
import { button, bytes, count, duration, fileName, h, icon, replace, toast } from "../ui.js";

const rowHeight = 46; // pixels, as upload.css has it
const spareRows = 6; // beyond what is seen

/**
 * Puts the uploader into an element.
 *
 * @param {HTMLElement} el
 * @param {{pid: string, t: Function, api: object, kind?: string, scopes?: string}} ctx kind
 *   is the project's; it is asked for when it is not there
 * @returns {Promise<{uploader: Uploader|null, observe: (images: object[]) => void}>}
 *   observe takes images that changed, as /page/events tells them; there is no uploader
 *   for a session whose key may not upload
 */
export async function mountUpload(el, ctx) {
  const { t, api, pid } = ctx;
  style();
  if (ctx.scopes && !ctx.scopes.split(/[\s,]+/).includes("upload")) {
    replace(el, h("p", { class: "upload-not" }, t("upload.no_scope")));
    return { uploader: null, observe() {} };
  }
  const [kind, near] = await Promise.all([
    ctx.kind ?? api.get(`/projects/${pid}`).then((p) => p.kind),
    api.get("/buckets/nearest").then((r) => r.buckets, () => null),
  ]);
  const uploader = new Uploader({ server: "/page", project: pid, accept: kind === "files" ? () => true : isImageName });
  const view = new View(el, t, uploader, near, kind);
  view.show();
  // Tests and the curious find it here; it knows no secret.
  el.uploader = uploader;
  return { uploader, observe: (images) => uploader.observe(images) };
}

// The sheet comes with the view: pages without an uploader don't load it.
function style() {
  const href = "/static/app/upload.css";
  if (!document.querySelector(`link[href="${href}"]`)) document.head.append(h("link", { rel: "stylesheet", href }));
}

class View {
  #onlyBad = false;
  #open = true;
  #drawn = new Map(); // row elements by file
  #pending = false;
  #settledOnce = false;

  constructor(el, t, uploader, buckets, kind) {
    Object.assign(this, { el, t, uploader, buckets, kind });
    this.#build();
    uploader.addEventListener("progress", () => this.#draw());
    uploader.addEventListener("trouble", () => this.#draw());
    uploader.addEventListener("settled", () => { this.#settledOnce = true; this.#draw(); this.#say(); });
    addEventListener("beforeunload", (e) => { if (this.#underWay()) e.preventDefault(); });
    this.#takeDrops();
  }

  show() { this.#draw(); }

  #underWay() {
    return this.uploader.files.some((f) => !ended.has(f.state) && f.state !== "uploaded");
  }

  #build() {
    const { t } = this;
    const files = h("input", { type: "file", multiple: true, class: "off-screen", tabindex: "-1", "aria-hidden": "true", dataset: { choose: "files" } });
    const folder = h("input", { type: "file", multiple: true, webkitdirectory: true, class: "off-screen", tabindex: "-1", "aria-hidden": "true", dataset: { choose: "folder" } });
    for (const input of [files, folder]) {
      input.addEventListener("change", () => {
        this.#add(Array.from(input.files));
        input.value = ""; // the same again is a choice, too
      });
    }
    const folders = "webkitdirectory" in folder && !/Android|iPhone|iPad/.test(navigator.userAgent);
    const bucket = this.buckets?.length > 1 && h("label", { class: "upload-bucket" }, h("span", {}, t("upload.bucket")),
      h("select", { onChange: (e) => { this.uploader.bucket = e.target.value; } },
        this.buckets.map((b, i) => h("option", { value: i ? b.symbol : "" }, i ? b.display : t("upload.nearest", { name: b.display })))));
    this.zone = h("div", { class: "upload-zone" },
      h("p", { class: "upload-call" }, icon("upload", 28), t(folders ? "upload.drop" : this.kind === "files" ? "upload.choose_any" : "upload.choose")),
      h("div", { class: "upload-choose" },
        folders && button(t("upload.folder"), { onClick: () => folder.click() }),
        button(t("upload.files"), { kind: folders ? "quiet" : "", onClick: () => files.click() }), bucket),
      this.buckets?.length === 0 && h("p", { class: "upload-not" }, t("problem.no_bucket")), files, folder);
    this.title = h("strong", { class: "upload-title" });
    this.facts = h("span", { class: "upload-facts" });
    this.bar = h("div", { class: "upload-bar", role: "progressbar", "aria-label": t("upload.progress"), "aria-valuemin": "0", "aria-valuemax": "100" },
      this.good = h("i", { class: "good" }), this.sent = h("i", { class: "sent" }));
    this.pause = button("", { kind: "quiet", onClick: () => (this.uploader.paused ? this.uploader.resume() : this.uploader.pause()) });
    this.retry = button("", { icon: "retry", onClick: () => { this.uploader.retryFailed(); this.#onlyBad = false; this.#draw(); } });
    this.bad = h("input", { type: "checkbox", onChange: (e) => { this.#onlyBad = e.target.checked; this.list.scrollTop = 0; this.#draw(); } });
    this.badLabel = h("label", { class: "upload-filter" }, this.bad, h("span", {}, t("upload.only_failed")));
    this.fold = button("", { kind: "plain", onClick: () => { this.#open = !this.#open; this.#draw(); } });
    // In a tab of its own, or the files that were chosen would have to be chosen again.
    this.signIn = h("a", { href: "/sign-in?next=/", target: "_blank" }, t("common.sign_in"));
    this.trouble = h("p", { class: "upload-trouble", role: "alert" }, this.reason = h("span"), " ", this.signIn);
    this.status = h("p", { class: "off-screen", role: "status" });
    this.left = h("p", { class: "upload-left" });
    this.sizer = h("div", { class: "upload-sizer", role: "list" });
    this.list = h("div", { class: "upload-list", tabindex: "0", role: "group", "aria-label": t("upload.list"), onScroll: () => this.#draw() }, this.sizer);
    this.work = h("div", { class: "upload-work" },
      h("div", { class: "upload-head" }, h("div", { class: "upload-sums" }, this.title, this.facts), h("div", { class: "upload-buttons" }, this.retry, this.pause)),
      this.bar, this.trouble, this.left,
      h("div", { class: "upload-tools" }, this.fold, this.badLabel), this.list);
    this.root = h("section", { class: "upload", "aria-label": t("upload.title") }, this.zone, this.work, this.status);
    replace(this.el, this.root);
  }

  // A drop anywhere on the page is meant: beside the zone the browser would leave the
  // page and show the photo.
  #takeDrops() {
    let inside = 0;
    const files = (e) => Array.from(e.dataTransfer?.types ?? []).includes("Files");
    const mark = () => this.root.classList.toggle("dragging", inside > 0);
    addEventListener("dragenter", (e) => { if (files(e)) { inside++; mark(); } });
    addEventListener("dragleave", (e) => { if (files(e)) { inside = Math.max(0, inside - 1); mark(); } });
    addEventListener("dragover", (e) => { if (files(e)) { e.preventDefault(); e.dataTransfer.dropEffect = "copy"; } });
    addEventListener("drop", (e) => {
      if (!files(e)) return;
      e.preventDefault();
      inside = 0;
      mark();
      this.#add(dropped(e.dataTransfer));
    });
  }

  async #add(things) {
    try {
      await this.uploader.add(things);
    } catch (err) {
      toast(this.t("upload.unreadable", { detail: err.message }), { bad: true }); // a folder that can't be listed
    }
    this.#draw();
  }

  // However often something changes, the page draws once a frame.
  #draw() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { t, uploader } = this;
    const all = uploader.totals;
    const s = all.states;
    const some = all.files > 0 || all.adding;
    this.root.classList.toggle("some", some);
    this.work.hidden = !some && !all.left;
    const failed = s.failed + s.invalid;
    const over = s.ready + failed === all.files;
    const arrived = s.uploaded + s.ready + s.invalid;
    this.#text(this.title, over ? this.#outcome(all) : t("upload.arrived", { n: arrived, all: all.files }));
    const facts = [all.bytes > 0 && (over ? bytes(all.bytes) : t("upload.bytes", { loaded: bytes(all.loaded), all: bytes(all.bytes) }))];
    if (!over && !all.paused && all.bytesPerSecond > 0 && s.uploading > 0) {
      facts.push(t("upload.speed", { rate: bytes(all.bytesPerSecond) }));
      if (all.secondsLeft < 360000 && all.loaded < all.bytes) facts.push(t("upload.time_left", { time: duration(all.secondsLeft) }));
    }
    if (!over && s.uploaded > 0) facts.push(t("upload.checking", { n: s.uploaded }));
    if (!over && failed > 0) facts.push(t("upload.failed", { n: failed }));
    this.#text(this.facts, facts.filter(Boolean).join(" · "));
    const share = (n) => (all.bytes ? n / all.bytes : all.files ? arrived / all.files : 0);
    const percent = Math.floor(100 * share(all.loaded));
    this.bar.setAttribute("aria-valuenow", String(percent));
    this.sent.style.inlineSize = `${100 * share(all.loaded)}%`;
    this.good.style.inlineSize = `${all.files ? 100 * (s.ready / all.files) : 0}%`;
    this.bar.classList.toggle("bad", over && failed > 0);
    this.bar.hidden = all.files === 0;
    this.pause.hidden = over;
    this.#label(this.pause, all.paused ? "play" : "pause", t(all.paused ? "upload.resume" : "upload.pause"));
    this.retry.hidden = !failed || (!over && !all.paused);
    this.#label(this.retry, "retry", t("upload.retry", { n: failed }));
    this.trouble.hidden = !all.trouble;
    if (all.trouble) this.#text(this.reason, t(all.paused ? "upload.stopped" : "upload.trying", { why: this.#why(all.trouble, "upload.trouble") }));
    this.signIn.hidden = all.trouble?.code !== "unauthenticated";
    this.left.hidden = !all.left;
    this.#text(this.left, t("upload.left_out", { n: all.left }));
    this.badLabel.hidden = !failed || !this.#open;
    if (!failed) this.bad.checked = this.#onlyBad = false;
    this.fold.hidden = all.files === 0;
    this.#label(this.fold, this.#open ? "up" : "down", t(this.#open ? "upload.hide" : "upload.show"));
    this.fold.setAttribute("aria-expanded", String(this.#open));
    this.list.hidden = !this.#open || all.files === 0;
    if (!this.list.hidden) this.#rows(this.#onlyBad ? uploader.files.filter((f) => f.state === "failed" || f.state === "invalid") : uploader.files);
  }

  #outcome(all) {
    const { t } = this;
    const failed = all.states.failed + all.states.invalid;
    if (!all.files) return t("upload.nothing");
    return failed ? t("upload.outcome_bad", { ready: all.states.ready, bad: failed }) : t("upload.outcome", { n: all.states.ready });
  }

  // For those who hear the page: its end, not each step.
  #say() { this.#text(this.status, this.#outcome(this.uploader.totals)); }

  #text(el, text) { if (el.textContent !== text) el.textContent = text; }

  #label(el, drawing, text) {
    if (el.dataset.label === text) return;
    el.dataset.label = text;
    replace(el, icon(drawing), h("span", {}, text));
  }

  // In words of ours where there are some; a verdict's figures are told in English only.
  #why({ code, detail, reasons }, ...first) {
    if (reasons) return lang === "en" || !has(`reason.${code}`) ? detail : this.t(`reason.${code}`);
    const own = [...first, "upload.problem", "problem"].find((prefix) => has(`${prefix}.${code}`));
    if (own) return this.t(`${own}.${code}`, { detail });
    // A bucket's codes are written otherwise than the broker's.
    return /^[A-Z]|^bucket_refuses$/.test(code) ? this.t("upload.problem.bucket", { detail }) : detail;
  }

  // Only the rows that are seen are elements.
  #rows(files) {
    this.sizer.style.blockSize = `${files.length * rowHeight}px`;
    const first = Math.max(0, Math.floor(this.list.scrollTop / rowHeight) - spareRows);
    const last = Math.min(files.length, Math.ceil((this.list.scrollTop + (this.list.clientHeight || 400)) / rowHeight) + spareRows);
    const seen = new Set(files.slice(first, last));
    for (const [file, row] of this.#drawn) {
      if (!seen.has(file)) {
        row.el.remove();
        this.#drawn.delete(file);
      }
    }
    let i = first;
    for (const file of seen) {
      let row = this.#drawn.get(file);
      if (!row) {
        this.#drawn.set(file, row = this.#row(file));
        this.sizer.append(row.el);
      }
      this.#update(row, file, i, files.length);
      i++;
    }
  }

  #row(file) {
    const row = { state: "" };
    row.el = h("div", { class: "upload-row", role: "listitem" },
      row.mark = h("span", { class: "upload-mark" }),
      h("span", { class: "upload-name", title: file.name }, fileName(file.name)),
      row.size = h("span", { class: "upload-size" }, bytes(file.size)),
      row.note = h("span", { class: "upload-note" }),
      row.bar = h("i", { class: "upload-part" }));
    return row;
  }

  #update(row, file, i, all) {
    const { t } = this;
    row.el.style.transform = `translateY(${i * rowHeight}px)`;
    row.el.setAttribute("aria-posinset", String(i + 1));
    row.el.setAttribute("aria-setsize", String(all));
    if (row.state !== file.state) {
      row.state = file.state;
      row.el.dataset.state = file.state;
      const drawings = { ready: "check", invalid: "warning", failed: "warning", uploading: "up", uploaded: "clock" };
      replace(row.mark, drawings[file.state] && icon(drawings[file.state], 18));
    }
    const moving = file.state === "uploading";
    let note = t(`upload.state.${file.state}`);
    if (moving && file.loaded > 0) note = `${Math.floor(100 * file.loaded / Math.max(1, file.size))} %`;
    if (file.problem) note = this.#why(file.problem) || note;
    this.#text(row.note, note);
    row.note.title = file.problem ? note : "";
    row.bar.style.transform = `scaleX(${moving && file.size ? file.loaded / file.size : 0})`;
  }
}
