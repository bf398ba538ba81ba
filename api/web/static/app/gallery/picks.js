// Images that a person picked, to do something with all of them.
import { t } from "../i18n.js";
import { button, h, iconButton, replace } from "../ui.js";
import { keepable } from "./large.js";

/** A set of ids that tells of its changes by the event "change". */
export class Picks extends EventTarget {
  #ids = new Set();
  #asked = false; // a press picks also while nothing is picked yet

  get active() { return this.#asked || this.#ids.size > 0; }
  get size() { return this.#ids.size; }
  has = (id) => this.#ids.has(id);

  /** Begins to pick, or ends it. */
  ask(on) {
    this.#asked = on;
    if (!on) this.#ids.clear();
    this.#changed();
  }

  toggle(id) {
    if (!this.#ids.delete(id)) this.#ids.add(id);
    this.#changed();
  }

  add(ids) {
    for (const id of ids) this.#ids.add(id);
    this.#changed();
  }

  clear() { this.ask(false); }

  /** Keeps those that are in a list: nothing is done to what isn't shown. */
  keep(list) {
    if (!this.#ids.size) return;
    const before = this.#ids.size;
    this.#ids = new Set(list.filter((img) => this.#ids.has(img.id)).map((img) => img.id));
    if (this.#ids.size !== before) this.#changed();
  }

  #changed() { this.dispatchEvent(new Event("change")); }
}

/**
 * A bar that says how many are picked, and what can be done with them. When it goes
 * away with the keyboard on it, back() finds that another place.
 */
export function pickBar(picks, images, acts, back) {
  const words = h("b", { role: "status" });
  const all = button("", { kind: "plain", onClick: () => picks.add(images.list.map((img) => img.id)) });
  const doing = h("div", { class: "pick-acts" });
  const close = iconButton("close", t("gallery.pick_none"), () => picks.clear());
  const el = h("div", { class: "pick-bar", role: "group", "aria-label": t("gallery.picked_bar"), hidden: true },
    words, all, doing, close);
  const picked = () => images.list.filter((img) => picks.has(img.id));
  const act = (name, kind, drawing, fits, todo) => {
    const list = picked().filter(fits);
    return list.length > 0 && todo && button(t("gallery." + name + "_n", { n: list.length }), {
      kind, icon: drawing, dataset: { act: name },
      onClick: async () => { if (await todo(list) !== false) picks.clear(); },
    });
  };
  function show() {
    const held = el.contains(document.activeElement);
    el.hidden = !picks.active;
    if (el.hidden && held) back();
    if (!picks.active) return;
    const focus = doing.contains(document.activeElement) ? document.activeElement.dataset.act : "";
    words.textContent = t("gallery.picked", { n: picks.size });
    all.lastChild.textContent = t("gallery.pick_all", { n: images.list.length });
    all.hidden = picks.size === images.list.length;
    replace(doing,
      act("restore", "quiet", "undo", (img) => img.state === "Removed", acts.restoreAll),
      act("accept", "quiet", "check", keepable, acts.acceptAll),
      act("delete", "quiet danger", "trash", (img) => img.state !== "Removed", acts.removeAll));
    if (focus) (doing.querySelector(`[data-act="${focus}"]`) ?? close).focus();
  }
  picks.addEventListener("change", show);
  images.addEventListener("list", () => { picks.keep(images.list); show(); });
  images.addEventListener("images", show);
  return el;
}
