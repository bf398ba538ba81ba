// A grid of any number of images, of which only those in sight exist on the page.
import { h } from "../ui.js";
import { makeCell, fillCell, emptyCell } from "./cell.js";

const gapPX = 12;
const beyondPX = 600;  // made before they are in sight
const settleMS = 90;   // thumbnails wait for the end of a fast scroll
const pressMS = 450;   // a finger that stays so long picks
const stirPX = 10;     // and that moves no further

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
  #finger = null;  // {timer, x, y, done}
  #anchor = null;  // id that a range of picks begins at

  /**
   * thumb(img) is the address of its thumbnail, or null. onOpen(index, img) is called
   * for a pressed one, onDelete(img), which may be missing, for the key. picks are
   * the Picks that it shows and changes, or null.
   */
  constructor({ label, thumb, onOpen, onDelete = null, picks = null }) {
    Object.assign(this, { thumb, onOpen, onDelete, picks });
    this.el = h("ul", {
      class: "grid", "aria-label": label, onKeydown: (e) => this.#key(e), onClick: (e) => this.#press(e),
      onFocusin: () => this.draw(),
    });
    if (picks) {
      picks.addEventListener("change", () => this.draw());
      this.el.addEventListener("pointerdown", (e) => this.#down(e));
      for (const name of ["pointermove", "pointerup", "pointercancel"]) this.el.addEventListener(name, (e) => this.#stir(e));
      // The menu of a long press lies over what it picked.
      this.el.addEventListener("contextmenu", (e) => { if (this.#finger) e.preventDefault(); });
    }
    this.#observer = new ResizeObserver(() => this.draw());
    this.#observer.observe(this.el);
    this.#observer.observe(document.body); // what is above the grid moves it
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
    this.#follow();
    const id = this.#list[this.#at]?.id;
    this.#list = list;
    if (id !== list[this.#at]?.id) {
      const at = id ? list.findIndex((img) => img.id === id) : 0;
      // Of one that went, the neighbour takes the place.
      this.#at = at >= 0 ? at : Math.max(0, Math.min(this.#at, list.length - 1));
    }
    this.refresh(changed);
    this.#render();
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

  /** Brings an image into sight, the one that had it last or another, and gives it the keyboard. */
  focus(index = this.#at) {
    this.#at = Math.max(0, Math.min(index, this.#list.length - 1));
    const { rowPX } = this.#measure();
    const top = this.el.getBoundingClientRect().top + scrollY + Math.floor(this.#at / this.#columns) * rowPX;
    const covered = (name, free) => {
      const bar = document.querySelector(name);
      return bar && !bar.hidden && getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : free;
    };
    const above = covered(".gallery-bar", 0), below = covered(".pick-bar", 0);
    if (top < scrollY + above) scrollTo({ top: top - above - gapPX });
    else if (top + rowPX > scrollY + innerHeight - below) scrollTo({ top: top + rowPX - innerHeight + below });
    this.#render();
    this.#cells.get(this.#list[this.#at]?.id)?.button.focus({ preventScroll: true });
  }

  /** Draws what is in sight, once in a frame. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => { this.#follow(); this.#render(); });
  }

  // Where the keyboard is, there one is; not every way there tells by an event.
  #follow() {
    const cell = this.el.contains(document.activeElement) && this.#cellOf(document.activeElement);
    if (cell) this.#at = cell.index;
  }

  #measure() {
    const width = this.el.clientWidth || 1;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) || 16;
    const least = width < 36 * rem ? 8.5 * rem : 12.5 * rem;
    const columns = Math.max(1, Math.floor((width + gapPX) / (least + gapPX)));
    const cellPX = (width - gapPX * (columns - 1)) / columns;
    const heightPX = Math.round(cellPX * 0.7 + 3.65 * rem);
    return { columns, cellPX, heightPX, rowPX: heightPX + gapPX, narrow: cellPX < 11.5 * rem };
  }

  #render() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const m = this.#measure();
    this.#columns = m.columns;
    const n = this.#list.length;
    const rows = Math.ceil(n / m.columns);
    const height = `${Math.max(0, rows * m.rowPX - gapPX)}px`;
    if (this.el.style.height !== height) this.el.style.height = height;
    const top = -this.el.getBoundingClientRect().top;
    const first = Math.min(Math.max(0, Math.floor((top - beyondPX) / m.rowPX)) * m.columns, n);
    const last = Math.min(n, Math.ceil((top + innerHeight + beyondPX) / m.rowPX) * m.columns);

    const wanted = [];
    for (let i = first; i < last; i++) wanted.push(i);
    // Who has the keyboard stays on the page; without one, Tab leads to what is seen.
    const held = this.el.contains(document.activeElement);
    const inside = this.#at >= first && this.#at < last;
    if (held && this.#at < n && !inside) wanted.push(this.#at);
    const seen = Math.max(0, Math.ceil(top / m.rowPX)) * m.columns;
    const stop = held || inside ? this.#at : Math.min(seen, last - 1);
    const keep = new Set(wanted.map((i) => this.#list[i].id));
    for (const [id, cell] of this.#cells) {
      if (keep.has(id)) continue;
      this.#cells.delete(id);
      emptyCell(cell);
      this.#pool.push(cell);
    }
    const picking = Boolean(this.picks?.active);
    this.el.classList.toggle("picking", picking);
    let before = null;
    for (const i of wanted) {
      const img = this.#list[i];
      let cell = this.#cells.get(img.id);
      if (!cell) {
        cell = this.#pool.pop() ?? makeCell(this.picks);
        this.#cells.set(img.id, cell);
      }
      this.#place(cell, i, m, n);
      if (cell.drawn !== img || cell.narrow !== m.narrow) fillCell(cell, img, this.thumb(img), cell.narrow = m.narrow);
      cell.button.tabIndex = i === stop ? 0 : -1;
      if (cell.box) {
        const picked = this.picks.has(img.id);
        cell.box.checked = picked;
        cell.box.tabIndex = i === stop ? 0 : -1;
        cell.li.classList.toggle("picked", picked);
      }
      // In the order of the list, for those who hear the page.
      const next = before ? before.nextSibling : this.el.firstChild;
      if (next !== cell.li) {
        const focused = cell.li.contains(document.activeElement) ? document.activeElement : null;
        this.el.insertBefore(cell.li, next);
        focused?.focus({ preventScroll: true });
      }
      before = cell.li;
    }
    for (const cell of this.#pool) cell.li.remove();
    if (this.#pool.length > 60) this.#pool.length = 60;
    // A cell that went away, or shows another image now, had the keyboard.
    const now = held && this.#cells.get(this.#list[this.#at]?.id);
    if (now && !now.li.contains(document.activeElement)) now.button.focus({ preventScroll: true });

    const fast = Math.abs(top - this.#lastTop) > innerHeight / 2;
    this.#lastTop = top;
    clearTimeout(this.#timer);
    if (fast) this.#timer = setTimeout(() => this.#load(), settleMS);
    else this.#load();
  }

  #place(cell, i, m, n) {
    if (cell.index !== i) cell.li.setAttribute("aria-posinset", i + 1);
    if (cell.of !== n) cell.li.setAttribute("aria-setsize", n);
    cell.index = i;
    cell.of = n;
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

  #load() {
    for (const cell of this.#cells.values()) {
      if (cell.src && !cell.img.hasAttribute("src")) cell.img.src = cell.src;
    }
  }

  #cellOf(target) {
    const id = target.closest("li")?.querySelector(".cell")?.dataset.id;
    return id && this.#cells.get(id);
  }

  #press(e) {
    if (this.#finger?.done) { // the long press has done it
      this.#finger = null;
      e.preventDefault();
      return;
    }
    const cell = this.#cellOf(e.target);
    if (!cell) return;
    this.#at = cell.index;
    const img = this.#list[cell.index];
    const box = e.target.closest(".pick");
    if (this.picks && (box || e.shiftKey || e.ctrlKey || e.metaKey || this.picks.active && e.detail > 0)) {
      if (box && e.target !== cell.box) return; // the label's; the box has its own
      this.#pick(img, e.shiftKey);
      return;
    }
    this.draw();
    this.onOpen(cell.index, img);
  }

  // Picks one or puts it back; as a range, all from the one that was picked before.
  #pick(img, range) {
    const from = range ? this.#list.findIndex((i) => i.id === this.#anchor) : -1;
    if (from < 0) {
      this.#anchor = img.id;
      this.picks.toggle(img.id);
      return;
    }
    const to = this.#list.indexOf(img);
    this.picks.add(this.#list.slice(Math.min(from, to), Math.max(from, to) + 1).map((i) => i.id));
  }

  #down(e) {
    this.#finger = null;
    const cell = e.pointerType === "touch" && e.isPrimary && this.#cellOf(e.target);
    if (!cell) return;
    const finger = this.#finger = { x: e.clientX, y: e.clientY, done: false };
    finger.timer = setTimeout(() => {
      finger.done = true;
      this.#pick(this.#list[cell.index], false);
    }, pressMS);
  }

  #stir(e) {
    const finger = this.#finger;
    if (!finger || e.type === "pointermove" && Math.hypot(e.clientX - finger.x, e.clientY - finger.y) < stirPX) return;
    clearTimeout(finger.timer);
    if (e.type === "pointercancel" || !finger.done) this.#finger = null;
  }

  #key(e) {
    if (e.altKey || !this.#cellOf(e.target)) return;
    this.#follow();
    const n = this.#list.length;
    if (e.ctrlKey || e.metaKey) {
      if (e.key.toLowerCase() !== "a" || !this.picks) return;
      e.preventDefault();
      this.picks.add(this.#list.map((img) => img.id));
      return;
    }
    if (e.key === "Escape" && this.picks?.active) return this.picks.clear();
    if (e.key === "Delete" && this.onDelete) {
      e.preventDefault();
      return this.onDelete(this.#list[this.#at]);
    }
    const columns = this.#columns;
    const page = Math.max(1, Math.floor(innerHeight / this.#measure().rowPX) - 1) * columns;
    const lastRow = Math.floor((n - 1) / columns);
    // Up and down keep to the column, and stay where there is no further row.
    const rows = (step) => {
      const row = Math.max(0, Math.min(lastRow, Math.floor(this.#at / columns) + step));
      return Math.min(n - 1, row * columns + this.#at % columns);
    };
    const to = {
      ArrowRight: () => this.#at + 1, ArrowLeft: () => this.#at - 1, ArrowDown: () => rows(1), ArrowUp: () => rows(-1),
      PageDown: () => rows(page / columns), PageUp: () => rows(-page / columns), Home: () => 0, End: () => n - 1,
    }[e.key]?.();
    if (to === undefined) return;
    e.preventDefault();
    if (e.shiftKey && this.picks) {
      if (!this.picks.active) this.#pick(this.#list[this.#at], false);
      this.focus(to);
      return this.#pick(this.#list[this.#at], true);
    }
    this.focus(to);
  }
}
