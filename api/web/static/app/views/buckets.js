// Where the caller is seen to be, and the buckets in the order that he is offered. An
// operator sees the others besides, and how all do.
import { dateTime, h, notice, replace } from "../ui.js";
import { bucketName } from "../bucket-name.js";

export async function mount(root, { api, t, lang, scopes = "" }) {
  const operator = scopes.split(" ").includes("admin");
  const { buckets, from } = await api.get(operator ? "/buckets" : "/buckets/nearest");
  const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 0 });
  const list = new Intl.ListFormat(lang, { type: "conjunction" });
  const countries = new Intl.DisplayNames([lang], { type: "region" });
  const country = (code) => { try { return countries.of(code); } catch { return code; } };
  const degrees = (p) => `${Math.abs(p.lat).toFixed(1)}° ${p.lat < 0 ? "S" : "N"}, ${Math.abs(p.lon).toFixed(1)}° ${p.lon < 0 ? "W" : "E"}`;
  const offered = operator ? buckets.filter((b) => b.rank) : buckets;
  const others = buckets.filter((b) => !offered.includes(b));
  replace(root,
    h("h1", {}, t("buckets.title")),
    h("p", { class: "sub" }, t("buckets.about")),
    h("dl", { class: "facts card" },
      h("dt", {}, t("buckets.you")),
      h("dd", {}, from.country ? country(from.country) : t("buckets.unknown"), from.location && h("span", { class: "id" }, degrees(from.location))),
      from.address && [h("dt", {}, t("buckets.address")), h("dd", {}, h("code", {}, from.address))],
      from.source && [h("dt", {}, t("buckets.source")), h("dd", {}, t("buckets.source." + from.source))]),
    !from.country && !from.location && h("p", { class: "sub" }, t("buckets.unknown_why")),
    offered.length === 0 && notice({ title: t("buckets.none"), text: t(operator ? "buckets.none_here" : "buckets.none_why") }),
    h("ol", { class: "places" }, offered.map((b, i) => item(b, i + 1))),
    others.length > 0 && [h("h2", {}, t("buckets.others")), h("ul", { class: "places" }, others.map((b) => item(b)))]);

  function item(b, rank) {
    return h("li", { class: "card" },
      h("span", { class: "rank", "aria-hidden": "true" }, rank ?? "–"),
      h("div", {}, h("div", { class: "named" }, h("strong", {}, h("bdi", {}, bucketName(b))), rank === 1 && h("span", { class: "badge" }, t("buckets.first"))),
        h("span", { class: "id" }, b.symbol),
        (b.not_offered ?? []).map((why) => h("span", { class: "detail" }, t("buckets.not." + why)))),
      h("dl", {},
        h("dt", {}, t("buckets.distance")),
        h("dd", {}, from.location && b.location ? t("buckets.km", { km: number.format(kilometres(from.location, b.location)) }) : t("buckets.no_distance"), b.location && h("span", { class: "id" }, degrees(b.location))),
        h("dt", {}, t("buckets.cloud")), h("dd", {}, b.cloud),
        h("dt", {}, t("buckets.grants")), h("dd", {}, b.grants.map((g) => t("buckets.grant." + g)).join(", ") || "–"),
        operator && [
          h("dt", {}, t("buckets.for")), h("dd", {}, b.not_offered.includes("drained") ? t("buckets.for_none") : rules(b.countries)),
          h("dt", {}, t("buckets.look")), h("dd", {}, look(b)),
        ]));
  }

  /** Whom a bucket is offered to. */
  function rules({ only, except, enforce }) {
    const names = (codes) => list.format(codes.map(country));
    return [
      only.length > 0 ? t("buckets.for_only", { countries: names(only) }) : t("buckets.for_all"),
      except.length > 0 && ` ${t("buckets.for_except", { countries: names(except) })}`, enforce && ` ${t("buckets.for_enforced")}`,
    ];
  }

  /** How the last look for uploads went there. */
  function look({ last_look: at, fault }) {
    if (!at) return t("buckets.look_none");
    if (!fault) return t("buckets.look_good", { at: dateTime(at, { seconds: true }) });
    return [h("span", { class: "state", "data-state": "Invalid" }, t("buckets.look_failed")), ` ${dateTime(at, { seconds: true })}`, h("span", { class: "detail error" }, fault)];
  }
}

/** Along a great circle, by haversines. */
function kilometres(a, b) {
  const rad = Math.PI / 180;
  const s = Math.sin((b.lat - a.lat) * rad / 2) ** 2 + Math.cos(a.lat * rad) * Math.cos(b.lat * rad) * Math.sin((b.lon - a.lon) * rad / 2) ** 2;
  return 2 * 6371 * Math.asin(Math.min(1, Math.sqrt(s)));
}
