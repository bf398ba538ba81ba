// Who did what in a project, and with ?image= an image's whole story.
import { reason } from "../gallery/cell.js";
import { has } from "../i18n.js";
import { button, bytes, dateTime, h, icon, notice, problemText, replace, toastProblem } from "../ui.js";

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
    foot.replaceChildren(); // its cursor is of the other list
    more("").catch((err) => replace(foot, notice({ bad: true, text: problemText(err), action: t("common.again"), onAction: again })));
  }

  async function more(cursor) {
    const mine = ++turn;
    const q = new URLSearchParams({ limit: pageSize });
    if (cursor) q.set("cursor", cursor);
    if (action.value) q.set("action", action.value);
    if (since.value) q.set("since", new Date(`${since.value}T00:00`).toISOString());
    const page = await api.get(`/projects/${pid}/audit?${q}`).catch((err) => { if (mine === turn) throw err; });
    if (mine !== turn) return; // asked anew since
    lines.append(...page.audit.map((a) => h("li", {},
      h("time", { datetime: a.at }, dateTime(a.at, { seconds: true })),
      h("div", {}, h("strong", {}, word(t, a.action)), a.image && [" ", h("a", { href: `?image=${a.image.id}` }, h("bdi", {}, a.image.name || a.image.id))],
        h("span", { class: "who" }, who(t, a.who)), details(t, a.detail, a.action)))));
    if (!lines.children.length) replace(foot, notice({ title: t("audit.none") }));
    else replace(foot, page.next_cursor && button(t("audit.more"), {
      kind: "quiet",
      onClick: (e) => { e.currentTarget.disabled = true; more(page.next_cursor).catch((err) => { toastProblem(err); e.target.closest("button").disabled = false; }); },
    }));
  }
}

function who(t, a) {
  if (a.kind === "program") return t("audit.by_program");
  if (a.kind === "operator") return t("audit.by_operator");
  if (a.kind === "anybody") return t("audit.by_anybody");
  const key = a.key_name || (a.key_hint && `${a.key_hint}…`);
  return key ? t("audit.by_key", { email: a.email ?? a.owner, key }) : t("audit.by", { email: a.email ?? a.owner });
}

// What of an act's details means nothing to most: it is folded away. That somebody
// acted without a key, or as an operator, is said by whom it was done.
const folded = new Set(["etag", "sha1", "key", "filename", "by", "holder", "job", "try", "task", "class", "from_image", "from_project", "hint"]);
const untold = new Set(["operator", "anonymous"]);

/** What an act holds, small. */
function details(t, detail, action = "") {
  const keys = action.startsWith("key.");
  const label = (name) => t("audit.detail." + (name === "key" && !keys ? "filename" : name)); // an object's key is none to sign in with
  const parts = Object.entries(detail ?? {})
    .filter(([name, v]) => !untold.has(name) && !(name === "attempt" && v === 1) && v !== undefined && v !== null && v !== "" && !(Array.isArray(v) && v.length === 0));
  const away = parts.filter(([name]) => folded.has(name) && !(keys && name === "hint"));
  const seen = parts.filter((part) => !away.includes(part));
  return parts.length > 0 && h("div", { class: "detail" },
    seen.map(([name, v]) => [h("span", {}, label(name), " ", h("b", {}, plain(t, name, v))), " "]),
    away.length > 0 && h("details", {}, h("summary", {}, t("audit.detail_more")),
      away.map(([name, v]) => [h("span", {}, label(name), " ", h("code", {}, plain(t, name, v))), " "])));
}

/** A detail's value in words, where there are some for it. */
function plain(t, name, v) {
  if (Array.isArray(v)) return v.map((one, i) => [i > 0 && "; ", plain(t, name, one)]);
  const words = (...among) => { const key = among.find((k) => has(k)); return key ? t(key) : String(v); };
  switch (name) {
    case "size": return bytes(v);
    case "expires_at": return dateTime(v);
    case "proven": return t(v ? "audit.yes" : "audit.no");
    case "state": case "from": case "to": case "was": return words(`state.${v}`, `task.state.${v}`);
    case "kind": return words(`audit.kind.${v}`);
    case "type": return words(`task.type.${v}`);
    case "fault": return words(`audit.fault.${v}`);
    case "scopes": return words(`keys.scope.${v}`);
    case "reason": case "reasons": return why(t, v);
    case "why": case "cause": return h("span", { lang: "en" }, v);
    default: return typeof v === "object" ? JSON.stringify(v) : String(v);
  }
}

/** Why an image is Invalid; the figures are in English. */
function why(t, said) {
  const { code, text } = reason(said);
  if (!has("reason." + code)) return h("span", { lang: "en" }, said);
  return [t("reason." + code), text && ": ", text && h("span", { lang: "en" }, text)];
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
        (img.reasons ?? []).map((r) => h("span", { class: "detail" }, why(t, r)))),
      fact("attempt", img.attempt), fact("sha1", img.proven_sha1 || img.sha1), fact("size", (img.proven_size ?? img.size) !== undefined && bytes(img.proven_size ?? img.size)),
      fact("bucket", img.bucket), fact("etag", img.etag), fact("filename", `${pid}/${img.filename}`)) : h("p", { class: "sub" }, t("audit.gone_why")),
    h("h2", {}, t("audit.story")),
    trace.cut && h("p", { class: "sub" }, t("audit.cut")),
    h("ol", { class: "timeline" }, trace.story.map((s) => h("li", { class: s.state === "Invalid" || s.cause ? "bad" : s.state === "Ready" ? "good" : "" },
      h("time", { datetime: s.at }, dateTime(s.at, { seconds: true })),
      h("div", {}, h("strong", {}, word(t, s.what)), s.who && h("span", { class: "who" }, who(t, s.who)), s.cause && h("span", { class: "detail", lang: "en" }, s.cause),
        (s.reasons ?? []).map((r) => h("span", { class: "detail" }, why(t, r))),
        details(t, {
          attempt: s.attempt, state: s.state, bucket: s.bucket, kind: s.kind, expires_at: s.expires_at, size: s.size,
          etag: s.etag, sha1: s.sha1, filename: s.filename, holder: s.holder, job: s.job, try: s.try, failures: s.failures, ...s.detail,
        }, s.what))))),
    watching.length > 0 && [h("h2", {}, t("audit.watching")), h("ul", { class: "plain-list" }, watching.map((w) => h("li", { class: "card" },
      h("strong", {}, w.bucket), h("span", { class: "detail" }, t("audit.looks", { n: w.looks }),
        w.last_look && ` · ${t("audit.last_look", { at: dateTime(w.last_look, { seconds: true }) })}`,
        w.next_look && ` · ${t("audit.next_look", { at: dateTime(w.next_look, { seconds: true }) })}`),
      w.fault && h("span", { class: "detail error" }, w.fault))))]);

  function fact(name, v) {
    return v !== undefined && v !== "" && v !== false && [h("dt", {}, t("audit.detail." + name)), h("dd", {}, h("code", {}, v))];
  }
}
