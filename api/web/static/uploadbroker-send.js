// Sends files with their grants, for uploadbroker.js, and goes by what a failure means:
// a fresh grant, another try, or the end of it.

import { readable } from "./uploadbroker-files.js";
import { put, PutFault, Verdict } from "./uploadbroker-put.js";

/** What a file that can't be read fails with. */
export const unreadable = "the file changed or can no longer be read; choose it again";

const maxStrikes = 6; // failures of a file while others got through
const maxFresh = 3; // grants in a row that the bucket refuses
const silenceMillis = 180_000; // of nothing but failures: pause by itself
const gapMillis = 90_000; // between two failures no more passes, or the machine slept
const marginMillis = 60_000; // a grant that ends sooner is renewed first
const sessionMarginMillis = 300_000;

/** Sends what is in the ledger's queue. */
export class Sender {
  #ledger;
  #server;
  #options;
  #pump;
  #naps;
  #arrived;
  #active = 0; // PUTs
  #faultAt = 0;
  #silenceMillis = 0; // from the first failure since something got through
  #bucketSkew = null;

  /** To be given the Uploader's own, and whom to tell what a bucket has taken. */
  constructor({ ledger, server, options, pump, naps, arrived }) {
    this.#ledger = ledger;
    this.#server = server;
    this.#options = options;
    this.#pump = pump;
    this.#naps = naps;
    this.#arrived = arrived;
  }

  /** Begins with as many as go at once. */
  go() {
    const { send } = this.#ledger.queue;
    while (send.length && this.#active < this.#lines(send[0])) this.#send(send.shift());
  }

  /** How many may be sent at once to where a file goes. */
  #lines(it) {
    const server = new URL(this.#options.server, location.href).origin;
    const own = new URL(it.grant.url, location.href).origin === server;
    return own ? Math.min(4, this.#options.parallel) : this.#options.parallel;
  }

  async #send(it) {
    const ledger = this.#ledger;
    const { grant } = it;
    const margin = Math.min(grant.session ? sessionMarginMillis : marginMillis, grant.life / 3);
    if (grant.life > 0 && grant.ends - this.#server.now() < margin) {
      ledger.queue.renew.push(it);
      this.#pump();
      return;
    }
    const before = ledger.through;
    it.abort = new AbortController();
    this.#active++;
    ledger.set(it, "uploading");
    try {
      await put(it.file, grant, {
        type: it.image.type || "application/octet-stream", skewMillis: this.#bucketSkew ?? this.#server.skewMillis,
        signal: it.abort.signal, progress: (bytes) => ledger.loaded(it, Math.min(bytes, it.size)),
      });
      ledger.passed("bucket"); // also when there was no byte to send
      it.strikes = it.fresh = 0;
      ledger.arrived(it, true);
      this.#arrived(it);
    } catch (fault) {
      ledger.loaded(it, 0, false);
      if (fault.unanswered && !(await readable(it.file))) ledger.fail(it, "unreadable", unreadable);
      else if (!it.gone) this.#fault(it, fault, before);
    } finally {
      it.abort = null;
      this.#active--;
      this.#pump();
    }
  }

  #fault(it, fault, before) {
    const { queue } = this.#ledger;
    if (fault.name === "AbortError") { // paused
      this.#ledger.set(it, "queued");
      queue.send.unshift(it);
      return;
    }
    if (!(fault instanceof PutFault)) {
      this.#ledger.fail(it, "internal", String(fault.message ?? fault));
      return;
    }
    const bad = () => this.#ledger.fail(it, fault.code || "bucket_refuses", fault.message);
    const queued = () => this.#ledger.set(it, "queued");
    switch (fault.verdict) {
      case Verdict.fresh:
        if (++it.fresh > maxFresh) return bad();
        queued();
        queue.renew.push(it);
        return undefined;
      case Verdict.clock:
        if (!fault.bucketTime || ++it.fresh > maxFresh) return bad();
        this.#bucketSkew = fault.bucketTime - Date.now();
        queued();
        queue.send.unshift(it);
        return undefined;
      case Verdict.bytes: // the file changed since it was hashed, or something on the way changes it
        if (it.resent) return bad();
        this.#ledger.again(it, true);
        it.resent = 1;
        return undefined;
      case Verdict.again:
        // While nothing at all gets through, it is not this file's fault.
        if (this.#ledger.through > before && ++it.strikes > maxStrikes) return bad();
        this.#silent(fault);
        queued();
        this.#later(it);
        return undefined;
      default:
        return bad();
    }
  }

  /** Tries a file again after a while that grows. */
  async #later(it) {
    it.waits = Math.min(it.waits + 1, 6);
    if (await this.#naps.nap(500 * 2 ** (it.waits - 1) * (0.75 + Math.random() / 2))) it.waits = 0;
    if (it.state === "queued" && !it.gone) this.#ledger.queue.send.push(it);
    this.#pump();
  }

  /** Tells that nothing gets through, and pauses when that lasts. */
  #silent(cause) {
    const ledger = this.#ledger;
    const now = performance.now();
    this.#silenceMillis = ledger.movedAt >= this.#faultAt ? 0 : this.#silenceMillis + Math.min(now - this.#faultAt, gapMillis);
    this.#faultAt = now;
    ledger.troubled({ code: cause.code || "unreachable", detail: cause.message, passing: true }, "bucket");
    if (this.#silenceMillis > silenceMillis) {
      ledger.pause();
      ledger.troubled({ code: "gave_up", detail: `nothing got through for three minutes: ${cause.message}` });
    }
  }
}
