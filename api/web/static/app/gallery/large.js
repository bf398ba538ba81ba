// One image over the whole page, with what is known of it and what can be done.
import { t } from "../i18n.js";
import { h, icon, iconButton, button, bytes, count, dateTime, fileName, replace } from "../ui.js";
import { sizeOf, typeOf } from "./model.js";
import { iconOf, reason } from "./cell.js";

// What browsers show of themselves; anything else has its thumbnail. SVG is no
// picture here: it may hold programs.
const shown = new Set(["image/jpeg", "image/png", "image/webp", "image/gif", "image/avif"]);
const maxShownBytes = 40e6;
const swipePX = 50;

/** Whether its owner may keep a damaged image as it is. */
export const keepable = (img) => img.state === "Invalid" && img.reasons?.length > 0 && img.reasons.every((r) => /^(corrupt|truncated)\b/.test(r));

/**
 * Opens the image with an id. images is the model; source tells addresses and
 * acts: thumb, file, story, damaged (addresses or null), remove, restore, accept
 * (null: not here). onClose gets the id that was shown last.
 */
export function openLarge(images, source, id, onClose) {
  let index = images.list.findIndex((img) => img.id === id);
  let img = images.get(id);
  const title = h("h2", { id: "large-title" });
  const place = h("span", { class: "place" });
  const shot = h("div", { class: "large-shot" });
  const side = h("aside", { class: "large-side", "aria-label": t("gallery.about") });
  const prev = iconButton("left", t("gallery.previous"), () => turn(-1), { class: "turn prev" });
  const next = iconButton("right", t("gallery.next"), () => turn(1), { class: "turn next" });
  const el = h("dialog", { class: "large", "aria-labelledby": "large-title" },
    h("div", { class: "large-head" }, title, place, iconButton("close", t("common.close"), () => el.close(), { autofocus: true })),
    shot, side);

  function turn(step) {
    const to = images.list[index + step];
    if (!to) return;
    img = to;
    index += step;
    draw();
  }

  // The list may change under it: the image stays, or its neighbour takes its place.
  function follow() {
    const at = images.list.findIndex((i) => i.id === img.id);
    if (at >= 0) index = at;
    else if (!images.list.length) return el.close();
    else index = Math.min(index, images.list.length - 1);
    const now = images.list[index];
    if (now === img) return lines();
    const other = now.id !== img.id || now.etag !== img.etag || now.state !== img.state;
    img = now;
    if (other) draw();
    else lines();
  }

  function lines() {
    replace(title, fileName(img.name));
    title.title = img.name;
    place.textContent = t("gallery.place", { at: index + 1, n: images.list.length });
    prev.disabled = index <= 0;
    next.disabled = index >= images.list.length - 1;
  }

  function draw() {
    lines();
    picture();
    replace(side, about(img), actions(), facts(img));
    side.scrollTop = 0;
  }

  function picture() {
    const ready = img.state === "Ready";
    const thumb = ready && img.facts?.thumbnail ? source.thumb(img) : null;
    const whole = shown.has(typeOf(img)) && sizeOf(img) <= maxShownBytes ? fileOf(img) : null;
    const of = img;
    const layers = [];
    if (thumb) layers.push(h("img", { src: thumb, alt: "", draggable: "false" }));
    const blank = h("div", { class: "blank" }, icon(img.state === "Invalid" ? "warning" : iconOf(img), 64),
      h("span", {}, img.state === "Ready" ? t("gallery.no_picture") : t("state." + img.state)));
    if (!thumb && !(whole && ready)) layers.push(blank);
    replace(shot, layers, prev, next);
    if (!whole) return;
    const large = h("img", { alt: img.name, draggable: "false" });
    const still = () => img.id === of.id && img.state === of.state && el.isConnected;
    large.src = whole;
    // Of a damaged one a browser shows what it can, and decode() says no.
    const there = ready ? large.decode() : new Promise((done, failed) => { large.onload = done; large.onerror = failed; });
    there.then(() => {
      if (!still()) return;
      shot.querySelectorAll("img, .blank").forEach((i) => i.remove());
      shot.prepend(large);
    }, () => { if (still() && ready && !thumb) shot.prepend(blank); });
  }

  // What is Invalid is its owner's to look at, before he keeps or deletes it.
  function fileOf(img) {
    if (img.state === "Ready") return source.file(img);
    return img.state === "Invalid" && img.etag && sizeOf(img) !== 0 ? source.damaged?.(img) ?? null : null;
  }

  function actions() {
    const file = fileOf(img);
    const download = file && h("a", {
      class: img.state === "Ready" ? "button" : "button plain", href: file, download: img.name.slice(img.name.lastIndexOf("/") + 1),
    }, icon("download"), t("gallery.download"));
    return h("div", { class: "large-actions" },
      img.state === "Ready" && download,
      keepable(img) && source.accept && button(t("gallery.accept"), { kind: "quiet", icon: "check", onClick: () => source.accept(img) }),
      img.state === "Removed" && source.restore && button(t("gallery.restore"), { icon: "undo", onClick: () => source.restore(img) }),
      img.state !== "Removed" && source.remove && button(t("gallery.delete"), { kind: "quiet danger", icon: "trash", onClick: () => source.remove(img) }),
      img.state !== "Ready" && download,
      source.story && h("a", { class: "button plain", href: source.story(img) }, icon("story"), t("gallery.story")));
  }

  el.addEventListener("keydown", (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey) return;
    if (e.key === "ArrowLeft") turn(-1);
    else if (e.key === "ArrowRight") turn(1);
    else if (e.key === "Delete" && source.remove && img.state !== "Removed") source.remove(img);
    else return;
    e.preventDefault();
  });
  let from = null;
  shot.addEventListener("pointerdown", (e) => { from = e.isPrimary && e.pointerType === "touch" ? e : null; });
  shot.addEventListener("pointercancel", () => { from = null; });
  shot.addEventListener("pointerup", (e) => {
    const dx = from ? e.clientX - from.clientX : 0;
    if (Math.abs(dx) > swipePX && Math.abs(dx) > 2 * Math.abs(e.clientY - from.clientY)) turn(dx < 0 ? 1 : -1);
    from = null;
  });
  images.addEventListener("list", follow);
  images.addEventListener("images", follow);
  el.addEventListener("close", () => {
    images.removeEventListener("list", follow);
    images.removeEventListener("images", follow);
    document.documentElement.style.overflow = "";
    // Messages that were shown on it go on below.
    const shelf = el.querySelector(".toasts");
    if (shelf) document.body.append(shelf);
    el.remove();
    onClose(img.id);
  });
  document.body.append(el);
  document.documentElement.style.overflow = "hidden";
  draw();
  el.showModal();
  return el;
}

