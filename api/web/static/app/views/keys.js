// One's keys: make one, show its secret once, end it.
import { button, confirmDialog, copy, dateTime, dialog, h, notice, problemText, replace, toast, toastProblem } from "../ui.js";

const day = 24 * 60 * 60;
const lifetimes = { 0: "never", [day]: "day", [30 * day]: "month", [365 * day]: "year" };

export async function mount(root, { api, t, scopes = "" }) {
  const own = scopes.split(" ").filter(Boolean);
  const body = h("tbody");
  const table = h("div", { class: "scroll" }, h("table", { class: "stack" },
    h("thead", {}, h("tr", {}, ["key", "scopes", "for", "used", "expires"].map((c) => h("th", { scope: "col" }, t("keys." + c))),
      h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, t("keys.acts"))))), body));
  const ended = h("label", { class: "choice", hidden: true });
  replace(root,
    h("div", { class: "place-head" },
      h("div", {}, h("h1", {}, t("keys.title")), h("p", { class: "sub" }, t("keys.about"))),
      own.includes("manage") && h("div", { class: "place-actions" }, button(t("keys.new"), { icon: "plus", onClick: create }))));
  if (!own.includes("manage")) {
    root.append(notice({ title: t("keys.blind"), text: t("keys.blind_how") }));
    return;
  }
  root.append(table, ended);
  let keys = (await api.get("/keys")).keys;
  const names = new Map();
  if (own.includes("read")) {
    // Names are a help; without them the id is shown.
    await api.get("/projects?limit=1000").then((page) => page.projects.forEach((p) => names.set(p.id, p.name)), () => {});
  }
  let all = false;
  show();

  function show() {
    replace(body, keys.filter((k) => k.live || all).map(row));
    const n = keys.filter((k) => !k.live).length;
    ended.hidden = n === 0;
    replace(ended, h("input", { type: "checkbox", checked: all, onChange: (e) => { all = e.target.checked; show(); } }), h("span", {}, t("keys.show_ended", { n })));
  }

  function row(k) {
    const cell = (name, ...children) => h("td", { "data-label": t("keys." + name) }, h("div", {}, ...children));
    const state = k.revoked_at ? t("keys.ended_at", { at: dateTime(k.revoked_at) }) : !k.live ? t("keys.expired_at", { at: dateTime(k.expires_at) }) :
      k.expires_at ? dateTime(k.expires_at) : t("keys.never");
    return h("tr", { class: k.live ? "" : "ended" },
      h("th", { scope: "row" }, h("span", { class: "named" }, h("bdi", {}, k.name || t("keys.unnamed")), k.current && h("span", { class: "badge" }, t("keys.this_one"))), h("span", { class: "id" }, `${k.hint}…`)),
      cell("scopes", k.scopes.map((s) => h("span", { class: "chip" }, t("keys.scope." + s)))),
      cell("for", k.project_id ? h("a", { href: `/projects/${k.project_id}` }, h("bdi", {}, names.get(k.project_id) ?? k.project_id)) : t("keys.all_projects"),
        k.clouds.length > 0 && h("span", { class: "id" }, k.clouds.join(", "))),
      cell("used", k.last_used_at ? dateTime(k.last_used_at) : t("keys.never_used")),
      cell("expires", state),
      h("td", { class: "actions" }, k.live && mayEnd(k) && button(t("keys.end"), {
        kind: "quiet danger", onClick: () => end(k), "aria-label": t("keys.end_named", { name: k.name || `${k.hint}…` }),
      })));
  }

  // One that may more than one's own, the server lets nobody end by it.
  function mayEnd(k) { return k.current || k.scopes.every((s) => own.includes(s)); }

  async function end(k) {
    const name = k.name || `${k.hint}…`;
    if (!await confirmDialog({ title: t("keys.end_ask", { name }), text: t(k.current ? "keys.end_own" : "keys.end_what"), ok: t("keys.end"), danger: true })) return;
    try {
      const now = await api.del(`/keys/${k.id}`);
      if (k.current) {
        location.href = "/sign-in";
        return;
      }
      keys = keys.map((other) => other.id === now.id ? now : other);
      show();
      toast(t("keys.is_ended", { name }));
    } catch (err) { toastProblem(err); }
  }

  function create() {
    const name = h("input", { id: "key-name", name: "name", maxlength: 255, autocomplete: "off", placeholder: t("keys.name_such") });
    const wrong = h("p", { class: "error", role: "alert", hidden: true });
    const project = h("select", { id: "key-project", name: "project" }, h("option", { value: "" }, t("keys.all_projects")),
      [...names].map(([id, title]) => h("option", { value: id }, title)));
    const expires = h("select", { id: "key-expires", name: "expires" }, Object.entries(lifetimes).map(([s, word]) => h("option", { value: s }, t("keys.life." + word))));
    const form = h("form", { id: "new-key", onSubmit: send },
      h("label", { for: "key-name" }, t("keys.name")), name,
      h("fieldset", {}, h("legend", {}, t("keys.scopes")), own.map((s) => h("label", { class: "choice" },
        h("input", { type: "checkbox", name: "scope", value: s, checked: s === "read" || s === "upload" }),
        h("span", {}, t("keys.scope." + s), h("small", {}, t(`keys.scope.${s}.what`)))))),
      names.size > 0 && [h("label", { for: "key-project" }, t("keys.for")), project],
      h("label", { for: "key-expires" }, t("keys.expires")), expires, wrong);
    const ok = h("button", { form: "new-key" }, t("keys.create"));
    const d = dialog({ title: t("keys.new"), body: form, actions: [button(t("common.cancel"), { kind: "quiet", onClick: () => d.close() }), ok] });
    name.focus();

    async function send(e) {
      e.preventDefault();
      const chosen = new FormData(form);
      const wanted = { name: name.value, scopes: chosen.getAll("scope") };
      if (wanted.scopes.length === 0) {
        wrong.textContent = t("keys.no_scope");
        wrong.hidden = false;
        return;
      }
      if (chosen.get("project")) wanted.project_id = chosen.get("project");
      if (Number(expires.value)) wanted.expires_in = Number(expires.value);
      ok.disabled = true;
      try {
        const { secret, ...k } = await api.post("/keys", wanted);
        d.close();
        keys = [k, ...keys];
        show();
        reveal(secret, k);
      } catch (err) {
        wrong.textContent = problemText(err);
        wrong.hidden = false;
        ok.disabled = false;
      }
    }
  }

  function reveal(secret, k) {
    const command = `uploadbroker upload --server ${location.origin} --key ${secret} DIR --new demo`;
    const d = dialog({
      title: t("keys.made"), wide: true, stays: true,
      body: [
        h("p", {}, t("keys.once")),
        h("p", { class: "secret" }, h("code", { id: "key-secret" }, secret), button(t("common.copy"), { kind: "quiet", onClick: () => copy(secret) })),
        k.scopes.includes("upload") && k.scopes.includes("read") && !k.project_id && [h("p", {}, t("keys.use")), h("pre", { tabindex: "0" }, h("code", {}, command))],
      ],
      actions: [button(t("keys.kept"), { onClick: () => d.close() })],
    });
  }
}
