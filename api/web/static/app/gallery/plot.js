// Where the images were taken, drawn without anybody's map: north is up, the scale
// says how far, a press opens the image.
import { t, lang } from "../i18n.js";
import { h, icon, iconButton, notice, replace } from "../ui.js";
import { middle, planeAround } from "./plane.js";

const reachPX = 14;              // how near a press must be
const samePX = 2;                // nearer than this they are one spot
const leastM = 20;               // the extent of a single place
const pathGapMS = 60_000;        // images further apart in time are not one flight
const length = new Intl.NumberFormat(lang, { maximumFractionDigits: 2 });
const degrees = new Intl.NumberFormat(lang, { maximumFractionDigits: 5 });
const metres = (m) => m >= 1000 ? `${length.format(m / 1000)} km` : `${length.format(m)} m`;

// What each colour says; word is that of the filter with the same images.
const colours = [{ name: "good", state: "Ready", word: "Ready" }, { name: "wait", state: "Uploaded", word: "open" },
  { name: "bad", state: "Invalid", word: "Invalid" }, { name: "dim", state: "Removed", word: "Removed" }];
const colourOf = (img) => colours.find((c) => c.state === img.state) ?? colours[1];

let plots = 0;

export class Plot {
  #points = [];
  #scale = 1;      // pixels per metre
  #centre = [0, 0]; // metres
  #fitted = true;  // nobody has moved it
  #frame = 0;
  #touches = new Map();
  #moved = 0;

