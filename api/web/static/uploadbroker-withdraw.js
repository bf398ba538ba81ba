// Takes images back whose bytes will not come, for uploadbroker.js: until its grants end
// the server counts such a one among those on their way.

import { Problem } from "./uploadbroker-server.js";

const atOnce = 4;
const tries = 3;

/** The images that are being taken back, a few at a time. */
export class Withdrawals {
  #server;
  #over;
  #queue = [];
  #leaving = new Set(); // digests of all of them
  #running = 0;
  #never = new AbortController().signal; // also when the uploader is closed

  /** To be given the server, and whom to tell that one is over. */
  constructor({ server, over }) {
    this.#server = server;
    this.#over = over;
  }

  /** Whether an image of these bytes is leaving: to register them now would give that one. */
  has(sha1) { return this.#leaving.has(sha1); }

  add(image) {
    this.#queue.push(image);
    this.#leaving.add(image.sha1);
    if (this.#running < atOnce) this.#run();
  }

  async #run() {
    this.#running++;
    for (let image; (image = this.#queue.shift());) {
      try {
        await this.#remove(image);
      } catch (err) {
        // A key without the scope manage may take none back.
        if (err.status === 401 || err.status === 403) for (const { sha1 } of this.#queue.splice(0)) this.#leaving.delete(sha1);
      }
      this.#leaving.delete(image.sha1);
      this.#over();
    }
    this.#running--;
  }

  async #remove({ id }) {
    for (let n = 1; ; n++) {
      try {
        return await this.#server.call(`images/${encodeURIComponent(id)}`, undefined, this.#never, "DELETE");
      } catch (err) {
        if (!(err instanceof Problem) || !err.passes || n === tries) throw err;
        const wait = Math.max(1000 * n, err.retryAfterSeconds * 1000);
        await new Promise((done) => setTimeout(done, wait));
      }
    }
  }
}
