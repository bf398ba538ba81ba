// Where the caller is seen to be, and the buckets in the order that he is offered.
import { h, notice, replace } from "../ui.js";

export async function mount(root, { api, t, lang }) {
  const { buckets, from } = await api.get("/buckets/nearest");
  const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 0 });
  const countries = new Intl.DisplayNames([lang], { type: "region" });
  const country = (code) => { try { return countries.of(code); } catch { return code; } };
  const degrees = (p) => `${Math.abs(p.lat).toFixed(1)}° ${p.lat < 0 ? "S" : "N"}, ${Math.abs(p.lon).toFixed(1)}° ${p.lon < 0 ? "W" : "E"}`;
  replace(root,
    h("h1", {}, t("buckets.title")),
    h("p", { class: "sub" }, t("buckets.about")),
    h("dl", { class: "facts card" },
      h("dt", {}, t("buckets.you")),
      h("dd", {}, from.country ? country(from.country) : t("buckets.unknown"), from.location && h("span", { class: "id" }, degrees(from.location))),
      from.address && [h("dt", {}, t("buckets.address")), h("dd", {}, h("code", {}, from.address))],
      from.source && [h("dt", {}, t("buckets.source")), h("dd", {}, t("buckets.source." + from.source))]),
    !from.country && !from.location && h("p", { class: "sub" }, t("buckets.unknown_why")),
    buckets.length === 0 && notice({ title: t("buckets.none"), text: t("buckets.none_why") }),
    h("ol", { class: "places" }, buckets.map((b, i) => h("li", { class: "card" },
      h("span", { class: "rank", "aria-hidden": "true" }, i + 1),
      h("div", {}, h("strong", {}, h("bdi", {}, b.display)), i === 0 && h("span", { class: "badge" }, t("buckets.first")), h("span", { class: "id" }, b.symbol)),
      h("dl", {},
        h("dt", {}, t("buckets.distance")),
        h("dd", {}, from.location && b.location ? t("buckets.km", { km: number.format(kilometres(from.location, b.location)) }) : t("buckets.no_distance"), b.location && h("span", { class: "id" }, degrees(b.location))),
        h("dt", {}, t("buckets.cloud")), h("dd", {}, b.cloud),
        h("dt", {}, t("buckets.grants")), h("dd", {}, b.grants.map((g) => t("buckets.grant." + g)).join(", ") || "–"))))));
}

/** Along a great circle, by haversines. */
function kilometres(a, b) {
  const rad = Math.PI / 180;
  const s = Math.sin((b.lat - a.lat) * rad / 2) ** 2 + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * Math.sin((b.lon - a.lon) * rad / 2) ** 2;
  return 2 * 6371 * Math.asin(Math.min(1, Math.sqrt(s)));
}
