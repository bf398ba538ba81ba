// Who did what in a project, and with ?image= an image's whole story.
import { has } from "../i18n.js";
import { button, bytes, dateTime, h, icon, notice, replace, toastProblem } from "../ui.js";

const pageSize = 100;
// All of them: a test of the server's compares.
const actions = [
  "image.register", "image.regrant", "image.spare", "image.copy", "image.receive", "image.start", "image.done", "image.seen",
  "image.judge", "image.recheck", "image.expire", "image.accept", "image.remove", "image.undo", "image.sweep", "image.sweep.kept", "image.final",
  "task.start", "task.prestart", "task.fire", "task.wait", "task.stop", "task.done", "task.failed",
  "project.create", "project.link", "project.remove", "project.undo", "project.sweep", "project.sweep.kept", "project.final",
  "key.create", "key.revoke",
];

export async function mount(root, ctx) {
  const image = new URLSearchParams(location.search).get("image");
  await (image ? story(root, ctx, image) : audit(root, ctx));
}

const word = (t, action) => has("audit." + action) ? t("audit." + action) : action;

async function audit(root, { api, t, pid }) {
  // Of a project that was removed the audit can still be read, but nothing else.
  const project = await api.get(`/projects/${pid}`).catch(() => null);
  const query = new URLSearchParams(location.search);
  const lines = h("ol", { class: "timeline" });
  const foot = h("p", { class: "more" });
  const action = h("select", { id: "audit-action", onChange: again }, h("option", { value: "" }, t("audit.all")), actions.map((a) => h("option", { value: a }, word(t, a))));
  const since = h("input", { id: "audit-since", type: "date", onChange: again });
  action.value = query.get("action") ?? "";
  since.value = query.get("since") ?? "";
  replace(root,
    h("p", { class: "back" }, h("a", { href: project ? `/projects/${pid}` : "/" }, icon("left", 16), project ? h("bdi", {}, project.name) : t("audit.projects"))),
    h("h1", {}, t("audit.title")), h("p", { class: "sub" }, t("audit.about")),
    h("div", { class: "filters" },
      h("div", {}, h("label", { for: "audit-action" }, t("audit.action")), action),
      h("div", {}, h("label", { for: "audit-since" }, t("audit.since")), since)),
    lines, foot);
  let turn = 0;
  await more("");

  function again() {
    const q = new URLSearchParams();
    if (action.value) q.set("action", action.value);
    if (since.value) q.set("since", since.value);
    history.replaceState(null, "", q.size ? `?${q}` : location.pathname);
    lines.replaceChildren();
    more("").catch(toastProblem);
  }

  async function more(cursor) {
    const mine = ++turn;
    const q = new URLSearchParams({ limit: pageSize });
    if (cursor) q.set("cursor", cursor);
    if (action.value) q.set("action", action.value);
    if (since.value) q.set("since", new Date(`${since.value}T00:00`).toISOString());
    const page = await api.get(`/projects/${pid}/audit?${q}`);
    if (mine !== turn) return; // asked anew since
    lines.append(...page.audit.map((a) => h("li", {},
      h("time", { datetime: a.at }, dateTime(a.at, { seconds: true })),
      h("div", {}, h("strong", {}, word(t, a.action)), a.image && [" ", h("a", { href: `?image=${a.image.id}` }, h("bdi", {}, a.image.name || a.image.id))],
        h("span", { class: "who" }, who(t, a.who)), details(t, a.detail, a.action)))));
    if (!lines.children.length) replace(foot, notice({ title: t("audit.none") }));
    else replace(foot, page.next_cursor && button(t("audit.more"), { kind: "quiet", onClick: (e) => { e.currentTarget.disabled = true; more(page.next_cursor).catch(toastProblem); } }));
  }
}

