// A project: bringing images in, its reconstruction, and the images themselves.
import { mountGallery } from "../gallery/gallery.js";
import { liveLine, underWay } from "../live.js";
import { bytes, copy, h, icon, iconButton, notice, replace, toastProblem } from "../ui.js";
import { t } from "../i18n.js";

export async function mount(root, ctx) {
  const { api, pid } = ctx;
  const can = (scope) => !ctx.scopes || ctx.scopes.split(/[\s,]+/).includes(scope);
  const project = await api.get(`/projects/${pid}`);
  document.title = `${project.name} · uploadbroker`;
  const at = (img, what = "") => api.url(`/projects/${pid}/images/${img.id}${what}`);

  const total = Object.values(project.counts ?? {}).reduce((a, b) => a + b, 0);
  const zip = zipLinks(api, pid);
  const upload = h("div", { class: "panel-upload" });
  const list = h("div", { class: "upload-apart", hidden: true }); // of files, as wide as both panels
  const task = h("div", { class: "panel-task" });
  const gallery = h("section", { "aria-label": t("gallery.images") });
  replace(root,
    h("div", { class: "place-head" },
      h("div", {}, h("h1", {}, h("bdi", {}, project.name)),
        h("span", { class: "id" }, pid, " ", iconButton("copy", t("project.copy_id"), () => copy(pid), { class: "small" }))),
      h("div", { class: "place-actions" }, zip.el,
        h("a", { class: "button quiet", href: `/projects/${pid}/audit` }, icon("story"), t("project.audit")))),
    h("div", { class: "panels" }, upload, list, task), gallery);

  let uploader = null;
  let tasks = null;
  const images = mountGallery(gallery, {
    expected: total,
    pages: () => api.pages(`/projects/${pid}/images`, "images"),
    removed: () => api.pages(`/projects/${pid}/images?state=Removed`, "images"),
    thumb: (img) => at(img, "/thumbnail"),
    file: (img) => at(img, "/file"),
    damaged: (img) => at(img, "/file?invalid=true"),
    story: (img) => `/projects/${pid}/audit?image=${img.id}`,
    ...can("manage") && {
      remove: (img) => api.del(`/projects/${pid}/images/${img.id}`),
      restore: (img) => api.post(`/projects/${pid}/images/${img.id}/undo`),
      accept: (img) => api.post(`/projects/${pid}/images/${img.id}/accept`),
    },
    empty: notice({ title: t("gallery.none"), text: t("gallery.none_why") }),
    onCounts: zip.show,
  });
  const live = liveLine(pid, {
    images: (list) => { images.put(list); uploader?.observe?.(list); },
    counts: (counts) => tasks?.counts?.(counts),
    task: (now) => tasks?.update?.(now),
    missed: () => images.reload(),
    busy: () => underWay(uploader?.uploader),
  });
  gallery.before(live.el);

  // What is missing in these must not keep the images from being seen.
  const parts = [import("./upload.js").then(async (m) => { uploader = await m.mountUpload(upload, { ...ctx, kind: project.kind, onSignedIn: live.again, list: project.kind === "recon" ? list : null }); })];
  if (project.kind === "recon") {
    parts.push(import("./task.js").then(async (m) => { tasks = await m.mountTask(task, { ...ctx, project }); }));
  }
  for (const part of parts) part.catch(toastProblem);
}

/** The link to the zip of all that is Ready, and with a pid one to give away. */
export function zipLinks(api, pid, href = api.url(`/projects/${pid}/zip`)) {
  const size = h("span", { class: "visually-hidden" });
  const link = h("a", { class: "button", href, download: "" }, icon("download"), t("gallery.download_all"), size);
  const share = iconButton("link", t("gallery.copy_zip"), async () => {
    try {
      copy((await api.post(`/projects/${pid}/zip/link`, {})).url);
    } catch (err) { toastProblem(err); }
  }, { class: "quiet" });
  const el = h("div", { class: "zip-links", hidden: true }, link, pid && share);
  return {
    el,
    show({ Ready, readyBytes }) {
      el.hidden = Ready === 0;
      link.title = t("gallery.download_all_n", { n: Ready, size: bytes(readyBytes) });
      size.textContent = ` (${link.title})`;
    },
  };
}
