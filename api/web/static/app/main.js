// Opens the view that the server named in <main data-page>.
import { api } from "./api.js";
import { lang, t } from "./i18n.js";
import { notice, problemText, button, h, replace } from "./ui.js";

const root = document.getElementById("app");
const { page, pid = "", tag = "" } = root.dataset;

try {
  const view = await import(`./views/${page}.js`);
  await view.mount(root, { ...root.dataset, page, pid, tag, lang, t, api });
} catch (err) {
  if (err?.name !== "Problem") console.error(err);
  replace(root, notice({
    bad: true, heading: "h1", title: t(err?.status === 404 ? "common.absent" : "common.failed"), text: problemText(err),
    children: err?.status === 401
      ? [h("p", {}, h("a", { class: "button", href: "/sign-in?next=" + encodeURIComponent(location.pathname + location.search) }, t("common.sign_in")))]
      : [h("p", {}, button(t("common.again"), { kind: "quiet", onClick: () => location.reload() }))],
  }));
}
root.removeAttribute("aria-busy");
