// Workers that hash, for uploadbroker.js.

const loadMillis = 60_000; // for a worker's two files

/**
 * Starts workers. room is how many files may be given at once: two to each, so that
 * none waits for the page. A worker that does not load, or breaks, is replaced once
 * before its files fail; dead says that none is left.
 *
 * @returns {{room: number, dead: boolean, sha1: (file: Blob) => Promise<string>, close: () => void}}
 */
export function hashers() {
  const count = Math.max(1, Math.min(4, (navigator.hardwareConcurrency ?? 2) - 1));
  const seats = Array.from({ length: count }, () => new Seat());
  let next = 0;
  return {
    room: 2 * count,
    get dead() { return seats.every((s) => s.broken); },
    sha1: (file) => {
      const whole = seats.filter((s) => !s.broken);
      return (whole[(next += 1) % whole.length] ?? seats[0]).sha1(file);
    },
    close: () => seats.forEach((s) => s.close()),
  };
}

/** The place of one worker, and the files that it has. */
class Seat {
  broken = "";

  #worker = null;
  #jobs = new Map();
  #next = 0;
  #spare = true;
  #loading = 0;

  constructor() { this.#start(); }

  sha1(file) {
    return new Promise((resolve, reject) => {
      if (this.broken) return reject(new Error(this.broken));
      const id = (this.#next += 1);
      this.#jobs.set(id, { file, resolve, reject });
      return this.#worker?.postMessage({ id, file });
    });
  }

  close() {
    clearTimeout(this.#loading);
    this.#worker?.terminate();
  }

  #start() {
    let worker;
    try {
      worker = this.#worker = start(new URL("./uploadbroker-sha1.js", import.meta.url));
    } catch (err) { // some browsers tell at once what a Content-Security-Policy forbids
      queueMicrotask(() => this.#broke(err.message));
      return;
    }
    this.#loading = setTimeout(() => this.#broke("its file does not come"), loadMillis);
    worker.onmessage = ({ data: { id, sha1, error } }) => {
      clearTimeout(this.#loading);
      const job = this.#jobs.get(id);
      if (!job) return; // it only says that it is there
      this.#jobs.delete(id);
      if (error) {
        job.reject(new Error(error));
      } else {
        this.#spare = true;
        job.resolve(sha1);
      }
    };
    worker.onerror = (e) => {
      e.preventDefault();
      if (worker === this.#worker) this.#broke(e.message || "its file can't be loaded, or a Content-Security-Policy forbids it");
    };
    for (const [id, { file }] of this.#jobs) worker.postMessage({ id, file });
  }

  #broke(why) {
    this.close();
    this.#worker = null;
    if (this.#spare) {
      this.#spare = false;
      this.#start();
      return;
    }
    this.broken = `the worker that reads files does not start: ${why}`;
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const { reject } of jobs) reject(new Error(this.broken));
  }
}

// Pages of other origins may import a module from here, but not start a worker of it:
// they start one of their own that imports it.
function start(url) {
  if (url.origin === location.origin) return new Worker(url, { type: "module" });
  const own = URL.createObjectURL(new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" }));
  return new Worker(own, { type: "module" });
}
