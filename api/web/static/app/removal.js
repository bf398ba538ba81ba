// Deleting a project or a tag, which is one of its kind, after a question; and back.
import { t } from "./i18n.js";
import { confirmDialog, iconButton, toast, toastProblem } from "./ui.js";

/** A button that deletes the project whose item of a list is el; changed() follows both ways. */
export function removeButton(api, { id, name }, el, changed = () => {}) {
  async function remove() {
    if (!await confirmDialog({ title: t("home.remove_ask", { name }), text: t("home.remove_what"), ok: t("home.remove_ok"), danger: true })) return;
    try {
      await api.del(`/projects/${id}`);
    } catch (err) { toastProblem(err); return; }
    const list = el.parentNode;
    const before = el.nextSibling;
    el.remove();
    changed();
    toast(t("home.removed", { name }), {
      action: t("common.undo"), seconds: 20,
      onAction: async () => {
        try {
          await api.post(`/projects/${id}/undo`);
          list.insertBefore(el, before?.parentNode === list ? before : null);
          changed();
        } catch (err) { toastProblem(err); }
      },
    });
  }
  return iconButton("trash", t("home.remove", { name }), remove, { class: "small" });
}
