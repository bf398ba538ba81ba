// The pictures of a project or a tag: chips, search, order, the grid, the plot, the
// large view, and picking several.
import { t } from "../i18n.js";
import { h, bytes, icon, iconButton, notice, problemText, replace, toastProblem } from "../ui.js";
import { actsOn } from "./acts.js";
import { Picks, pickBar } from "./picks.js";
import { Images, filters, orders } from "./model.js";
import { Grid } from "./grid.js";
import { Plot } from "./plot.js";
import { openLarge } from "./large.js";

/**
 * A source tells a gallery of its images:
 *   pages()          all that are not removed, as an async iterator of lists
 *   removed()        those that are, so, or null where it has none
 *   expected         how many pages() will give, if known
 *   thumb(img), file(img), story(img), damaged(img)   addresses; the last is of what is
 *                    Invalid; these two may be missing
 *   remove(img), restore(img), accept(img)   promises of the image as it is then; each may be missing
 *   empty            an element that is shown while there is no image
 *   onCounts(counts) is told the numbers by filter, and readyBytes, when they change
 */
export function mountGallery(el, source) {
  const images = new Images();
  const query = new URLSearchParams(location.search);
  const asked = (name, among, otherwise) => among.includes(query.get(name)) ? query.get(name) : otherwise;
  images.filter = asked("state", Object.keys(filters), "all");
  images.order = asked("sort", Object.keys(orders), "name");
  images.down = query.get("down") === "1";
  images.text = query.get("q") ?? "";
  let view = asked("view", ["grid", "map"], "grid");
  let loading = true;
  let anew = false; // asked for while it was loading
  let failed = null;
  let removedLoaded = false;
  let opened = null;

  // What is told live, and what is done here, is newer than what a page of the list
  // brings that was asked for earlier.
  const live = new Set();
  function now(list, options) {
    if (loading) for (const img of list) live.add(img.id);
    images.put(list, options);
  }

  const acts = { ...source, ...actsOn({ get: images.get, put: now }, source) };
  const picks = source.remove || source.accept ? new Picks() : null;

  function open(img) {
    if (opened?.open) return;
    const el = opened = openLarge(images, acts, img.id, (id) => {
      if (opened === el) opened = null;
      const at = images.list.findIndex((i) => i.id === id);
      if (at >= 0 && view === "grid") grid.focus(at);
    });
  }

  const grid = new Grid({
    label: t("gallery.images"), thumb: source.thumb, picks, onOpen: (_, img) => open(img),
    onDelete: acts.removeAll && ((img) => {
      const list = picks.has(img.id) ? images.list.filter((i) => picks.has(i.id)) : [img];
      acts.removeAll(list.filter((i) => i.state !== "Removed"));
    }),
  });
  const plot = new Plot({ onOpen: open });

  // Chips.
  const chips = h("div", { class: "chips", role: "group", "aria-label": t("gallery.filter") });
  for (const name of Object.keys(filters)) {
    if (name === "Removed" && !source.removed) continue;
    chips.append(h("button", { type: "button", class: "sift", dataset: { state: name }, onClick: () => choose({ filter: name }) },
      h("span", {}, t("gallery.filter_" + name)), h("b", {})));
  }

  let typing;
  const search = h("input", {
    type: "search", placeholder: t("gallery.search"), "aria-label": t("gallery.search"), value: images.text,
    onInput: () => { clearTimeout(typing); typing = setTimeout(() => choose({ text: search.value }), 150); },
  });
  const order = h("select", { "aria-label": t("gallery.sort"), onChange: () => choose({ order: order.value }) },
    Object.keys(orders).map((name) => h("option", { value: name, selected: name === images.order }, t("gallery.sort_" + name))));
  const down = iconButton("down", t("gallery.reverse"), () => choose({ down: !images.down }), { class: "quiet" });
  const gridSwitch = iconButton("grid", t("gallery.as_grid"), () => look("grid"));
  const mapSwitch = iconButton("map", t("gallery.as_map"), () => look("map"));
  const pick = picks && iconButton("check", t("gallery.pick_some"), () => picks.ask(!picks.active), { class: "quiet" });
  const bar = h("div", { class: "gallery-bar" }, chips,
    h("div", { class: "gallery-tools" }, search, order, down, pick,
      h("div", { class: "switch", role: "group", "aria-label": t("gallery.view") }, gridSwitch, mapSwitch)));
  const line = h("p", { class: "gallery-line", role: "status" });
  const body = h("div", { class: "gallery-body" });
  const rest = h("div", { class: "gallery-fault" });
  replace(el, bar, line, rest, body, picks && pickBar(picks, images, acts, back));
  picks?.addEventListener("change", () => pick.setAttribute("aria-pressed", String(picks.active)));

  // Where the keyboard goes when what it was on is gone.
  function back() {
    if (body.firstChild === grid.el && images.list.length) grid.focus();
    else chips.querySelector("[aria-pressed=true]").focus();
  }

  function choose(change) {
    images.show(change);
    remember();
    if (change.filter === "Removed") loadRemoved();
    if (el.getBoundingClientRect().top < 0) bar.scrollIntoView({ block: "start" });
  }

  function look(as) {
    view = as;
    picks?.clear();
    remember();
    draw(new Set());
  }

  // The address tells what is shown, so that a reload shows it again.
  function remember() {
    const q = new URLSearchParams(location.search);
    const set = (name, v, usual) => v === usual ? q.delete(name) : q.set(name, v);
    set("state", images.filter, "all");
    set("sort", images.order, "name");
    set("down", images.down ? "1" : "", "");
    set("q", images.text, "");
    set("view", view, "grid");
    const text = q.toString();
    history.replaceState(history.state, "", location.pathname + (text && "?" + text));
  }

  function counted() {
    for (const chip of chips.children) {
      const name = chip.dataset.state;
      chip.setAttribute("aria-pressed", String(name === images.filter));
      const unknown = name === "Removed" ? !removedLoaded && !images.counts.Removed : loading && !images.size;
      chip.lastChild.textContent = unknown ? "" : t("gallery.count", { n: images.counts[name] });
      chip.hidden = (name === "open" || name === "Invalid") && images.counts[name] === 0 && images.filter !== name;
    }
    down.replaceChildren(icon(images.down ? "up" : "down"));
    down.setAttribute("aria-pressed", String(images.down));
    gridSwitch.setAttribute("aria-pressed", String(view === "grid"));
    mapSwitch.setAttribute("aria-pressed", String(view === "map"));
    for (const tool of [order, down, pick]) if (tool) tool.hidden = view === "map"; // they show nothing there
    source.onCounts?.({ ...images.counts, readyBytes: images.readyBytes });
  }

  function said() {
    if (failed) return "";
    if (loading && images.counts.all) return t("gallery.loading", { n: images.counts.all, of: Math.max(source.expected ?? 0, images.counts.all) });
    if (loading) return t("common.loading");
    if (images.counts.all + images.counts.Removed === 0) return "";
    const n = images.list.length;
    const shownAll = images.filter === "all" && !images.text;
    const words = shownAll ? t("gallery.n", { n }) : t("gallery.n_of", { n, of: images.counts.all + (images.filter === "Removed" ? images.counts.Removed : 0) });
    return shownAll && images.readyBytes ? `${words} · ${t("gallery.ready_bytes", { size: bytes(images.readyBytes) })}` : words;
  }

  function draw(changed) {
    counted();
    line.textContent = said();
    const none = !loading && images.size === 0 && !failed;
    bar.hidden = line.hidden = none;
    replace(rest, failed && notice({ bad: true, title: t("gallery.failed"), text: problemText(failed), action: t("common.again"), onAction: load }));
    let part;
    if (none) part = source.empty ?? notice({ title: t("gallery.none"), text: t("gallery.none_why") });
    else if (view === "map") part = plot.el;
    else if (!images.list.length && !loading && !failed) {
      part = images.filter === "Removed" && !images.text ? notice({ text: t("gallery.none_deleted") })
        : notice({ text: t("gallery.none_fit"), action: t("gallery.show_all"), onAction: () => { search.value = ""; choose({ filter: "all", text: "" }); } });
    } else part = grid.el;
    if (body.firstChild !== part) {
      const held = body.contains(document.activeElement);
      replace(body, part);
      if (held) back();
    }
    grid.el.classList.toggle("waiting", loading && !images.list.length);
    if (part === grid.el) grid.show(images.list, changed);
    if (part === plot.el) plot.show(images.list);
  }

  images.addEventListener("list", (e) => draw(e.detail));
  images.addEventListener("images", (e) => {
    counted();
    line.textContent = said();
    if (view === "grid") grid.refresh(e.detail, images.get);
    else plot.show(images.list);
  });

  async function load() {
    loading = true;
    anew = false;
    failed = null;
    draw(new Set());
    const seen = new Set();
    try {
      for await (const list of source.pages()) {
        for (const img of list) seen.add(img.id);
        images.put(list.filter((img) => !live.has(img.id)), { soon: true });
      }
      for (const id of live) seen.add(id);
      images.keepOnly(seen);
    } catch (err) {
      failed = err;
    }
    loading = false;
    live.clear();
    draw(new Set());
    if (images.filter === "Removed") loadRemoved();
    if (anew) load();
  }

  async function loadRemoved() {
    if (removedLoaded || !source.removed) return;
    removedLoaded = true;
    try {
      for await (const list of source.removed()) images.put(list.filter((img) => !images.get(img.id)), { soon: true });
    } catch (err) {
      removedLoaded = false;
      toastProblem(err);
    }
    draw(new Set());
  }

  load();
  return {
    images,
    open,
    /** Takes in images that changed. */
    put: (list) => now(list.filter((img) => img.state !== "Removed" || images.get(img.id))),
    /** Asks for all of them again, after something may have been missed. */
    reload: () => { if (loading) anew = true; else load(); },
  };
}