/** State and reasons. */
function about(img) {
  return h("div", {},
    h("span", { class: "state", dataset: { state: img.state } }, t("state." + img.state)),
    img.accepted && h("p", { class: "sub" }, t("gallery.accepted_why")),
    img.state === "Removed" && img.undo_until && h("p", { class: "sub" }, t("gallery.undo_until", { at: dateTime(img.undo_until) })),
    img.reasons?.length > 0 && h("ul", { class: "reasons" }, img.reasons.map((r) => {
      const { code, text } = reason(r);
      return h("li", {}, h("b", {}, t("reason." + code)), text && ": ", text && h("span", { lang: "en" }, text));
    })));
}

/** What is known of it, as terms and values. */
function facts(img) {
  const f = img.facts ?? {};
  const metres = (v) => `${count(Math.round(v * 10) / 10)} m`;
  const size = sizeOf(img);
  const rows = [
    ["folder", img.name.includes("/") && img.name.slice(0, img.name.lastIndexOf("/"))],
    ["size", size >= 0 && `${bytes(size)} (${t("gallery.bytes", { n: size })})`],
    ["pixels", f.width && `${count(f.width)} × ${count(f.height)} (${Math.round(f.width * f.height / 1e5) / 10} MP)`],
    ["taken", f.taken && dateTime(f.taken, { utc: !f.taken_zone, seconds: true })],
    ["camera", [f.make, f.model].filter(Boolean).join(" ")],
    ["lens", [f.lens, f.focal_mm && `${count(f.focal_mm)} mm`].filter(Boolean).join(", ")],
    ["position", f.gps && `${f.gps.lat.toFixed(6)}, ${f.gps.lon.toFixed(6)}`],
    ["altitude", [f.gps?.alt !== undefined && metres(f.gps.alt), f.relative_alt_m !== undefined && t("gallery.above_start", { m: metres(f.relative_alt_m) })].filter(Boolean).join(", ")],
    ["gimbal", f.gimbal && t("gallery.gimbal_value", { pitch: f.gimbal.pitch, yaw: f.gimbal.yaw, roll: f.gimbal.roll })],
    ["type", [typeOf(img), f.declared && t("gallery.declared", { type: f.declared })].filter(Boolean).join(", ")],
    ["proof", f.proof && t("gallery.proof_" + f.proof)],
    ["notes", f.notes?.length > 0 && h("span", { lang: "en" }, f.notes.join("; "))],
    ["trailing", f.trailing_bytes > 0 && bytes(f.trailing_bytes)],
    ["bucket", img.bucket],
    ["attempt", img.attempt > 1 && count(img.attempt)],
    ["added", dateTime(img.created_at, { seconds: true })],
    ["arrived", img.uploaded_at && dateTime(img.uploaded_at, { seconds: true })],
    ["judged", img.judged_at && dateTime(img.judged_at, { seconds: true })],
    ["sha1", img.proven_sha1 || img.sha1, "mono"],
    ["id", img.id, "mono"],
  ];
  return h("dl", { class: "facts" }, rows.filter(([, v]) => v)
    .map(([name, v, kind]) => [h("dt", {}, t("gallery.fact_" + name)), h("dd", { class: kind }, v)]));
}
