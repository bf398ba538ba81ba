// Opens the view that the server named in <main data-page>.
//
// What it needs is imported only here, so that a module that does not come, or is of
// another version than the rest since the server was started anew at this moment, is
// said (by the shell's own words: there may be no others) and no blank page.
const root = document.getElementById("app");
const { page, pid = "", tag = "" } = root.dataset;
const load = (name) => import(name).catch((err) => { throw new Error(`${name} could not be loaded`, { cause: err }); });

async function open() {
  const all = await Promise.all(["./api.js", "./i18n.js", "./ui.js", `./views/${page}.js`].map(load)).catch((err) => {
    console.warn(err);
    document.getElementById("stale").classList.add("now");
  });
  if (!all) return;
  const [{ api }, { lang, t }, { notice, problemText, button, h, replace }, view] = all;
  try {
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
}

await open();
root.removeAttribute("aria-busy");
