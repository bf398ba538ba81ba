// One image's place in the grid: its thumbnail or an icon, its name, a line about it,
// and where several may be picked, a box for that.
import { t } from "../i18n.js";
import { h, icon, bytes, dateTime, fileName, replace } from "../ui.js";
import { sizeOf, typeOf } from "./model.js";

/** The icon of a file that shows no picture of itself. */
export function iconOf(img) {
  const type = typeOf(img);
  const ext = extOf(img);
  if (type.startsWith("image/")) return "image";
  if (type.startsWith("video/") || /^(mp4|mov|avi|mkv|webm|m4v)$/.test(ext)) return "film";
  if (type.startsWith("audio/") || /^(mp3|wav|flac|ogg|m4a|aac|opus)$/.test(ext)) return "sound";
  if (/zip|tar|gzip|7z|rar|compressed/.test(type) || /^(zip|gz|tgz|7z|rar|zst|xz|bz2)$/.test(ext)) return "archive";
  if (/^(csv|tsv|xls|xlsx|ods)$/.test(ext)) return "table";
  if (/^(obj|glb|gltf|ply|las|laz|stl|fbx|3mf|osgb)$/.test(ext)) return "cube";
  if (type.startsWith("text/") || /^(pdf|json|xml|md|log|docx?)$/.test(ext)) return "text";
  return "file";
}

/** "DJI_0001.JPG" → "jpg"; "" where there is none. */
export const extOf = (img) => /\.([A-Za-z0-9]{1,8})$/.exec(img.name)?.[1].toLowerCase() ?? "";

/** "truncated: the scan ends…" → {code, text}. */
export function reason(said) {
  const [, code, text] = /^([a-z_]+)(?::\s*(.*))?$/s.exec(said) ?? [, "", said];
  return { code, text: text ?? "" };
}

/** One line about an image, below its name; narrow ones tell the day alone. */
export function metaOf(img, narrow = false) {
  if (img.state === "Invalid") {
    const words = (img.reasons ?? []).map((r) => t("reason." + reason(r).code));
    return words.join(", ") || t("state.Invalid");
  }
  const size = sizeOf(img);
  const taken = img.facts?.taken;
  const at = dateTime(taken ?? img.uploaded_at ?? img.created_at, { utc: Boolean(taken) && !img.facts.taken_zone, brief: true, day: narrow });
  return [size >= 0 && bytes(size), at].filter(Boolean).join(" · ");
}

/** A cell without an image. With picks it has a box. */
export function makeCell(picks) {
  const img = h("img", { alt: "", decoding: "async", draggable: "false" });
  img.addEventListener("load", () => img.classList.add("shown"));
  img.addEventListener("error", () => img.classList.remove("shown"));
  const shot = h("span", { class: "shot" });
  const name = h("span", { class: "name" });
  const meta = h("span", { class: "meta" });
  const button = h("button", { type: "button", class: "cell", tabindex: "-1" }, shot, h("span", { class: "words" }, name, meta));
  const box = picks && h("input", { type: "checkbox", tabindex: "-1" });
  const li = h("li", {}, button, box && h("label", { class: "pick" }, box));
  return { li, button, box, shot, img, name, meta, drawn: null, src: null, index: -1 };
}

/** Shows an image in a cell; thumb is the address of its thumbnail, or null. */
export function fillCell(cell, img, thumb, narrow) {
  cell.drawn = img;
  cell.button.dataset.state = img.state;
  cell.button.dataset.id = img.id;
  cell.button.title = img.name;
  cell.box?.setAttribute("aria-label", t("gallery.pick", { name: img.name }));
  replace(cell.name, fileName(img.name));
  cell.meta.textContent = metaOf(img, narrow);
  const src = img.state === "Ready" && img.facts?.thumbnail ? thumb : null;
  const ext = extOf(img);
  const mark = img.state !== "Ready" || img.accepted;
  replace(cell.shot,
    icon(img.state === "Invalid" ? "warning" : iconOf(img), 34),
    ext && !src && h("span", { class: "ext" }, ext.toUpperCase()),
    src && cell.img,
    mark && h("span", { class: "mark state", dataset: { state: img.accepted ? "Invalid" : img.state } },
      t(img.accepted ? "gallery.accepted" : "state." + img.state)));
  if (cell.src !== src) {
    cell.img.removeAttribute("src");
    cell.img.classList.remove("shown");
    cell.src = src;
  }
}

/** Takes the image out of a cell, which another will have. */
export function emptyCell(cell) {
  cell.img.removeAttribute("src");
  cell.img.classList.remove("shown");
  cell.drawn = cell.src = null;
}
