// What changes in a project, told by the server as it happens.

const againMS = 5000;   // when the server refused; a line that broke, the browser mends by itself
const mostMS = 120_000; // between two tries
const hiddenMS = 60_000; // a page that nobody sees gives its line back: a browser has few

/**
 * Follows a project. on has images(list), counts(counts), task(task), state(whether
 * it is told live now), ended() when it will not be told any more, missed() when
 * something may have happened untold, and busy(): whether to stay though nobody
 * looks. Each may be missing. Returns how to end it.
 */
export function follow(pid, on) {
  let source;
  let timer;
  let away = false; // gave the line back
  let refused = 0;  // times in a row
  const tell = (name) => (e) => on[name]?.(JSON.parse(e.data));

  function open() {
    source = new EventSource(`/page/events/${pid}`);
    for (const name of ["images", "counts", "task"]) source.addEventListener(name, tell(name));
    // The session ended, or the project did: to come again is of no use.
    source.addEventListener("end", () => { close(); on.ended?.(); });
    source.addEventListener("open", () => {
      on.state?.(true);
      if (refused) on.missed?.();
      refused = 0;
    });
    source.addEventListener("error", () => {
      on.state?.(false);
      if (source.readyState !== EventSource.CLOSED) return;
      const pause = Math.min(againMS * 2 ** refused++, mostMS);
      timer = setTimeout(open, pause * (0.75 + Math.random() / 2));
    });
  }

  function look() {
    if (!document.hidden) {
      if (away) {
        away = false;
        open();
        on.missed?.();
      } else if (source.readyState !== EventSource.CLOSED) clearTimeout(timer);
      return;
    }
    if (source.readyState === EventSource.CLOSED) return;
    timer = setTimeout(() => {
      if (on.busy?.()) return look();
      source.close();
      away = true;
    }, hiddenMS);
  }

  function close() {
    clearTimeout(timer);
    source.close();
    document.removeEventListener("visibilitychange", look);
  }

  document.addEventListener("visibilitychange", look);
  open();
  return close;
}
