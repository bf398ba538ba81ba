// Waits that can be cut short, for uploadbroker.js.

/** All that now wait for a better time. */
export class Naps {
  #open = new Set();

  /**
   * Waits so long, or until wake, but then at least the second time. Tells whether it
   * was woken.
   *
   * @returns {Promise<boolean>}
   */
  nap(millis, leastMillis = 0) {
    return new Promise((resolve) => {
      const nap = { least: performance.now() + leastMillis, timer: 0, end: null };
      nap.end = (woken) => {
        clearTimeout(nap.timer);
        this.#open.delete(nap);
        resolve(woken);
      };
      nap.timer = setTimeout(nap.end, Math.max(millis, leastMillis), false);
      this.#open.add(nap);
    });
  }

  /** Ends every wait as soon as may be. */
  wake() {
    for (const nap of [...this.#open]) {
      clearTimeout(nap.timer);
      const rest = nap.least - performance.now();
      if (rest > 0) nap.timer = setTimeout(nap.end, rest, true);
      else nap.end(true);
    }
  }

  /** Lets all who wait wait for ever. */
  close() {
    for (const { timer } of this.#open) clearTimeout(timer);
    this.#open.clear();
  }
}
