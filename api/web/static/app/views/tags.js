// The tags that one may read.
import { t } from "../i18n.js";
import { removeButton } from "../removal.js";
import { bytes, copy, dateTime, h, icon, iconButton, notice, replace } from "../ui.js";

export async function mount(root, { api, scopes = "" }) {
  const may = scopes.split(" ").includes("manage");
  const tags = [];
  for await (const list of api.pages("/tags", "tags")) tags.push(...list);
  const list = h("ul", { class: "projects" });
  const empty = h("div", {}, notice({ title: t("tags.none"), text: t("tags.none_why") }));
  const some = () => { empty.hidden = list.children.length > 0; };
  list.append(...tags.map((tag) => row(tag, may && tag.own && api, some)));
  some();
  replace(root,
    h("h1", {}, t("tags.title")), h("p", { class: "sub" }, t("tags.sub")), list, empty,
    h("h2", { class: "section" }, t("tags.send")), curl("NAME"));
}

// With an api its owner may delete it, which changed() follows.
function row(tag, api, changed) {
  const n = Object.values(tag.counts ?? {}).reduce((a, b) => a + b, 0);
  const foot = h("div", { class: "foot" }, h("time", { datetime: tag.created_at }, dateTime(tag.created_at)));
  const el = h("li", {},
    h("div", {}, h("a", { href: `/tags/${encodeURIComponent(tag.name)}` }, h("strong", {}, h("bdi", {}, tag.name))),
      h("span", { class: "badges" }, tag.anonymous && badge("upload", t("tags.anonymous")), tag.public && badge("link", t("tags.public")))),
    h("div", { class: "counts" }, n ? [h("span", { class: "ready" }, t("gallery.n", { n })), h("span", { class: "none" }, bytes(tag.bytes ?? 0))] : h("span", { class: "none" }, t("tags.empty")),
      tag.counts?.Invalid > 0 && h("span", { class: "invalid" }, t("tags.invalid", { n: tag.counts.Invalid }))),
    foot);
  if (api) foot.append(removeButton(api, { id: tag.project_id, name: tag.name }, el, changed));
  return el;
}

const badge = (drawing, text) => h("span", { class: "badge" }, icon(drawing, 14), text);

/** The line that sends a file to a tag. */
export function curl(name, anonymous = false) {
  const key = anonymous ? "" : '-H "Authorization: Bearer $UPLOADBROKER_KEY" ';
  const line = `curl ${key}-T photo.jpg ${location.origin}/upload/${encodeURIComponent(name)}/`;
  return h("div", { class: "copied-line" }, h("pre", { tabindex: "0" }, h("code", {}, line)),
    iconButton("copy", t("common.copy"), () => copy(line), { class: "quiet" }));
}
