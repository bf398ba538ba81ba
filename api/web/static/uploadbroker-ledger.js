// What is known of the files, and what others are told of it, for uploadbroker.js:
// states, counts and sums, which files are the same, what keeps everything from going on.

/**
 * The states of a file, in the order in which it goes through them. The last is that of
 * one whose image was removed after its verdict: nothing failed, somebody meant it.
 */
export const states = ["waiting", "hashing", "queued", "uploading", "uploaded", "ready", "invalid", "failed", "removed"];

/** States that end a file's way, unless it is sent again. */
export const ended = new Set(["ready", "invalid", "failed", "removed"]);

// What an Invalid image is told for when its file may yet be good: other bytes came than
// were chosen, or none, or nobody could look. What else is found is in the file itself.
const mendable = new Set(["checksum_mismatch", "size_mismatch", "expired", "unchecked"]);

/**
 * Whether a file is worth sending again. One that is removed is not: somebody meant it,
 * and may choose it again. Nor is one that could not be opened.
 */
export function retryable({ file, state, size, problem }) {
  if (!file) return false;
  if (state === "failed") return problem.code !== "removed";
  return state === "invalid" && (mendable.has(problem.code) || (problem.code === "empty" && size > 0));
}

const progressMillis = 100;
const rateMillis = 15_000; // the speed is that of so long
const tickMillis = 1000; // it is told so often while nothing else is

// The bytes are nobody's business who listens to events, nor is what only we need.
const hidden = ["file", "grant", "twins", "leader", "abort", "gone", "counted", "granted", "strikes", "fresh", "resent", "waits"];

/** The list of an Uploader's files, and of what is to be done with them. */
export class Ledger {
  files = [];
  queue = { hash: [], register: [], held: [], send: [], renew: [], done: [] };
  unjudged = new Set();
  ahead = 0; // hashed, and not yet with a bucket
  adding = 0; // calls of add that still read
  left = 0; // files that were not taken
  paused = false;
  trouble = null;
  through = 0; // bytes that moved, ever
  movedAt = 0; // when something last got through

  #emit;
  #pump;
  #poll;
  #withdraw;
  #leaders = new Map(); // by sha1: the one of equal files that is sent
  #byImage = new Map();
  #counts = Object.fromEntries(states.map((s) => [s, 0]));
  #sums = { bytes: 0, loaded: 0, sent: 0 };
  #rates = []; // [time, bytes sent] of the last seconds
  #troubleFrom = "";
  #settled = true;
  #nextID = 0;
  #timer = 0;
  #tick = 0;

  /**
   * To be given how to tell others, whom to tell that there is something to do or to ask,
   * and how an image is taken back.
   */
  constructor({ emit, pump, poll, withdraw }) {
    this.#emit = emit;
    this.#pump = pump;
    this.#poll = poll;
    this.#withdraw = withdraw;
  }

  get totals() {
    const bytesPerSecond = this.#speed();
    const { failed, invalid } = this.#counts;
    const bad = failed || invalid ? this.files.filter((it) => it.state === "failed" || it.state === "invalid") : [];
    const rest = this.#sums.bytes - this.#sums.loaded - bad.reduce((sum, it) => sum + it.size - it.loaded, 0);
    return {
      files: this.files.length - this.#counts.removed, ...this.#sums, left: this.left, states: { ...this.#counts }, retryable: bad.filter(retryable).length,
      bytesPerSecond, secondsLeft: bytesPerSecond ? rest / bytesPerSecond : Infinity,
      paused: this.paused, trouble: this.trouble, adding: this.adding > 0,
    };
  }

