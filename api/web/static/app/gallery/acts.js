// What can be done to images: deleting, taking that back, keeping damaged ones.
import { t } from "../i18n.js";
import { confirmDialog, problemText, toast, toastProblem } from "../ui.js";

const atOnce = 4; // calls under way: a browser has six lines to a server, one of which tells what is live
const tellFrom = 40; // so many take a while, and are told of

/**
 * The acts of a source (see gallery.js) on a model of images; those that the source
 * lacks are null. What is shown changes at once, and back where it is refused.
 *
 * A deletion is sent at once and taken back by a call of its own: the server keeps
 * what is deleted for ten minutes. A page that is closed in the middle has deleted
 * what it had sent; the rest is as it was.
 */
export function actsOn(images, source) {
  const { remove, restore, accept } = source;

  // Calls for each image, and tells how it ended: [done as they are now, number refused].
  async function each(list, call, meanwhile, text) {
    const before = new Map(list.map((img) => [img.id, images.get(img.id) ?? img]));
    if (meanwhile) images.put([...before.values()].map((img) => ({ ...img, state: meanwhile })), { soon: true });
    const waiting = [...before.values()].reverse();
    const done = [];
    const refused = [];
    let first = null; // why
    let stopped = false;
    const close = list.length >= tellFrom ? toast(t(text, { n: 0, of: list.length }), { seconds: 0, action: t("gallery.stop"), onAction: () => { stopped = true; } }) : null;
    async function worker() {
      for (let img; !stopped && (img = waiting.pop());) {
        try {
          done.push(await call(img));
        } catch (err) {
          first ??= err;
          refused.push(img);
          // What is wrong with the session or the server is so for all of them.
          if (!(err.status >= 404 && err.status < 429)) stopped = true;
        }
        close?.say(t(text, { n: done.length, of: list.length }));
      }
    }
    await Promise.all(Array.from({ length: Math.min(atOnce, list.length) }, worker));
    close?.();
    refused.push(...waiting);
    if (meanwhile) images.put(refused, { soon: true });
    images.put(done, { soon: true });
    if (first && list.length === 1) toastProblem(first);
    else if (first) toast(t("gallery.refused", { n: refused.length, why: problemText(first) }), { bad: true, seconds: 14 });
    return done;
  }

  const told = (key, list, options) => {
    if (list.length) toast(list.length === 1 ? t(`gallery.${key}`, { name: list[0].name }) : t(`gallery.${key}_many`, { n: list.length }), options);
  };

  const restoreAll = restore && (async (list) => {
    told("restored", await each(list, restore, null, "gallery.restoring"), { seconds: 4 });
  });
  const removeAll = remove && (async (list) => {
    const done = await each(list, remove, "Removed", "gallery.deleting");
    told("deleted", done, restore && { action: t("common.undo"), onAction: () => restoreAll(done), seconds: 12 });
  });
  const acceptAll = accept && (async (list) => {
    if (!await confirmDialog({
      title: t("gallery.accept_title", { n: list.length }), text: t("gallery.accept_text"), ok: t("gallery.accept"),
    })) return false;
    told("accepted_done", await each(list, accept, null, "gallery.accepting"));
    return true;
  });
  const one = (act) => act && ((img) => act([img]));
  return { restoreAll, removeAll, acceptAll, restore: one(restoreAll), remove: one(removeAll), accept: one(acceptAll) };
}