  constructor({ onOpen }) {
    this.onOpen = onOpen;
    const about = `plot-${++plots}`;
    this.canvas = h("canvas", { tabindex: "0", role: "img", "aria-label": "", "aria-describedby": about });
    this.ring = h("div", { class: "plot-ring", hidden: true });
    this.tip = h("div", { class: "plot-tip", role: "status", hidden: true });
    this.note = h("p", { class: "plot-note" });
    this.legend = h("span", { class: "plot-legend" });
    this.head = h("p", { class: "plot-head" }, h("span", { class: "plot-north", "aria-hidden": "true" }, icon("north", 18), t("gallery.north")), this.legend);
    this.about = h("p", { class: "visually-hidden", id: about });
    this.nothing = notice({ title: t("gallery.no_positions"), text: t("gallery.no_positions_why") });
    this.el = h("div", { class: "plot" }, this.canvas, this.ring, this.tip, this.head, this.note, this.about, this.nothing,
      this.tools = h("div", { class: "plot-tools" },
        iconButton("plus", t("gallery.zoom_in"), () => this.#zoom(1.6)),
        iconButton("minus", t("gallery.zoom_out"), () => this.#zoom(1 / 1.6)),
        iconButton("fit", t("gallery.zoom_fit"), () => this.#fit())));
    const on = (name, f, options) => this.canvas.addEventListener(name, f, options);
    on("wheel", (e) => { e.preventDefault(); this.#zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0016)), this.#spot(e)); }, { passive: false });
    on("pointerdown", (e) => this.#down(e));
    on("pointermove", (e) => this.#move(e));
    on("pointerup", (e) => this.#up(e));
    on("pointercancel", (e) => this.#touches.delete(e.pointerId));
    on("pointerleave", () => this.#hover(null));
    on("blur", () => this.#hover(null));
    on("keydown", (e) => this.#key(e));
    this.observer = new ResizeObserver(() => { if (this.#fitted) this.#fit(); this.#draw(); });
    this.observer.observe(this.el);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.onTheme = () => this.#draw();
    this.theme.addEventListener("change", this.onTheme);
  }

  close() {
    this.observer.disconnect();
    this.theme.removeEventListener("change", this.onTheme);
  }

  show(list) {
    const found = list.filter((img) => img.facts?.gps);
    this.nothing.hidden = found.length > 0;
    this.canvas.hidden = this.tools.hidden = this.head.hidden = found.length === 0;
    replace(this.legend, colours.filter((c) => found.some((img) => colourOf(img) === c))
      .map(({ state, word }) => h("span", { class: "state", dataset: { state } }, t("gallery.filter_" + word))));
    const missing = list.length - found.length;
    this.note.hidden = !missing || !found.length;
    this.note.textContent = t("gallery.no_place_n", { n: missing });
    const centre = middle(found.map((img) => img.facts.gps));
    const point = planeAround(centre);
    this.#points = found.map((img) => ({ img, ...point(img.facts.gps), at: img.facts.taken ? Date.parse(img.facts.taken) : 0 }))
      .sort((a, b) => (a.img.state === "Invalid") - (b.img.state === "Invalid")); // these above all others
    const spread = (of) => this.#points.reduce((s, p) => { s[0] = Math.min(s[0], p[of]); s[1] = Math.max(s[1], p[of]); return s; }, [Infinity, -Infinity]);
    const [left, right] = spread("x"), [top, bottom] = spread("y");
    this.bounds = { left, right, top, bottom };
    this.area = Math.max(leastM, right - left) * Math.max(leastM, bottom - top);
    this.path = this.#points.filter((p) => p.at).sort((a, b) => a.at - b.at);
    this.canvas.setAttribute("aria-label", t("gallery.plot_label", { n: found.length }));
    this.about.textContent = found.length ? [
      t("gallery.plot_spread", { wide: metres(right - left), high: metres(bottom - top), lat: degrees.format(centre.lat), lon: degrees.format(centre.lon) }),
      missing > 0 && t("gallery.no_place_n", { n: missing }), t("gallery.plot_keys"),
    ].filter(Boolean).join(" ") : "";
    this.#hover(null);
    if (this.#fitted) this.#fit();
    this.#draw();
  }

  #size() { return [this.el.clientWidth || 1, this.el.clientHeight || 1]; }

  #fit() {
    this.#fitted = true;
    if (!this.#points.length) return;
    const { left, right, top, bottom } = this.bounds;
    const [w, ht] = this.#size();
    const pad = Math.min(w, ht) * 0.12 + 12;
    this.#scale = Math.min((w - 2 * pad) / Math.max(right - left, leastM), (ht - 2 * pad) / Math.max(bottom - top, leastM));
    this.#centre = [(left + right) / 2, (top + bottom) / 2];
    this.#draw();
  }

  #zoom(by, [px, py] = this.#size().map((v) => v / 2)) {
    const [w, ht] = this.#size();
    const next = Math.min(200, Math.max(1e-6, this.#scale * by));
    // What lies under the pointer stays there.
    this.#centre[0] += (px - w / 2) * (1 / this.#scale - 1 / next);
    this.#centre[1] += (py - ht / 2) * (1 / this.#scale - 1 / next);
    this.#scale = next;
    this.#fitted = false;
    this.#hover(null);
    this.#draw();
  }

  #pan(dx, dy) {
    this.#centre[0] -= dx / this.#scale;
    this.#centre[1] -= dy / this.#scale;
    this.#fitted = false;
    this.#hover(null);
    this.#draw();
  }

  #draw() { this.#frame ||= requestAnimationFrame(() => { this.#frame = 0; this.#paint(); }); }

  #paint() {
    const [w, ht] = this.#size();
    const dots = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(w * dots) || this.canvas.height !== Math.round(ht * dots)) {
      this.canvas.width = Math.round(w * dots);
      this.canvas.height = Math.round(ht * dots);
    }
    const c = this.canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue("--" + name).trim();
    c.setTransform(dots, 0, 0, dots, 0, 0);
    c.clearRect(0, 0, w, ht);
    const x = (m) => (m - this.#centre[0]) * this.#scale + w / 2;
    const y = (m) => (m - this.#centre[1]) * this.#scale + ht / 2;

    // Lines at round distances.
    const step = round(90 / this.#scale);
    c.strokeStyle = colour("line");
    c.lineWidth = 1;
    c.beginPath();
    for (let m = Math.ceil((this.#centre[0] - w / 2 / this.#scale) / step) * step; x(m) < w; m += step) { c.moveTo(Math.round(x(m)) + .5, 0); c.lineTo(Math.round(x(m)) + .5, ht); }
    for (let m = Math.ceil((this.#centre[1] - ht / 2 / this.#scale) / step) * step; y(m) < ht; m += step) { c.moveTo(0, Math.round(y(m)) + .5); c.lineTo(w, Math.round(y(m)) + .5); }
    c.stroke();

    // The way between images that were taken one after the other.
    c.strokeStyle = colour("edge");
    c.globalAlpha = .55;
    c.beginPath();
    let last = null; // that a line leads to
    this.path?.forEach((p, i) => {
      const before = this.path[i - 1];
      if (!before || p.at - before.at > pathGapMS) c.moveTo(x(p.x), y(p.y));
      else if (Math.hypot(p.x - last.x, p.y - last.y) * this.#scale >= 1) c.lineTo(x(p.x), y(p.y));
      else return; // too short to be seen
      last = p;
    });
    c.stroke();
    c.globalAlpha = 1;

    // As large as the room between them lets them be. Each colour's dot is drawn
    // once and then copied: twenty thousand arcs would be felt.
    const radius = Math.min(4.5, Math.max(1.2, Math.sqrt(this.area / this.#points.length) * this.#scale * 0.42));
    const dot = new Map(colours.map((of) => [of, stamp(colour(of.name), colour("card"), radius, dots)]));
    const half = dot.get(colours[0]).width / 2;
    c.setTransform(1, 0, 0, 1, 0, 0); // on whole pixels, which are copied as they are
    for (const p of this.#points) {
      const px = x(p.x), py = y(p.y);
      if (px < -9 || py < -9 || px > w + 9 || py > ht + 9) continue;
      c.drawImage(dot.get(colourOf(p.img)), Math.round(px * dots - half), Math.round(py * dots - half));
    }
    c.setTransform(dots, 0, 0, dots, 0, 0);

    // The scale.
    const bar = step * this.#scale;
    c.strokeStyle = c.fillStyle = colour("dim");
    c.lineWidth = 1.5;
    c.beginPath();
    c.moveTo(14.5, ht - 20); c.lineTo(14.5, ht - 14); c.lineTo(14.5 + bar, ht - 14); c.lineTo(14.5 + bar, ht - 20);
    c.stroke();
    c.font = `13px ${getComputedStyle(document.body).fontFamily}`;
    c.fillText(metres(step), 20, ht - 20);
  }

  #spot(e) {
    const r = this.canvas.getBoundingClientRect();
    return [e.clientX - r.left, e.clientY - r.top];
  }

  #place(p) {
    const [w, ht] = this.#size();
    return [(p.x - this.#centre[0]) * this.#scale + w / 2, (p.y - this.#centre[1]) * this.#scale + ht / 2];
  }

  // Of those at one spot the last is drawn above all others, and meant.
  #nearest([px, py], reach = reachPX) {
    const [w, ht] = this.#size();
    const x = (px - w / 2) / this.#scale + this.#centre[0], y = (py - ht / 2) / this.#scale + this.#centre[1];
    let best = null, least = (reach / this.#scale) ** 2;
    for (const p of this.#points) {
      const far = (p.x - x) ** 2 + (p.y - y) ** 2;
      if (far <= least) { least = far; best = p; }
    }
    return best;
  }

  #hover(p) {
    this.canvas.classList.toggle("over", !!p);
    this.tip.hidden = this.ring.hidden = !p;
    if (!p) return;
    const spot = this.#place(p);
    const same = (samePX / this.#scale) ** 2;
    let others = -1;
    for (const o of this.#points) if ((o.x - p.x) ** 2 + (o.y - p.y) ** 2 < same) others++;
    const text = others > 0 ? t("gallery.here_n", { name: p.img.name, n: others }) : p.img.name;
    if (this.tip.textContent !== text) this.tip.textContent = text;
    const left = Math.min(spot[0] + 14, this.el.clientWidth - this.tip.offsetWidth - 8);
    this.tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, spot[1] - 14 - this.tip.offsetHeight)}px)`;
    this.ring.style.transform = `translate(${spot[0]}px, ${spot[1]}px)`;
  }

  #down(e) {
    this.canvas.setPointerCapture(e.pointerId);
    this.#touches.set(e.pointerId, this.#spot(e));
    if (this.#touches.size === 1) this.#moved = 0;
  }

  #move(e) {
    const spot = this.#spot(e);
    const before = this.#touches.get(e.pointerId);
    if (!before) return this.#hover(this.#nearest(spot));
    const others = [...this.#touches].filter(([id]) => id !== e.pointerId).map(([, s]) => s);
    this.#moved += Math.hypot(spot[0] - before[0], spot[1] - before[1]);
    this.#touches.set(e.pointerId, spot);
    if (others.length) {
      const apart = (s) => Math.hypot(s[0] - others[0][0], s[1] - others[0][1]);
      if (apart(before) > 5) this.#zoom(apart(spot) / apart(before), others[0]);
    } else this.#pan(spot[0] - before[0], spot[1] - before[1]);
  }

  #up(e) {
    const was = this.#touches.delete(e.pointerId);
    if (!was || this.#touches.size || this.#moved > 6) return;
    const p = this.#nearest(this.#spot(e), e.pointerType === "touch" ? 24 : reachPX);
    if (p) this.onOpen(p.img);
  }

  #key(e) {
    const far = 60;
    const inMiddle = () => this.#nearest(this.#size().map((v) => v / 2), Infinity);
    const act = {
      ArrowLeft: () => this.#pan(far, 0), ArrowRight: () => this.#pan(-far, 0), ArrowUp: () => this.#pan(0, far), ArrowDown: () => this.#pan(0, -far),
      "+": () => this.#zoom(1.6), "=": () => this.#zoom(1.6), "-": () => this.#zoom(1 / 1.6), 0: () => this.#fit(),
      Enter: () => { const p = inMiddle(); if (p) this.onOpen(p.img); },
    }[e.key];
    if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    act();
    if (e.key !== "Enter") this.#hover(inMiddle()); // which Enter would open
  }
}

/** A dot to be copied, with an edge where it is large enough for one. */
function stamp(fill, edge, radius, dots) {
  const size = 2 * Math.ceil((radius + 1) * dots);
  const el = h("canvas", { width: size, height: size });
  const c = el.getContext("2d");
  c.fillStyle = fill;
  c.strokeStyle = edge;
  c.lineWidth = 1.2 * dots;
  c.arc(size / 2, size / 2, radius * dots, 0, 7);
  c.fill();
  if (radius > 3) c.stroke();
  return el;
}

/** The round number at or below v: 1, 2 or 5 with zeros. */
function round(v) {
  const ten = 10 ** Math.floor(Math.log10(v));
  return ten * (v / ten >= 5 ? 5 : v / ten >= 2 ? 2 : 1);
}
