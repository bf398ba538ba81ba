// A grid of any number of images, of which only those in sight exist on the page.
import { t } from "../i18n.js";
import { h, icon, bytes, dateTime, replace } from "../ui.js";
import { sizeOf, typeOf } from "./model.js";

const gapPX = 12;
const beyondPX = 600;  // made before they are in sight
const settleMS = 90;   // thumbnails wait for the end of a fast scroll

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

/** One line about an image, below its name. */
export function metaOf(img) {
  if (img.state === "Invalid") {
    const words = (img.reasons ?? []).map((r) => t("reason." + reason(r).code));
    return words.join(", ") || t("state.Invalid");
  }
  const size = sizeOf(img);
  const taken = img.facts?.taken;
  return [size >= 0 && bytes(size), taken ? dateTime(taken, { utc: !img.facts.taken_zone, brief: true }) : dateTime(img.uploaded_at ?? img.created_at, { brief: true })]
    .filter(Boolean).join(" · ");
}

export class Grid {
  #list = [];
  #cells = new Map(); // id → cell
  #pool = [];
  #frame = 0;
  #at = 0; // the index that the keyboard is at
  #columns = 1;
  #lastTop = 0;
  #timer = 0;
  #observer;

  /** thumb(img) is the address of its thumbnail, or null. onOpen(index, img) is called for a pressed one. */
  constructor({ label, thumb, onOpen }) {
    this.thumb = thumb;
    this.onOpen = onOpen;
    this.el = h("ul", { class: "grid", "aria-label": label, onKeydown: (e) => this.#key(e), onClick: (e) => this.#press(e) });
    this.#observer = new ResizeObserver(() => this.draw());
    this.#observer.observe(this.el);
    this.onScroll = () => this.draw();
    addEventListener("scroll", this.onScroll, { passive: true });
    addEventListener("resize", this.onScroll);
  }

  close() {
    this.#observer.disconnect();
    removeEventListener("scroll", this.onScroll);
    removeEventListener("resize", this.onScroll);
  }

  /** Shows another list; images in changed are drawn anew. */
  show(list, changed = new Set()) {
    const id = this.#list[this.#at]?.id;
    this.#list = list;
    if (id !== list[this.#at]?.id) this.#at = Math.max(0, id ? list.findIndex((img) => img.id === id) : 0);
    this.refresh(changed);
    this.draw();
  }

  /** Draws images anew that changed. */
  refresh(ids, get = null) {
    for (const id of ids) {
      const cell = this.#cells.get(id);
      if (!cell) continue;
      const now = get?.(id);
      if (now) this.#list[cell.index] = now;
      cell.drawn = null;
    }
    this.draw();
  }

  /** Brings an image into sight and gives it the keyboard. */
  focus(index) {
    this.#at = Math.max(0, Math.min(index, this.#list.length - 1));
    const { rowPX } = this.#measure();
    const top = this.el.getBoundingClientRect().top + scrollY + Math.floor(this.#at / this.#columns) * rowPX;
    const bar = document.querySelector(".gallery-bar");
    const covered = bar && getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
    if (top < scrollY + covered) scrollTo({ top: top - covered - gapPX });
    else if (top + rowPX > scrollY + innerHeight) scrollTo({ top: top + rowPX - innerHeight });
    this.#render();
    this.#cells.get(this.#list[this.#at]?.id)?.button.focus({ preventScroll: true });
  }

  /** Draws what is in sight, once in a frame. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => this.#render());
  }

  #measure() {
    const width = this.el.clientWidth || 1;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    const least = width < 36 * rem ? 8.5 * rem : 12.5 * rem;
    const columns = Math.max(1, Math.floor((width + gapPX) / (least + gapPX)));
    const cellPX = (width - gapPX * (columns - 1)) / columns;
    const heightPX = Math.round(cellPX * 0.7 + 3.65 * rem);
    return { columns, cellPX, heightPX, rowPX: heightPX + gapPX };
  }

  #render() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const m = this.#measure();
    this.#columns = m.columns;
    const rows = Math.ceil(this.#list.length / m.columns);
    const height = `${Math.max(0, rows * m.rowPX - gapPX)}px`;
    if (this.el.style.height !== height) this.el.style.height = height;
    const top = -this.el.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor((top - beyondPX) / m.rowPX)) * m.columns;
    const last = Math.min(this.#list.length, Math.ceil((top + innerHeight + beyondPX) / m.rowPX) * m.columns);

    const wanted = [];
    for (let i = first; i < last; i++) wanted.push(i);
    // Who has the keyboard stays on the page.
    const held = this.el.contains(document.activeElement);
    if (held && this.#at < this.#list.length && (this.#at < first || this.#at >= last)) wanted.push(this.#at);
    const keep = new Set(wanted.map((i) => this.#list[i].id));
    for (const [id, cell] of this.#cells) {
      if (keep.has(id)) continue;
      this.#cells.delete(id);
      cell.img.removeAttribute("src");
      cell.img.classList.remove("shown");
      cell.drawn = cell.src = null;
      this.#pool.push(cell);
    }
    let before = null;
    for (const i of wanted) {
      const img = this.#list[i];
      let cell = this.#cells.get(img.id);
      if (!cell) {
        cell = this.#pool.pop() ?? this.#make();
        this.#cells.set(img.id, cell);
      }
      cell.index = i;
      this.#place(cell, i, m);
      if (cell.drawn !== img) this.#fill(cell, img);
      cell.button.tabIndex = i === this.#at ? 0 : -1;
      // In the order of the list, for those who hear the page.
      const next = before ? before.nextSibling : this.el.firstChild;
      if (next !== cell.li) {
        const focused = cell.li.contains(document.activeElement);
        this.el.insertBefore(cell.li, next);
        if (focused) cell.button.focus({ preventScroll: true });
      }
      before = cell.li;
    }
    for (const cell of this.#pool) cell.li.remove();
    if (this.#pool.length > 60) this.#pool.length = 60;

    const fast = Math.abs(top - this.#lastTop) > innerHeight / 2;
    this.#lastTop = top;
    clearTimeout(this.#timer);
    if (fast) this.#timer = setTimeout(() => this.#load(), settleMS);
    else this.#load();
  }

  #make() {
    const img = h("img", { alt: "", decoding: "async", draggable: "false" });
    img.addEventListener("load", () => img.classList.add("shown"));
    img.addEventListener("error", () => img.classList.remove("shown"));
    const shot = h("span", { class: "shot" });
    const name = h("span", { class: "name", dir: "auto" });
    const meta = h("span", { class: "meta" });
    const button = h("button", { type: "button", class: "cell", tabindex: "-1" }, shot, h("span", { class: "words" }, name, meta));
    return { li: h("li", {}, button), button, shot, img, name, meta, drawn: null, src: null, index: -1 };
  }

  #place(cell, i, m) {
    const x = (i % m.columns) * (m.cellPX + gapPX);
    const y = Math.floor(i / m.columns) * m.rowPX;
    const s = cell.li.style;
    const at = `translate(${x}px, ${y}px)`;
    if (cell.at === at && cell.wide === m.cellPX) return;
    cell.at = at;
    cell.wide = m.cellPX;
    s.transform = at;
    s.width = `${m.cellPX}px`;
    s.height = `${m.heightPX}px`;
  }

  #fill(cell, img) {
    cell.drawn = img;
    cell.li.setAttribute("aria-setsize", this.#list.length);
    cell.li.setAttribute("aria-posinset", cell.index + 1);
    cell.button.dataset.state = img.state;
    cell.button.dataset.id = img.id;
    cell.button.title = img.name;
    const file = img.name.slice(img.name.lastIndexOf("/") + 1);
    cell.name.textContent = file;
    cell.meta.textContent = metaOf(img);
    const src = img.state === "Ready" && img.facts?.thumbnail ? this.thumb(img) : null;
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

  #load() {
    for (const cell of this.#cells.values()) {
      if (cell.src && !cell.img.hasAttribute("src")) cell.img.src = cell.src;
    }
  }

  #press(e) {
    const id = e.target.closest(".cell")?.dataset.id;
    const cell = id && this.#cells.get(id);
    if (!cell) return;
    this.#at = cell.index;
    this.draw();
    this.onOpen(cell.index, this.#list[cell.index]);
  }

  #key(e) {
    if (e.altKey || e.ctrlKey || e.metaKey || !e.target.closest(".cell")) return;
    const page = Math.max(1, Math.floor(innerHeight / this.#measure().rowPX) - 1) * this.#columns;
    const step = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#columns, ArrowUp: -this.#columns,
      PageDown: page, PageUp: -page, Home: -this.#list.length, End: this.#list.length,
    }[e.key];
    if (step === undefined) return;
    e.preventDefault();
    this.focus(this.#at + step);
  }
}
