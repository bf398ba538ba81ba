// One's projects, newest first, and how to make one. Tags have a page of their own.
import { removeButton } from "../removal.js";
import { button, dateTime, dialog, h, notice, problemText, replace, toastProblem } from "../ui.js";

const pageSize = 100;

export async function mount(root, { api, t, scopes = "", owner = "", pid: tied = "" }) {
  const can = (scope) => scopes.split(" ").includes(scope);
  const makes = can("upload") && !tied; // a key of one project makes no other
  const list = h("ul", { class: "projects" });
  const foot = h("p", { class: "more" });
  const empty = h("div", { hidden: true }, notice({
    title: !tied && t("home.none"), text: t(makes ? "home.none_how" : tied ? "home.none_tied" : "home.none_makes"),
    children: makes ? [h("pre", {}, h("code", {}, "uploadbroker upload DIR --new demo"))] : [],
  }));
  replace(root,
    h("div", { class: "place-head" },
      h("div", {}, h("h1", {}, t("home.title")), h("p", { class: "sub" }, t("home.of", { email: owner }))),
      makes && h("div", { class: "place-actions" }, button(t("home.new"), { icon: "plus", onClick: create }))));
  if (!can("read")) {
    root.append(notice({ title: t("home.blind"), text: t("home.blind_how") }));
    return;
  }
  root.append(list, empty, foot);
  await more("");

  async function more(cursor) {
    let page = { next_cursor: cursor };
    let projects = [];
    do { // a page may be all tags
      page = await api.get(`/projects?counts=true&limit=${pageSize}${page.next_cursor && "&cursor=" + page.next_cursor}`);
      projects = page.projects.filter((p) => !p.tag);
    } while (projects.length === 0 && page.next_cursor);
    list.append(...projects.map(item));
    some();
    replace(foot, page.next_cursor && button(t("home.more"), {
      kind: "quiet",
      onClick: (e) => { e.currentTarget.disabled = true; more(page.next_cursor).catch((err) => { toastProblem(err); e.target.closest("button").disabled = false; }); },
    }));
  }

  function some() { empty.hidden = list.children.length > 0; }

  function item(p) {
    const n = p.counts ?? {};
    const open = (n.Pending ?? 0) + (n.Uploading ?? 0) + (n.Uploaded ?? 0);
    const foot = h("div", { class: "foot" },
      h("span", {}, h("time", { datetime: p.created_at }, dateTime(p.created_at)), p.kind === "files" && ` · ${t("home.kind_files")}`));
    const el = h("li", {},
      h("div", {}, h("a", { href: `/projects/${p.id}` }, h("strong", {}, h("bdi", {}, p.name))), h("span", { class: "id" }, p.id)),
      h("div", { class: "counts" },
        !n.Ready && !open && !n.Invalid && h("span", { class: "none" }, t("home.no_images")),
        n.Ready > 0 && h("span", { class: "ready" }, t("home.ready", { n: n.Ready })),
        open > 0 && h("span", { class: "open" }, t("home.open", { n: open })),
        n.Invalid > 0 && h("span", { class: "invalid" }, t("home.invalid", { n: n.Invalid }))), foot);
    if (can("manage")) foot.append(removeButton(api, p, el, some));
    return el;
  }

  function create() {
    const name = h("input", { id: "project-name", name: "name", required: true, maxlength: 255, autocomplete: "off" });
    const kind = (value, label, text) => h("label", { class: "choice" },
      h("input", { type: "radio", name: "kind", value, checked: value === "recon" }), h("span", {}, label, h("small", {}, text)));
    const wrong = h("p", { class: "error", role: "alert", hidden: true });
    const form = h("form", { id: "new-project", onSubmit: send },
      h("label", { for: "project-name" }, t("home.name")), name,
      h("fieldset", {}, h("legend", {}, t("home.kind")),
        kind("recon", t("home.kind_recon"), t("home.kind_recon_what")), kind("files", t("home.kind_files"), t("home.kind_files_what"))), wrong);
    const ok = h("button", { form: "new-project" }, t("home.create"));
    const d = dialog({ title: t("home.new"), body: form, actions: [button(t("common.cancel"), { kind: "quiet", onClick: () => d.close() }), ok] });
    name.focus();

    async function send(e) {
      e.preventDefault();
      ok.disabled = true;
      try {
        const p = await api.post("/projects", { name: name.value, kind: new FormData(form).get("kind") });
        location.href = `/projects/${p.id}`;
      } catch (err) {
        wrong.textContent = problemText(err);
        wrong.hidden = false;
        ok.disabled = false;
      }
    }
  }
}
