// Brings files into a project: a place to drop them, and how it goes.
import { Uploader, dropped, ended, isImageName, retryable } from "../../uploadbroker.js";
import { stayWhile } from "../api.js";
import { bucketName } from "../bucket-name.js";
import { has, lang } from "../i18n.js";
import { button, bytes, confirmDialog, duration, h, icon, replace } from "../ui.js";
import { FileList, setText } from "./upload-list.js";

const soonSeconds = 5; // less than that is not worth a number

/**
 * Puts the uploader into an element.
 *
 * @param {HTMLElement} el
 * @param {{pid: string, t: Function, api: object, kind?: string, scopes?: string,
 *   list?: HTMLElement, onSignedIn?: Function}} ctx kind is the project's; it is asked for
 *   when it is not there. list takes the list of files, which else is in el. onSignedIn
 *   is called when a session that had ended is there again.
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
  const uploader = new Uploader({ server: "/page", project: pid, accept: kind === "files" ? null : isImageName });
  new View(el, ctx, uploader, near, kind);
  return { uploader, observe: (images) => uploader.observe(images) };
}

// The sheet comes with the view: pages without an uploader don't load it.
function style() {
  const href = "/static/app/upload.css";
  if (!document.querySelector(`link[href="${href}"]`)) document.head.append(h("link", { rel: "stylesheet", href }));
}

class View {
  #onlyBad = false;
  #open = null; // as the person wants it; null: while there is something to see
  #pending = false;
  #cancelled = false; // what is still being read of a folder is not wanted any more
  #reading = Promise.resolve();
  #signedOut = false;

  constructor(el, ctx, uploader, buckets, kind) {
    Object.assign(this, { el, ctx, uploader, buckets, kind, t: ctx.t });
    this.#build();
    this.#follow();
    addEventListener("beforeunload", (e) => { if (this.#unsent()) e.preventDefault(); });
    // To leave for the sign-in would throw away what is under way.
    stayWhile(() => this.#underWay(), () => { this.#signedOut = true; this.#draw(); });
    const back = () => { if (!document.hidden) this.#back(); };
    document.addEventListener("visibilitychange", back);
    addEventListener("focus", back);
    this.#takeDrops();
  }

  #follow() {
    const { uploader } = this;
    // Tests and the curious find it here; it knows no secret.
    this.el.uploader = uploader;
    const on = (name, act) => uploader.addEventListener(name, (e) => act(e.detail));
    on("progress", () => this.#draw());
    on("trouble", () => this.#draw());
    on("settled", () => { this.#draw(); this.#say(); });
    on("file", (file) => { if (this.#cancelled && file.state === "waiting") queueMicrotask(() => uploader.remove(file.id)); });
    this.#draw();
  }

  /** Starts with an empty list. */
  #begin() {
    this.uploader.clear();
    if (this.uploader.paused) this.uploader.resume(); // nothing is left that waits
    this.#open = null;
    this.#draw();
  }

  #unsent() {
    return this.uploader.totals.adding || this.uploader.files.some((f) => !ended.has(f.state) && f.state !== "uploaded");
  }

  #underWay() { return this.uploader.totals.adding || this.uploader.files.some((f) => !ended.has(f.state)); }

  // The person may have signed in, in another tab.
  async #back() {
    const { uploader } = this;
    const out = () => this.#signedOut || uploader.trouble?.code === "unauthenticated";
    if (!out() || !await this.ctx.api.get("/me").catch(() => null) || !out()) return; // once for both events
    this.#signedOut = false;
    if (uploader.trouble?.code === "unauthenticated") uploader.resume();
    this.ctx.onSignedIn?.();
    this.#draw();
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
        this.buckets.map((b, i) => h("option", { value: i ? b.symbol : "" }, i ? bucketName(b) : t("upload.nearest", { name: bucketName(b) })))));
    this.zone = h("div", { class: "upload-zone" },
      h("p", { class: "upload-call" }, icon("upload", 28), t(folders ? "upload.drop" : this.#fit("upload.choose"))),
      h("div", { class: "upload-choose" },
        folders && button(t("upload.folder"), { onClick: () => folder.click() }),
        button(t("upload.files"), { kind: folders ? "quiet" : "", onClick: () => files.click() }), bucket),
      this.buckets?.length === 0 && h("p", { class: "upload-not" }, t("problem.no_bucket")), files, folder);
    this.title = h("strong", { class: "upload-title" });
    this.facts = h("span", { class: "upload-facts" });
    this.bar = h("div", { class: "upload-bar", role: "progressbar", "aria-label": t("upload.progress"), "aria-valuemin": "0", "aria-valuemax": "100" },
      this.good = h("i", { class: "good" }), this.sent = h("i", { class: "sent" }));
    // To press it may bring the window to the front, and that may resume by itself meanwhile.
    let pressed = false;
    this.pause = button("", {
      kind: "quiet", onPointerdown: () => { pressed = this.uploader.paused; },
      onClick: (e) => ((e.detail ? pressed : this.uploader.paused) ? this.uploader.resume() : this.uploader.pause()),
    });
    this.retry = button("", { icon: "retry", onClick: () => { this.uploader.retryFailed(); this.#onlyBad = false; this.#draw(); } });
    this.cancel = button(t("upload.cancel"), { kind: "quiet", onClick: () => this.#cancelRest() });
    this.clear = button(t("upload.clear"), { kind: "quiet", onClick: () => { this.#begin(); this.#focus(); } });
    this.bad = h("input", { type: "checkbox", onChange: (e) => { this.#onlyBad = e.target.checked; this.list.el.scrollTop = 0; this.#draw(); } });
    this.badLabel = h("label", { class: "upload-filter" }, this.bad, h("span", {}, t("upload.only_failed")));
    this.fold = button("", { kind: "plain", onClick: () => { this.#open = this.list.el.hidden; this.#draw(); } });
    // In a tab of its own, or the files that were chosen would have to be chosen again.
    this.signIn = h("a", { href: "/sign-in?next=/", target: "_blank" }, t("common.sign_in"));
    this.trouble = h("p", { class: "upload-trouble", role: "alert" }, this.reason = h("span"), " ", this.signIn);
    this.status = h("p", { class: "off-screen", role: "status" });
    this.left = h("p", { class: "upload-left" });
    this.damaged = h("p", { class: "upload-damaged" }, this.damage = h("span"), " ",
      this.toDamaged = h("button", { type: "button", class: "link", onClick: () => showInvalid() }, t("upload.show_damaged")));
    this.list = new FileList({ onScroll: () => this.#draw(), why: (problem) => this.#why(problem), remove: (file) => this.#takeOff(file) });
    this.work = h("div", { class: "upload-work" },
      h("div", { class: "upload-head" }, h("div", { class: "upload-sums" }, this.title, this.facts),
        h("div", { class: "upload-buttons" }, this.retry, this.clear, this.cancel, this.pause)),
      this.bar, this.trouble, this.damaged, this.left,
      h("div", { class: "upload-tools" }, this.fold, this.badLabel), !this.ctx.list && this.list.el);
    this.ctx.list?.append(this.list.el);
    this.root = h("section", { class: "upload", "aria-label": t("upload.title") }, this.zone, this.work, this.status);
    replace(this.el, this.root);
  }

  // A drop anywhere on the page is meant: beside the zone the browser would leave the
  // page and show the photo.
  #takeDrops() {
    const files = (e) => Array.from(e.dataTransfer?.types ?? []).includes("Files");
    const asked = () => document.querySelector("dialog[open]"); // something else is to be answered first
    const mark = (on) => this.root.classList.toggle("dragging", on);
    // Both are to be taken: what lies below may change between the two.
    for (const name of ["dragenter", "dragover"]) {
      addEventListener(name, (e) => {
        if (!files(e)) return;
        e.preventDefault();
        e.dataTransfer.dropEffect = asked() ? "none" : "copy";
        mark(!asked());
      });
    }
    addEventListener("dragleave", (e) => { if (!e.relatedTarget) mark(false); });
    addEventListener("drop", (e) => {
      if (!files(e)) return;
      e.preventDefault();
      mark(false);
      if (!asked()) this.#add(dropped(e.dataTransfer));
    });
  }

  async #add(things) {
    if (this.#cancelled) await this.#reading; // of what is not wanted any more
    this.#cancelled = false;
    this.#open = null;
    const adding = this.uploader.add(things);
    this.#reading = Promise.all([this.#reading, adding]);
    this.#draw();
    await adding;
    if (this.#cancelled && !this.uploader.totals.adding) {
      this.#cancelled = false;
      if (!this.uploader.files.length) this.#begin();
    }
    this.#draw();
  }

  async #cancelRest() {
    const { t, uploader } = this;
    if (!await confirmDialog({ title: t("upload.cancel_title"), text: t("upload.cancel_text"), ok: t("upload.cancel_ok"), no: t("upload.cancel_no"), danger: true })) return;
    this.#cancelled = uploader.totals.adding;
    for (const file of [...uploader.files]) if (!ended.has(file.state)) uploader.remove(file.id);
    if (!uploader.files.length && !this.#cancelled) this.#begin();
    else if (uploader.paused) uploader.resume();
    this.#draw();
    this.#focus();
  }

  #takeOff(file) {
    this.uploader.remove(file.id);
    if (!this.uploader.files.length && !this.uploader.totals.adding) this.#begin();
    this.#draw();
  }

  // What the keyboard was on is gone.
  #focus() { this.zone.querySelector("button").focus(); }

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
    const { length } = uploader.files;
    const some = length > 0 || all.adding;
    this.root.classList.toggle("some", some);
    this.work.hidden = !some && !all.left;
    const failed = s.failed + s.invalid;
    const again = all.retryable;
    const over = !all.adding && s.ready + failed === all.files;
    const arrived = s.uploaded + s.ready + s.invalid;
    const reading = all.adding && !this.#cancelled;
    if (over) setText(this.title, this.#outcome(all));
    else setText(this.title, all.files ? t("upload.arrived", { n: arrived, all: all.files }) : t("upload.looking"));
    const facts = [all.bytes > 0 && (over ? bytes(all.bytes) : t("upload.bytes", { loaded: bytes(all.loaded), all: bytes(all.bytes) }))];
    if (reading && all.files > 0) facts.push(t("upload.looking"));
    if (!over && !all.paused && all.bytesPerSecond > 0 && s.uploading > 0) {
      facts.push(t("upload.speed", { rate: bytes(all.bytesPerSecond) }));
      if (all.secondsLeft < 360000 && all.loaded < all.bytes && !reading) {
        facts.push(all.secondsLeft < soonSeconds ? t("upload.soon") : t("upload.time_left", { time: duration(all.secondsLeft) }));
      }
    }
    if (!over && s.uploaded > 0) facts.push(t("upload.checking", { n: s.uploaded }));
    if (!over && failed > 0) facts.push(t("upload.failed", { n: failed }));
    setText(this.facts, facts.filter(Boolean).join(" · "));
    this.#drawBar(all, over && failed > 0);
    this.pause.hidden = over;
    this.cancel.hidden = !reading && arrived + s.failed === all.files; // what has arrived is not taken back
    this.clear.hidden = !over;
    this.#label(this.pause, all.paused ? "play" : "pause", t(all.paused ? "upload.resume" : "upload.pause"));
    this.retry.hidden = !again;
    this.retry.classList.toggle("quiet", !over);
    this.#label(this.retry, "retry", t("upload.retry", { n: again }));
    const { trouble } = all;
    this.trouble.hidden = !trouble && !this.#signedOut;
    if (trouble) setText(this.reason, t(all.paused ? "upload.stopped" : "upload.trying", { why: this.#why(trouble, "upload.trouble") }));
    else if (this.#signedOut) setText(this.reason, t("upload.trouble.unauthenticated"));
    this.signIn.hidden = !this.#signedOut && trouble?.code !== "unauthenticated";
    const damaged = s.invalid && uploader.files.reduce((n, f) => n + (f.state === "invalid" && !retryable(f)), 0);
    this.damaged.hidden = !damaged;
    setText(this.damage, t(this.#fit("upload.damaged"), { n: damaged }));
    this.toDamaged.hidden = !invalidChip();
    this.left.hidden = !all.left;
    setText(this.left, t(this.#fit("upload.left_out"), { n: all.left }));
    const open = this.#open ?? (!over || failed > 0); // the images below are worth more room
    this.badLabel.hidden = !failed || !open;
    if (!failed) this.bad.checked = this.#onlyBad = false;
    this.fold.hidden = length === 0;
    this.#label(this.fold, open ? "up" : "down", t(open ? "upload.hide" : "upload.show"));
    this.fold.setAttribute("aria-expanded", String(open));
    const list = this.list.el;
    if (!open && list.contains(document.activeElement)) this.fold.focus({ preventScroll: true });
    list.hidden = !open || length === 0;
    if (this.ctx.list) this.ctx.list.hidden = list.hidden;
    if (!list.hidden) this.list.draw(this.#onlyBad ? uploader.files.filter((f) => f.state === "failed" || f.state === "invalid") : uploader.files);
  }

  // By bytes, what is Ready as well as what was sent; by files where they have none.
  #drawBar(all, bad) {
    const { files } = this.uploader;
    const weight = all.bytes ? (f) => f.size : () => 1;
    const whole = all.bytes || all.files || 1;
    let good = 0, there = 0;
    for (const f of files) {
      if (f.state === "ready") good += weight(f);
      if (f.state === "ready" || f.state === "invalid" || f.state === "uploaded") there += weight(f);
    }
    const sent = all.bytes ? all.loaded : there;
    this.bar.setAttribute("aria-valuenow", String(Math.floor(100 * sent / whole)));
    this.sent.style.inlineSize = `${100 * sent / whole}%`;
    this.good.style.inlineSize = `${100 * good / whole}%`;
    this.bar.classList.toggle("bad", bad);
    this.bar.hidden = all.files === 0;
  }

  #outcome(all) {
    const { t } = this;
    const failed = all.states.failed + all.states.invalid;
    if (!all.files) return t(all.states.removed ? "upload.outcome_removed" : this.#fit("upload.nothing"));
    return failed ? t("upload.outcome_bad", { ready: all.states.ready, bad: failed }) : t("upload.outcome", { n: all.states.ready });
  }

  // Where any file is taken, no sentence speaks of photos.
  #fit(key) { return this.kind === "files" ? `${key}_any` : key; }

  // For those who hear the page: its end, not each step.
  #say() { setText(this.status, this.#outcome(this.uploader.totals)); }

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
}

// The gallery's filter of what is Invalid, on the same page.
const invalidChip = () => document.querySelector(".chips [data-state=Invalid]");

function showInvalid() {
  const chip = invalidChip();
  chip?.click();
  chip?.closest(".gallery-bar").scrollIntoView({ block: "start" });
  chip?.focus({ preventScroll: true });
}
