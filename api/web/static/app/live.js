// What changes in a project, told by the server as it happens.
import { checkSession } from "./api.js";
import { t } from "./i18n.js";
import { h, replace } from "./ui.js";

const againMS = 5000;   // when the server refused; a line that broke, the browser mends by itself
const mostMS = 120_000; // between two tries
// A page that nobody sees gives its line back: over HTTP/1.1 a browser has six to a
// server for all its pages together.
const hiddenMS = 5000;

/**
 * Follows a project. on has images(list), counts(counts), task(task), state(whether
 * it is told live now), ended() when it will not be told any more, missed() when
 * something may have happened untold, and busy(): whether to stay though nobody
 * looks. Each may be missing. Returns how to end it.
 */
export function follow(pid, on) {
  let source = null;
  let last = "";    // the number of the last event: what came after it is told next
  let refused = 0;  // times in a row
  let away = false; // gave the line back
  let again, rest;  // timers

  function open() {
    const unsure = source && !last; // of what happened between the two lines
    const mine = source = new EventSource(`/page/events/${pid}${last && "?last=" + last}`);
    for (const name of ["images", "counts", "task"]) {
      mine.addEventListener(name, (e) => {
        last = e.lastEventId || last;
        on[name]?.(JSON.parse(e.data));
      });
    }
    // Too much happened since the last event to be told.
    mine.addEventListener("reload", () => on.missed?.());
    // The session ended, or the project did: to come again is of no use.
    mine.addEventListener("end", () => { close(); on.ended?.(); checkSession(); });
    mine.addEventListener("open", () => {
      on.state?.(true);
      if (unsure) on.missed?.();
      refused = 0;
    });
    mine.addEventListener("error", () => {
      on.state?.(false);
      if (mine.readyState !== EventSource.CLOSED) return;
      const pause = Math.min(againMS * 2 ** refused++, mostMS);
      again = setTimeout(open, pause * (0.75 + Math.random() / 2));
      checkSession(); // the browser does not tell why it was refused
    });
  }

  function leave() {
    if (on.busy?.()) {
      rest = setTimeout(leave, hiddenMS);
      return;
    }
    clearTimeout(again);
    source.close();
    away = true;
  }

  function look() {
    clearTimeout(rest);
    if (document.hidden) rest = setTimeout(leave, hiddenMS);
    else if (away) {
      away = false;
      open();
    }
  }

  function close() {
    clearTimeout(again);
    clearTimeout(rest);
    source.close();
    document.removeEventListener("visibilitychange", look);
  }

  document.addEventListener("visibilitychange", look);
  open();
  look();
  return close;
}

/**
 * Follows a project for as long as the page is there; on is as follow's, less state and
 * ended, for el says that. again() is for when somebody signed in again, in another tab,
 * while this one had something under way.
 */
export function liveLine(pid, on) {
  const el = h("p", { class: "sub", role: "status", hidden: true });
  let end = begin();
  addEventListener("pagehide", () => end());
  addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });

  function begin() {
    replace(el, t("project.not_live"));
    return follow(pid, {
      ...on,
      state: (live) => { el.hidden = live; },
      ended: () => { el.hidden = false; replace(el, t("project.ended"), " ", h("a", { href: location.href }, t("common.again"))); },
    });
  }

  function again() {
    end();
    end = begin();
    on.missed?.();
  }
  return { el, again };
}

/** Whether an Uploader of uploadbroker.js still has something on its way. */
export function underWay(uploader) {
  const { ready, invalid, failed, removed, ...open } = uploader?.totals.states ?? {};
  return Object.values(open).some((n) => n > 0);
}
