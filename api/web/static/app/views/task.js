// A project's reconstruction: start it now or when the images are checked, watch it,
// stop it, fetch what came out.
import { t } from "../i18n.js";
import { button, bytes, confirmDialog, count, dateTime, h, icon, problemText, replace, toastProblem } from "../ui.js";

const earlier = 10;

/** A page of its own, for who has no other place for it. */
export const mount = mountTask;

/**
 * Shows the newest reconstruction in an element, with what one may do. The answer's
 * update(task) and counts(counts) are for what is told live; without them it asks
 * while a task is under way.
 */
export async function mountTask(el, { api, pid, scopes, project }) {
  const may = !scopes || scopes.split(" ").includes("upload");
  let counts = project?.counts ?? null; // null: not told yet
  let tasks = [];
  let problem = "";
  let timer;
  const options = { type: "Native", expected: "" };
  await load();

  async function load() {
    tasks = (await api.get(`/projects/${pid}/tasks?limit=${earlier}`)).tasks;
    show();
  }

  function show() {
    clearTimeout(timer);
    const [task, ...others] = tasks;
    const active = task && (task.state === "Pending" || task.state === "Processing");
    // A stroke of what is told live must not take a person's focus away.
    const focus = el.contains(document.activeElement) ? document.activeElement.dataset.act : undefined;
    const opened = [...el.querySelectorAll("details[open]")].map((d) => d.dataset.part);
    replace(el, h("section", { class: "card task", "aria-labelledby": "task-title" },
      h("div", { class: "task-head" }, h("h2", { id: "task-title" }, t("task.title")),
        task && h("span", { class: "state", "data-state": task.state, role: "status" }, t(`task.state.${task.state}`))),
      task ? one(task, active) : h("p", { class: "sub" }, t("task.none")),
      problem && h("p", { class: "error", role: "alert" }, problem),
      may && (active ? stopping(task) : starting(task)),
      others.length > 0 && h("details", { "data-part": "others" }, h("summary", {}, t("task.earlier", { n: others.length })),
        h("ul", { class: "plain-list" }, others.map((o) => h("li", {},
          h("span", { class: "state", "data-state": o.state }, t(`task.state.${o.state}`)), " ", dateTime(o.created_at), cause(o), results(o)))))));
    for (const part of opened) el.querySelector(`details[data-part="${part}"]`)?.setAttribute("open", "");
    if (focus) el.querySelector(`[data-act="${focus}"]`)?.focus();
    if (active) timer = setTimeout(() => load().catch(() => { timer = setTimeout(show, 5000); }), 5000);
  }

  function one(task, active) {
    const percent = Math.floor(task.progress);
    return h("div", { class: "task-now" },
      active && task.state === "Processing" && h("div", { class: "task-progress" },
        h("progress", { max: 100, value: task.progress, "aria-label": t("task.progress") }), h("span", {}, `${count(percent)} %`)),
      h("p", { class: "sub" },
        active && t(`task.stage.${task.stage}`),
        task.images > 0 && [active && " · ", t("task.images", { n: task.images }), ` · ${bytes(task.bytes)}`],
        task.type !== "Native" && ` · ${t("task.type." + task.type)}`,
        task.ended_at ? [task.images > 0 && " · ", dateTime(task.ended_at)] : task.started_at && ` · ${t("task.since", { at: dateTime(task.started_at) })}`),
      cause(task), results(task));
  }

  function cause(task) {
    const fault = task.fault && t("task.fault", { name: task.fault.name, number: task.fault.number });
    return (task.cause || fault) && h("p", { class: task.state === "Failed" ? "error" : "sub" }, task.cause || fault);
  }

  function results(task) {
    return task.results.length > 0 && h("ul", { class: "results" }, task.results.map((r) => h("li", {},
      h("a", { href: r.url, download: r.name }, icon("download", 18), r.name), h("span", { class: "sub" }, bytes(r.size)))));
  }

  function stopping(task) {
    return h("div", { class: "task-actions" },
      task.state === "Pending" && button(t("task.now"), { onClick: () => start("now", task), dataset: { act: "now" } }),
      button(t(task.state === "Pending" ? "task.take_back" : "task.stop"), { kind: "quiet danger", onClick: () => stop(task), dataset: { act: "stop" } }));
  }

  function starting(task) {
    const unjudged = counts ? (counts.Uploading ?? 0) + (counts.Uploaded ?? 0) : 0;
    const ready = counts ? counts.Ready ?? 0 : 1;
    const type = h("select", { id: "task-type", onChange: (e) => { options.type = e.target.value; }, dataset: { act: "type" } },
      ["Native", "Dense"].map((v) => h("option", { value: v, selected: v === options.type }, t("task.type." + v))));
    const expected = h("input", { id: "task-expected", type: "number", min: 0, max: 2147483647, value: options.expected, inputmode: "numeric", onInput: (e) => { options.expected = e.target.value; }, dataset: { act: "expected" } });
    const why = unjudged > 0 ? t("task.unjudged", { n: unjudged }) : ready === 0 ? t("task.no_ready") : "";
    return [
      h("div", { class: "task-actions" },
        button(t(task ? "task.again" : "task.start"), { icon: "play", onClick: () => start("now"), disabled: why !== "", title: why || null, dataset: { act: "start" } }),
        button(t("task.settled"), { kind: "quiet", icon: "clock", onClick: () => start("settled"), dataset: { act: "settled" } })),
      why && h("p", { class: "sub" }, why),
      h("details", { "data-part": "options" }, h("summary", {}, t("task.options")),
        h("label", { for: "task-type" }, t("task.type")), type,
        h("label", { for: "task-expected" }, t("task.expected")), expected),
    ];
  }

  async function start(when, waiting) {
    const body = { type: waiting?.type ?? options.type, when };
    const expected = waiting ? waiting.expected : Number(options.expected);
    if (expected > 0) body.expected = expected;
    await act(() => api.post(`/projects/${pid}/tasks`, body));
  }

  async function stop(task) {
    if (task.state === "Processing" && !await confirmDialog({ title: t("task.stop_ask"), text: t("task.stop_what"), ok: t("task.stop"), danger: true })) return;
    await act(() => api.post(`/tasks/${task.id}/stop`));
  }

  async function act(call) {
    problem = "";
    for (const b of el.querySelectorAll(".task-actions button")) b.disabled = true;
    try {
      put(await call());
    } catch (err) {
      if (err?.name !== "Problem") toastProblem(err);
      problem = problemText(err);
      show();
    }
  }

  function put(task) {
    const i = tasks.findIndex((o) => o.id === task.id);
    if (i >= 0) tasks[i] = task;
    else tasks = [task, ...tasks].sort((a, b) => a.id < b.id ? 1 : -1);
    show();
  }

  return {
    update: put,
    counts(now) {
      const of = (c) => c && `${(c.Uploading ?? 0) + (c.Uploaded ?? 0)} ${(c.Ready ?? 0) > 0}`;
      const changed = of(now) !== of(counts);
      counts = now;
      if (changed && !tasks.some((o) => o.state === "Pending" || o.state === "Processing")) show();
    },
    end() { clearTimeout(timer); },
  };
}
