// The images of a project or a tag, filtered and sorted: what the grid, the plot
// and the large view show. It makes nothing on the page.
import { lang } from "../i18n.js";

const collator = new Intl.Collator(lang, { numeric: true });
const open = new Set(["Pending", "Uploading", "Uploaded"]);

/** Which images each filter lets through. */
export const filters = {
  all: (img) => img.state !== "Removed",
  Ready: (img) => img.state === "Ready",
  open: (img) => open.has(img.state),
  Invalid: (img) => img.state === "Invalid",
  Removed: (img) => img.state === "Removed",
};

/** Bytes that there are, or were declared; -1 where nobody said. */
export const sizeOf = (img) => img.proven_size ?? img.size ?? -1;

/** The true type where it is known, else the declared one. */
export const typeOf = (img) => img.facts?.type ?? img.type ?? "";

const moment = (text) => text ? Date.parse(text) : 0;
const byID = (a, b) => a.id < b.id ? -1 : a.id > b.id ? 1 : 0;

/** What the images are sorted by: each gives what is compared, once for each image. */
export const orders = {
  name: (img) => img.name,
  taken: (img) => moment(img.facts?.taken),
  added: (img) => img.id,
  size: sizeOf,
};

// Changes that come together are shown together.
const gatherMS = 200;

/**
 * Fires "list" when list is another one or in another order, "images" (detail: a
 * set of ids) when only images in it changed, and "counts".
 */
export class Images extends EventTarget {
  #all = new Map();
  #sorted = null; // of #all; null: to be made
  #timer = 0;
  #changed = new Set();
  #stale = false;

  list = [];
  counts = { all: 0, Ready: 0, open: 0, Invalid: 0, Removed: 0 };
  readyBytes = 0;
  located = 0; // in list, with a position
  filter = "all";
  text = "";
  order = "name";
  down = false;

  get size() { return this.#all.size; }
  get = (id) => this.#all.get(id);
  values = () => this.#all.values();

  /** Takes images in, new ones or as they are now. */
  put(images, { soon = false } = {}) {
    for (let img of images) {
      const old = this.#all.get(img.id);
      if (!("name" in img)) { // all that others than the owner are told of what was removed
        if (!old) continue;
        img = { ...old, ...img };
      }
      this.#all.set(img.id, img);
      if (!old || orders[this.order](old) !== orders[this.order](img)) this.#sorted = null;
      if (!old || filters[this.filter](old) !== filters[this.filter](img) || old.name !== img.name) this.#stale = true;
      this.#count(old, -1);
      this.#count(img, 1);
      this.#changed.add(img.id);
    }
    if (soon) this.#flush();
    else this.#timer ||= setTimeout(() => this.#flush(), gatherMS);
  }

  /** Forgets those that are not removed and that a set of ids has not. */
  keepOnly(ids) {
    for (const [id, img] of this.#all) {
      if (ids.has(id) || img.state === "Removed") continue;
      this.#all.delete(id);
      this.#count(img, -1);
      this.#sorted = null;
    }
    this.#flush();
  }

  /** Filters and sorts otherwise. */
  show({ filter = this.filter, text = this.text, order = this.order, down = this.down }) {
    if (order !== this.order || down !== this.down) this.#sorted = null;
    Object.assign(this, { filter, text, order, down });
    this.#stale = true;
    this.#flush();
  }

  #count(img, n) {
    if (!img) return;
    for (const name in filters) if (filters[name](img)) this.counts[name] += n;
    if (img.state === "Ready") this.readyBytes += n * Math.max(0, sizeOf(img));
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const changed = this.#changed;
    this.#changed = new Set();
    this.dispatchEvent(new Event("counts"));
    if (!this.#stale && this.#sorted) {
      if (!changed.size) return;
      // Also where nobody looks at this moment: the map and what is scrolled to later.
      this.list = this.list.map((img) => changed.has(img.id) ? this.#all.get(img.id) : img);
      this.dispatchEvent(new CustomEvent("images", { detail: changed }));
      return;
    }
    this.#sorted ??= this.#sort();
    this.#stale = false;
    const words = this.text.toLocaleLowerCase(lang).split(/\s+/).filter(Boolean);
    const fits = filters[this.filter];
    this.list = this.#sorted.filter((img) => {
      const now = this.#all.get(img.id);
      if (!fits(now)) return false;
      if (!words.length) return true;
      const name = now.name.toLocaleLowerCase(lang);
      return words.every((w) => name.includes(w) || now.id.toLowerCase().startsWith(w));
    }).map((img) => this.#all.get(img.id));
    this.dispatchEvent(new CustomEvent("list", { detail: changed }));
  }

  #sort() {
    const key = orders[this.order];
    const compare = this.order === "name" ? collator.compare : (a, b) => a < b ? -1 : a > b ? 1 : 0;
    const rows = Array.from(this.#all.values(), (img) => ({ img, key: key(img) }));
    rows.sort((a, b) => compare(a.key, b.key) || byID(a.img, b.img));
    if (this.down) rows.reverse();
    return rows.map((r) => r.img);
  }
}
