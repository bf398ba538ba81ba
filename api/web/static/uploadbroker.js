// Uploads files from a page straight into the buckets of an uploadbroker server.
//
//   import { Uploader, dropped } from "https://up.example.com/static/uploadbroker.js";
//
//   const uploader = new Uploader({ server: "https://up.example.com", key, project });
//   uploader.addEventListener("file", ({ detail }) => console.log(detail.name, detail.state, detail.problem));
//   uploader.addEventListener("settled", () => console.log("every file has its verdict"));
//   area.ondragover = (e) => e.preventDefault();
//   area.ondrop = (e) => { e.preventDefault(); uploader.add(dropped(e.dataTransfer)); };
//
// Each file is hashed in a worker, registered in a batch, sent with the grant that it
// got, and followed until its verdict. What the project has already is not sent: to go
// on after a reload or a crash, add the same files again.
//
// The server's cors_origins have to name the page's origin, and so do the buckets' CORS
// rules. Whoever can read the page can read the key: give it a key of the scopes read
// and upload, tied to the project, that expires. (With manage it may also take back what
// was registered and is taken off the list.)

import { hashers } from "./uploadbroker-hash.js";
import { filesOf, isImageName } from "./uploadbroker-files.js";
import { Asker } from "./uploadbroker-ask.js";
import { Ledger, retryable } from "./uploadbroker-ledger.js";
import { Naps } from "./uploadbroker-naps.js";
import { Sender, unreadable } from "./uploadbroker-send.js";
import { Server } from "./uploadbroker-server.js";
import { Withdrawals } from "./uploadbroker-withdraw.js";

export { dropped, filesOf, isImageName } from "./uploadbroker-files.js";
export { ended, retryable, states } from "./uploadbroker-ledger.js";
export { Problem } from "./uploadbroker-server.js";

const hashAhead = 300; // files that are hashed and not yet sent: grants should not wait long

/**
 * Events, whose detail is given here:
 * - file: {id, name, size, state, loaded, problem, …}, a file changed. problem is null
 *   or {code, detail}. The object is the uploader's own and stays the same.
 * - progress: the totals, at most ten times a second (see the property totals).
 * - trouble: null, or {code, detail}: what keeps everything from going on. With passing
 *   it is tried again by itself. Otherwise the uploader has paused, and waits for resume:
 *   gave_up (nothing got through for minutes; it goes on by itself when the browser tells
 *   that it is online), unauthenticated (the session or the key has
 *   ended), not_found (the project is gone).
 * - settled: the totals; every file has its verdict or has failed.
 */