  /** Bytes a second until now, so that it falls when nothing moves. */
  #speed() {
    const now = performance.now();
    const rates = this.#rates;
    while (rates.length && now - rates[0][0] > rateMillis) rates.shift();
    return rates.length > 1 ? (1000 * (this.#sums.sent - rates[0][1])) / (now - rates[0][0]) : 0;
  }

  take(file, name) {
    const it = {
      id: (this.#nextID += 1), name, size: file?.size ?? 0, state: "waiting", loaded: 0, problem: null, file, sha1: "", image: null,
      grant: null, strikes: 0, fresh: 0, resent: 0, waits: 0, twins: [], leader: null, abort: null, gone: false, counted: false, granted: false,
    };
    for (const key of hidden) Object.defineProperty(it, key, { enumerable: false });
    this.files.push(it);
    this.#counts.waiting++;
    this.#sums.bytes += it.size;
    this.#settled = false;
    this.#emit("file", it);
    return it;
  }

  set(it, state, problem = null) {
    if (it.gone) return;
    this.#counts[it.state]--;
    this.#counts[state]++;
    if (it.state === "removed") this.#sums.bytes += it.size;
    if (state === "removed") this.#sums.bytes -= it.size;
    it.state = state;
    it.problem = problem;
    if (state === "uploaded") this.unjudged.add(it);
    else this.unjudged.delete(it);
    const ahead = state === "queued" || state === "uploading";
    if (ahead !== it.counted) {
      it.counted = ahead;
      this.ahead += ahead ? 1 : -1;
    }
    this.#emit("file", it);
    for (const twin of it.twins) this.#mirror(it, twin);
    this.tell();
    if (ended.has(state)) this.settle();
    if (state === "uploaded") this.#poll();
  }

  #mirror(it, twin) {
    twin.image = it.image;
    twin.granted = it.granted;
    this.loaded(twin, it.state === "uploaded" || ended.has(it.state) ? Math.min(it.loaded, twin.size) : 0, false);
    this.set(twin, it.state, it.problem);
  }

  /** Notes how much of a file is there; moved, when bytes just went over the line. */
  loaded(it, bytes, moved = true) {
    const more = bytes - it.loaded;
    it.loaded = bytes;
    if (it.gone) return;
    this.#sums.loaded += more;
    if (moved && more > 0) {
      this.#sums.sent += more;
      this.through += more;
      const now = performance.now();
      this.movedAt = now;
      const last = this.#rates.at(-1);
      if (!last || now - last[0] > 250) this.#rates.push([now, this.#sums.sent]);
      this.passed("bucket");
    }
    this.tell();
  }

  fail(it, code, detail) {
    this.loaded(it, 0, false);
    this.set(it, "failed", { code, detail });
  }

  /** Begins a file anew; its digest is kept unless that may be what was wrong. */
  again(it, rehash = it.problem?.code === "checksum_mismatch" || it.problem?.code === "size_mismatch") {
    if (it.gone) return;
    this.#forget(it);
    Object.assign(it, { grant: null, strikes: 0, fresh: 0, resent: 0, waits: 0 });
    if (rehash) it.sha1 = "";
    this.loaded(it, 0, false);
    this.#settled = false;
    this.set(it, "waiting");
    if (it.sha1) this.hashed(it);
    else this.queue.hash.push(it);
    this.#pump();
  }

  /** Takes a file off the list, and its image back whose bytes then do not come. */
  remove(it) {
    it.gone = true;
    it.abort?.abort();
    this.#forget(it);
    this.files.splice(this.files.indexOf(it), 1);
    this.#counts[it.state]--;
    if (it.state !== "removed") this.#sums.bytes -= it.size;
    this.#sums.loaded -= it.loaded;
    if (it.granted) this.abandon(it.image);
    this.settle();
    this.tell();
  }

  /** Takes back an image that waits for bytes, unless another file of the list has them. */
  abandon(image) {
    const waits = (f) => (f.sha1 === image.sha1 && !ended.has(f.state)) || (f.granted && f.image.id === image.id);
    if ((image.state === "Pending" || image.state === "Uploading") && !this.files.some(waits)) this.#withdraw(image);
  }

  /** Takes everything off the list that has ended, and counts anew. */
  clear() {
    for (const it of this.files.filter((f) => ended.has(f.state))) this.remove(it);
    this.left = this.#sums.sent = 0;
    this.#rates = [];
    this.tell();
  }

  /** Takes a file out of all that speaks of it; equal files go on without it. */
  #forget(it) {
    for (const queue of Object.values(this.queue)) {
      const at = queue.indexOf(it);
      if (at >= 0) queue.splice(at, 1);
    }
    if (it.counted) { it.counted = false; this.ahead--; }
    this.unjudged.delete(it);
    this.#byImage.get(it.image?.id)?.delete(it);
    if (it.leader) {
      const at = it.leader.twins.indexOf(it);
      if (at >= 0) it.leader.twins.splice(at, 1);
      it.leader = null;
    }
    if (this.#leaders.get(it.sha1) === it) this.#leaders.delete(it.sha1);
    const twins = it.twins.splice(0);
    for (const twin of twins) {
      twin.leader = null;
      if (!ended.has(twin.state) && !twin.gone) this.again(twin);
    }
  }

  /**
   * A file's digest is known: it goes with an equal one that is under way, or is
   * registered. What became of an equal one earlier may no longer be so.
   */
  hashed(it) {
    if (it.gone) return;
    const leader = this.#leaders.get(it.sha1);
    if (leader && leader !== it && !ended.has(leader.state)) {
      it.leader = leader;
      leader.twins.push(it);
      this.#mirror(leader, it);
      return;
    }
    this.#leaders.set(it.sha1, it);
    this.set(it, "queued");
    this.queue.register.push(it);
  }

  link(it, image) {
    this.#byImage.get(it.image?.id)?.delete(it);
    it.image = image;
    let set = this.#byImage.get(image.id);
    if (!set) this.#byImage.set(image.id, set = new Set());
    set.add(it);
  }

  observe(images) {
    for (const image of images) {
      for (const it of this.#byImage.get(image.id) ?? []) {
        if (image.attempt < it.image.attempt) continue; // of an earlier try
        it.image = image;
        if (it.state === "uploaded" || ended.has(it.state)) this.#judge(it);
      }
    }
  }

  /** The server knows nothing of an image whose bytes were there. */
  lost(it) {
    it.image = { ...it.image, state: "Removed" };
    this.#judge(it);
  }

  /** A file's bytes are in its bucket. */
  arrived(it, moved = false) {
    it.granted = false;
    this.loaded(it, it.size, moved);
    this.set(it, "uploaded");
    this.#judge(it); // an event may have been quicker
  }

  /** What became of an image whose bytes are there, or of one that had its verdict. */
  #judge(it) {
    const { state, reasons } = it.image;
    if (state === "Removed") {
      if (it.state === "uploaded") {
        this.fail(it, "removed", "the image was removed meanwhile");
      } else if (it.state === "ready" || it.state === "invalid") {
        this.loaded(it, 0, false);
        this.set(it, "removed");
      }
      return;
    }
    // Of what did not arrive it tells only when others brought it.
    if (it.state === "failed" && it.problem.code !== "removed" && state !== "Ready") return;
    if (state === "Ready" || state === "Invalid") this.loaded(it, it.size, false); // a removal was undone
    if (state === "Ready") {
      if (it.state !== "ready") this.set(it, "ready");
    } else if (state === "Invalid") {
      const [code, ...rest] = (reasons?.[0] ?? "invalid").split(": ");
      this.set(it, "invalid", { code, detail: rest.join(": ") || code, reasons });
    }
  }

