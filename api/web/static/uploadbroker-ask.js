// Asks the server about files in batches, for uploadbroker.js: registers them, renews
// their grants, tells that they arrived, and asks for their verdicts.

import { Problem } from "./uploadbroker-server.js";

const maxBatch = 500;

/** Whether a refusal stands in the way of everything: nobody is signed in, or the project is gone. */
const stopsAll = (err) => err.status === 401 || err.code === "not_found";

/** How long to wait even when somebody says to go on. */
const leastOf = (err) => (err.status === 429 ? err.retryAfterSeconds * 1000 : 0);

/** The server's answers, written into the ledger. */
export class Asker {
  #ledger;
  #server;
  #options;
  #pump;
  #naps;
  #withdrawals;
  #closed;
  #batch = maxBatch;
  #hinting = false;
  #stopped = false; // until somebody says to go on
  #polling = false;
  #pollMillis = 1000;
  #pollLeast = 0; // what the server wants

  /** To be given the Uploader's own, and a signal that ends every call. */
  constructor({ ledger, server, options, pump, naps, withdrawals, closed }) {
    this.#ledger = ledger;
    this.#server = server;
    this.#options = options;
    this.#pump = pump;
    this.#naps = naps;
    this.#withdrawals = withdrawals;
    this.#closed = closed;
  }

  async register() {
    const { queue } = this.#ledger;
    const items = [];
    for (const it of queue.register.splice(0, this.#batch)) (this.#withdrawals.has(it.sha1) ? queue.held : items).push(it);
    if (!items.length) return;
    const images = items.map((it) => ({ name: it.name, sha1: it.sha1, size: it.size, type: it.file.type || undefined }));
    const answer = await this.#ask("images/register", { bucket: this.#options.bucket || undefined, images }, items, queue.register);
    answer?.results.forEach((result, i) => this.#answered(items[i], result));
  }

  async renew() {
    const { queue } = this.#ledger;
    const items = queue.renew.splice(0, this.#batch);
    const ids = items.map((it) => it.image.id);
    const answer = await this.#ask("images/regrant", { bucket: this.#options.bucket || undefined, ids }, items, queue.renew);
    answer?.results.forEach((result, i) => {
      const it = items[i];
      if (result.status === "problem" && result.image?.state === "Invalid" && !it.gone) {
        this.#ledger.link(it, result.image);
        this.#ledger.again(it);
      } else {
        this.#answered(it, result);
      }
    });
  }

  #answered(it, { status, image, grant, problem }) {
    if (it.gone) {
      if (status === "granted") this.#ledger.abandon(image);
      return;
    }
    if (image) {
      this.#ledger.link(it, image);
      it.granted = status === "granted";
    }
    if (status === "exists") {
      this.#ledger.arrived(it);
    } else if (status === "granted") {
      const ends = Date.parse(grant.expires_at);
      it.grant = { ...grant, ends, life: ends - this.#server.now() };
      this.#ledger.queue.send.push(it);
    } else {
      this.#ledger.fail(it, problem?.code ?? "internal", problem?.detail ?? "the server gives no reason");
    }
  }

  #call(path, body) { return this.#server.call(path, body, this.#closed); }

  /** Asks about items until there is an answer. They fail or go back into their queue where there is none. */
  async #ask(path, body, items, queue) {
    const ledger = this.#ledger;
    const back = () => queue.unshift(...items.filter((it) => !it.gone));
    for (let wait = 1000; ; wait = Math.min(wait * 2, 30_000)) {
      try {
        const answer = await this.#call(path, body);
        ledger.movedAt = performance.now();
        ledger.passed("server");
        return answer;
      } catch (err) {
        if (err.name === "AbortError") return undefined;
        if (err.code === "batch_too_large" && items.length > 1) {
          this.#batch = Math.ceil(items.length / 2);
          back();
          return undefined;
        }
        if (stopsAll(err)) {
          back();
          this.#stop(err);
          return undefined;
        }
        if (!(err instanceof Problem) || !err.passes) {
          for (const it of items) ledger.fail(it, err.code ?? "internal", err.detail ?? String(err));
          return undefined;
        }
        ledger.troubled({ code: err.code, detail: err.detail, passing: true }, "server");
        if (await this.#naps.nap(Math.max(wait, err.retryAfterSeconds * 1000), leastOf(err))) wait = 500;
        if (ledger.paused) {
          back();
          return undefined;
        }
      }
    }
  }

  /** Pauses, since to ask again would be in vain until somebody has done something about it. */
  #stop(err) {
    this.#stopped = true;
    this.#ledger.pause();
    this.#ledger.troubled({ code: err.code, detail: err.detail });
  }

  resume() {
    this.#stopped = false;
    this.poll();
  }

  /** Tells the server that a file ended, with others that ended within a second. */
  hint(it) {
    const { done } = this.#ledger.queue;
    done.push(it);
    if (this.#hinting) return;
    this.#hinting = true;
    setTimeout(async () => {
      const items = done.splice(0, this.#batch);
      const ids = items.filter((i) => i.state === "uploaded").map((i) => i.image.id);
      try {
        if (ids.length) this.#ledger.observe((await this.#call("images/done", { ids })).results.map((r) => r.image).filter(Boolean));
      } catch { /* the broker looks by itself */ }
      this.#hinting = false;
      if (done.length) this.hint(done.pop());
    }, 1000);
  }

  /** Asks for verdicts while some are open, one question after the other. */
  async poll() {
    if (this.#polling) return;
    this.#polling = true;
    while (this.#waits()) {
      await this.#naps.nap(this.#pollMillis, this.#pollLeast);
      if (this.#waits()) await this.#verdicts();
    }
    this.#polling = false;
  }

  #waits() { return !this.#stopped && !this.#closed.aborted && this.#ledger.unjudged.size > 0; }

  /** Asks once, and finds out when to ask again: less often while nothing changes. */
  async #verdicts() {
    const ledger = this.#ledger;
    const items = [...ledger.unjudged].slice(0, this.#batch);
    let patience = 0;
    this.#pollLeast = 0;
    try {
      const { results } = await this.#call("images/check", { sha1: items.map((it) => it.sha1) });
      results.forEach(({ image }, i) => this.#checked(items[i].leader ?? items[i], image));
    } catch (err) {
      if (err.name === "AbortError") return;
      patience = (err.retryAfterSeconds ?? 0) * 1000;
      this.#pollLeast = leastOf(err);
      if (stopsAll(err)) this.#stop(err);
      // A key that may not read learns it from what it may ask.
      if (err.code === "not_allowed") items.forEach((it) => this.hint(it));
    }
    // What is still open goes to the end, so that each gets its turn.
    const open = items.filter((it) => ledger.unjudged.has(it));
    for (const it of open) { ledger.unjudged.delete(it); ledger.unjudged.add(it); }
    this.#pollMillis = Math.max(patience, open.length < items.length ? 1000 : Math.min(this.#pollMillis * 1.5, 10_000));
  }

  #checked(it, image) {
    const ledger = this.#ledger;
    if (!ledger.unjudged.has(it)) return;
    if (!image) {
      ledger.lost(it);
      return;
    }
    if (image.id !== it.image.id) ledger.link(it, image); // it was removed, and registered anew
    ledger.observe([image]);
  }
}
