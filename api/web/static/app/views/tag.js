// A tag: its files, sending some, all of them as one zip. Those without a session
// see it too where it is public.
import { mountGallery } from "../gallery/gallery.js";
import { liveLine, underWay } from "../live.js";
import { t } from "../i18n.js";
import { h, notice, replace, toastProblem } from "../ui.js";
import { curl } from "./tags.js";
import { zipLinks } from "./project.js";
import { mountSend } from "./tag-send.js";

export async function mount(root, ctx) {
  const { api, tag } = ctx;
  const can = (scope) => (ctx.scopes ?? "").split(/[\s,]+/).includes(scope);
  const here = `/tags/${encodeURIComponent(tag)}`;
  const about = await api.get(here);
  const pid = about.project_id || ctx.pid;
  document.title = `${tag} · uploadbroker`;
  const total = Object.values(about.counts ?? {}).reduce((a, b) => a + b, 0);
  const mine = can("manage") && about.own;

  const zip = zipLinks(api, about.own && can("read") ? pid : null, `${here}.zip`);
  const send = h("div", { class: "panel-upload" });
  const gallery = h("section", { "aria-label": t("gallery.images") });
  replace(root,
    h("div", { class: "place-head" },
      h("div", {}, h("h1", {}, h("bdi", {}, tag)),
        h("span", { class: "sub" }, [about.anonymous && t("tags.anonymous"), about.public && t("tags.public")].filter(Boolean).join(" · "))),
      h("div", { class: "place-actions" }, zip.el)),
    send, gallery,
    h("details", { class: "how" }, h("summary", {}, t("tags.send")), curl(tag, about.anonymous)));

  let uploader = null;
  const at = (img, what = "") => `/projects/${pid}/images/${img.id}${what}`;
  const images = mountGallery(gallery, {
    expected: total,
    pages: () => api.pages(`/projects/${pid}/images`, "images"),
    removed: mine ? () => api.pages(`/projects/${pid}/images?state=Removed`, "images") : null,
    thumb: (img) => api.url(at(img, "/thumbnail")),
    file: (img) => `${here}/files/${img.id}`,
    damaged: about.own && can("read") ? (img) => api.url(at(img, "/file?invalid=true")) : null,
    ...mine && {
      story: (img) => `/projects/${pid}/audit?image=${img.id}`,
      remove: (img) => api.del(at(img)),
      restore: (img) => api.post(at(img, "/undo")),
      accept: (img) => api.post(at(img, "/accept")),
    },
    empty: notice({ title: t("gallery.none"), text: t("gallery.none_why") }),
    onCounts: zip.show,
  });
  const live = liveLine(pid, {
    images: (list) => { images.put(list); uploader?.observe?.(list); },
    missed: () => images.reload(),
    busy: () => underWay(uploader?.uploader),
  });
  gallery.before(live.el);

  if (!(about.own && can("upload"))) {
    if (about.anonymous) mountSend(send, { tag });
  } else import("./upload.js").then(async (m) => { uploader = await m.mountUpload(send, { ...ctx, pid, kind: "files", onSignedIn: live.again }); }).catch(toastProblem);
}