  pause() {
    if (this.paused) return;
    this.paused = true;
    for (const it of this.files) it.abort?.abort();
    this.#rates = [];
    this.tell();
  }

  resume() {
    this.paused = false;
    this.movedAt = performance.now();
    this.troubled(null);
    this.#pump();
    this.tell();
  }

  /** Tells what keeps everything from going on. from is where that is: "server" or "bucket". */
  troubled(trouble, from = "") {
    if (!trouble && !this.trouble) return;
    this.trouble = trouble;
    this.#troubleFrom = from;
    this.#emit("trouble", trouble);
  }

  /** Something succeeded there: what passes by itself has passed. */
  passed(from) {
    if (this.trouble?.passing && this.#troubleFrom === from) this.troubled(null);
  }

  tell() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#emit("progress", this.totals);
      clearTimeout(this.#tick);
      if (!this.#settled && (this.#counts.uploading || this.#rates.length)) this.#tick = setTimeout(() => this.tell(), tickMillis);
    }, progressMillis);
  }

  settle() {
    if (this.#settled || this.adding || !this.files.length) return;
    if ([...ended].reduce((n, state) => n + this.#counts[state], 0) < this.files.length) return;
    this.#settled = true;
    if (this.trouble?.passing) this.troubled(null); // nothing waits for it any more
    this.#emit("settled", this.totals);
  }

  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#tick);
  }
}