export class Uploader extends EventTarget {
  #options;
  #ledger = new Ledger({
    emit: (name, detail) => this.#emit(name, detail), pump: () => this.#pump(), poll: () => this.#asker.poll(),
    withdraw: (image) => this.#withdrawals.add(image),
  });

  #asker;
  #sender;
  #withdrawals;
  #naps = new Naps();
  #busy = new Set(); // batches under way
  #hashing = 0;
  #hashers = null;
  #pumping = false;
  #closed = new AbortController();

  /**
   * @param {object} options
   * @param {string} [options.server] scheme and host, "" for the page's own; the
   *   server's own pages, where a session and not a key stands for the person, say "/page"
   * @param {string} [options.key] without it the browser's cookies are sent, to the
   *   page's own origin only
   * @param {Record<string, string>} [options.headers] for each request to the server, on
   *   pages of its own origin: to others it allows no headers but its own
   * @param {string} options.project its id
   * @param {string} [options.bucket] a bucket's symbol; the nearest when left out
   * @param {number} [options.parallel] files that are sent at once, 6 by default. A
   *   browser opens six connections to a host, so to the server itself, where the local
   *   bucket is, four are sent and the rest is for questions.
   * @param {((name: string, file: File|null) => boolean)|null} [options.accept] which
   *   files are taken; images by default. What systems leave in folders, and what is
   *   hidden there, is passed over without a word. With null all files are taken: then
   *   those in folders are counted in left, and what was chosen by itself is taken.
   */
  constructor(options) {
    super();
    this.#options = { server: "", parallel: 6, accept: isImageName, ...options };
    const server = new Server(this.#options);
    const parts = { ledger: this.#ledger, server, options: this.#options, pump: () => this.#pump(), naps: this.#naps };
    this.#withdrawals = new Withdrawals({ server, over: () => this.#withdrawn() });
    this.#asker = new Asker({ ...parts, withdrawals: this.#withdrawals, closed: this.#closed.signal });
    this.#sender = new Sender({ ...parts, arrived: (it) => this.#asker.hint(it) });
    addEventListener("online", () => this.#online(), { signal: this.#closed.signal });
  }

  /** All files, in the order in which they were added. */
  get files() { return this.#ledger.files; }

  /** The bucket's symbol for what is registered from now on; "" for the nearest. */
  get bucket() { return this.#options.bucket ?? ""; }
  set bucket(symbol) { this.#options.bucket = symbol; }

  get paused() { return this.#ledger.paused; }

  /** What keeps everything from going on, or null. */
  get trouble() { return this.#ledger.trouble; }

  /**
   * Counts and sums of all files but those in the state removed, and how fast it goes:
   * files, bytes, loaded, sent, left (not taken), states (how many of each), retryable
   * (how many retryFailed would send again), bytesPerSecond, secondsLeft, paused,
   * trouble, adding.
   */
  get totals() { return this.#ledger.totals; }

  /**
   * Adds files and begins with them at once. A folder that can't be listed is a file
   * that failed, unreadable; the others go on.
   *
   * @param {Iterable<File|FileSystemEntry|{file: File, name: string}>} things an input's
   *   files, what dropped returns, or files with names of your own
   * @returns {Promise<number>} how many were taken
   */
  async add(things) {
    const ledger = this.#ledger;
    let taken = 0;
    ledger.adding++;
    try {
      const { accept } = this.#options;
      for await (const batch of filesOf(things, accept ? undefined : () => { ledger.left++; })) {
        for (const { file, name, folder } of batch) {
          if (accept && !folder && !accept(name, file)) {
            ledger.left++;
            continue;
          }
          const it = ledger.take(file, name);
          if (file) ledger.queue.hash.push(it);
          else ledger.fail(it, "unreadable", unreadable);
          taken++;
        }
        this.#pump();
        ledger.tell();
      }
    } finally {
      ledger.adding--;
      ledger.settle();
    }
    return taken;
  }

  /** Goes on; the same as resume, for those who paused before they added. */
  start() { this.resume(); }

  /** Sends nothing more until resume. What is on its way is broken off and sent again later. */
  pause() { this.#ledger.pause(); }

  resume() {
    if (this.#hashers?.dead) {
      this.#hashers.close();
      this.#hashers = null; // new ones may start
    }
    this.#ledger.resume();
    this.#asker.resume();
    this.#naps.wake();
  }

  /**
   * Sends again what that can mend, as the function retryable tells of each file: what
   * has failed, and what is Invalid as other bytes or none arrived, or since it could
   * not be checked. What is damaged in itself stays Invalid; files that could not even
   * be opened, or were removed meanwhile, are to be chosen again. Returns how many files
   * that are.
   */
  retryFailed() {
    const again = this.files.filter(retryable);
    for (const it of again) this.#ledger.again(it);
    this.resume();
    return again.length;
  }

  /**
   * Takes a file off the list, if it is not in the bucket yet. Was it registered, and is
   * no other of the list the same, its image is removed from the project again, where the
   * key has the scope manage; else it waits there until its grants end, and is Invalid.
   */
  remove(id) {
    const it = this.files.find((f) => f.id === id);
    if (!it || it.state === "uploaded" || it.state === "ready") return false;
    this.#ledger.remove(it);
    return true;
  }

  /** Takes everything off the list that has ended, so that it counts anew. */
  clear() { this.#ledger.clear(); }

  /** Breaks everything off and lets the workers go. The uploader is of no use afterwards. */
  close() {
    this.pause();
    this.#closed.abort();
    this.#naps.close();
    this.#ledger.close();
    this.#hashers?.close();
  }

  /** Takes over what somebody has learnt of images elsewhere, such as from /page/events. */
  observe(images) { this.#ledger.observe(images); }

  #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  // What is the same as an image that was taken back may be registered now.
  #withdrawn() {
    const { register, held } = this.#ledger.queue;
    register.push(...held.splice(0));
    this.#pump();
  }

  // The browser has a line again.
  #online() {
    if (this.trouble?.code === "gave_up") this.resume();
    else this.#naps.wake();
  }

  // Moves everything on that can move, once for all that happened just now.
  #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      const ledger = this.#ledger;
      if (ledger.paused || this.#closed.signal.aborted) return;
      this.#hashers ??= hashers();
      const { hash, register, renew } = ledger.queue;
      while (hash.length && this.#hashing < this.#hashers.room && ledger.ahead + this.#hashing < hashAhead) this.#hash(hash.shift());
      if (register.length) this.#inTurn("register");
      if (renew.length) this.#inTurn("renew");
      this.#sender.go();
    });
  }

  async #inTurn(what) {
    if (this.#busy.has(what)) return;
    this.#busy.add(what);
    try {
      await this.#asker[what]();
    } finally {
      this.#busy.delete(what);
      this.#pump();
    }
  }

  async #hash(it) {
    const ledger = this.#ledger;
    this.#hashing++;
    ledger.set(it, "hashing");
    try {
      it.sha1 = await this.#hashers.sha1(it.file);
      if (!it.gone) ledger.hashed(it);
    } catch (err) {
      if (err.message === "unreadable") ledger.fail(it, "unreadable", unreadable);
      else ledger.fail(it, "not_hashed", `its sha1 can't be computed: ${err.message}`);
    }
    this.#hashing--;
    this.#pump();
  }
}