function who(t, a) {
  if (a.kind === "program") return t("audit.by_program");
  if (a.kind === "operator") return t("audit.by_operator");
  const key = a.key_name || (a.key_hint && `${a.key_hint}…`);
  return key ? t("audit.by_key", { email: a.email ?? a.owner, key }) : t("audit.by", { email: a.email ?? a.owner });
}

/** What an act holds, small. */
function details(t, detail, action = "") {
  const label = (name) => {
    if (name === "key" && !action.startsWith("key.")) name = "filename"; // an object's
    return has("audit.detail." + name) ? t("audit.detail." + name) : name;
  };
  const parts = Object.entries(detail ?? {}).filter(([, v]) => v !== undefined && v !== null && v !== "" && !(Array.isArray(v) && v.length === 0));
  return parts.length > 0 && h("span", { class: "detail" }, parts.map(([name, v]) => [
    h("span", {}, label(name), " ", h("code", {}, Array.isArray(v) ? v.join(", ") : typeof v === "object" ? JSON.stringify(v) : name === "size" ? bytes(v) : String(v))), " ",
  ]));
}

async function story(root, { api, t, pid }, id) {
  const trace = await api.get(`/images/${encodeURIComponent(id)}/trace`);
  const img = trace.image;
  const watching = trace.watching ?? [];
  replace(root,
    h("p", { class: "back" }, h("a", { href: location.pathname }, icon("left", 16), t("audit.title"))),
    h("h1", { class: "file-name" }, h("bdi", {}, img?.name ?? t("audit.gone"))), h("span", { class: "id" }, id),
    img ? h("dl", { class: "facts card" },
      h("dt", {}, t("audit.state")), h("dd", {}, h("span", { class: "state", "data-state": img.state }, t("state." + img.state)),
        (img.reasons ?? []).map((r) => h("span", { class: "detail" }, r))),
      fact("attempt", img.attempt), fact("sha1", img.proven_sha1 || img.sha1), fact("size", (img.proven_size ?? img.size) !== undefined && bytes(img.proven_size ?? img.size)),
      fact("bucket", img.bucket), fact("etag", img.etag), fact("filename", `${pid}/${img.filename}`)) : h("p", { class: "sub" }, t("audit.gone_why")),
    h("h2", {}, t("audit.story")),
    trace.cut && h("p", { class: "sub" }, t("audit.cut")),
    h("ol", { class: "timeline" }, trace.story.map((s) => h("li", { class: s.state === "Invalid" || s.cause ? "bad" : s.state === "Ready" ? "good" : "" },
      h("time", { datetime: s.at }, dateTime(s.at, { seconds: true })),
      h("div", {}, h("strong", {}, word(t, s.what)), s.who && h("span", { class: "who" }, who(t, s.who)), s.cause && h("span", { class: "detail" }, s.cause),
        (s.reasons ?? []).map((r) => h("span", { class: "detail" }, r)),
        details(t, {
          attempt: s.attempt, state: s.state, bucket: s.bucket, kind: s.kind, expires_at: s.expires_at && dateTime(s.expires_at), size: s.size,
          etag: s.etag, sha1: s.sha1, filename: s.filename, holder: s.holder, job: s.job, try: s.try, ...s.detail,
        }))))),
    watching.length > 0 && [h("h2", {}, t("audit.watching")), h("ul", { class: "plain-list" }, watching.map((w) => h("li", { class: "card" },
      h("strong", {}, w.bucket), h("span", { class: "detail" }, t("audit.looks", { n: w.looks }),
        w.last_look && ` · ${t("audit.last_look", { at: dateTime(w.last_look, { seconds: true }) })}`,
        w.next_look && ` · ${t("audit.next_look", { at: dateTime(w.next_look, { seconds: true }) })}`),
      w.fault && h("span", { class: "detail error" }, w.fault))))]);

  function fact(name, v) {
    return v !== undefined && v !== "" && v !== false && [h("dt", {}, t("audit.detail." + name)), h("dd", {}, h("code", {}, v))];
  }
}
