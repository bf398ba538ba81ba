// Uploads files from a page straight into the buckets of an uploadbroker server.
//
//   import { Uploader, dropped } from 'https://up.example.com/static/uploadbroker.js';
//
//   const uploader = new Uploader({ server: 'https://up.example.com', key, project });
//   uploader.addEventListener('file', ({ detail }) => console.log(detail.name, detail.state, detail.problem));
//   uploader.addEventListener('settled', () => console.log('every file has its verdict'));
//   area.ondragover = (e) => e.preventDefault();
//   area.ondrop = (e) => { e.preventDefault(); uploader.add(dropped(e.dataTransfer)); };
//
// Each file is hashed in a worker, registered in a batch, sent with the grant that it
// got, and followed until its verdict. What the project has already is not sent: to go
// on after a reload or a crash, add the same files again.
//
// The server's cors_origins have to name the page's origin, and so do the buckets' CORS
// rules. Whoever can read the page can read the key: give it a key of the scopes read
// and upload, tied to the project, that expires.

import { hashers } from './uploadbroker-hash.js';
import { filesOf, isImageName } from './uploadbroker-files.js';
import { put, PutFault, Verdict } from './uploadbroker-put.js';
import { Problem, Server } from './uploadbroker-server.js';

export { dropped, filesOf, isImageName } from './uploadbroker-files.js';
export { Problem } from './uploadbroker-server.js';

/** The states of a file, in the order in which it goes through them. */
export const states = ['waiting', 'hashing', 'queued', 'uploading', 'uploaded', 'ready', 'invalid', 'failed'];

/** States that end a file's way, unless it is sent again. */
export const ended = new Set(['ready', 'invalid', 'failed']);

const maxBatch = 500;
const hashAhead = 300; // files that are hashed and not yet sent: grants should not wait long
const maxStrikes = 6; // failures of a file while others got through
const maxFresh = 3; // grants in a row that the bucket refuses
const silenceMillis = 180_000; // without a byte: pause by itself
const marginMillis = 60_000; // a grant that ends sooner is renewed first
const sessionMarginMillis = 300_000;
const progressMillis = 100;

const unreadable = 'the file changed or can no longer be read; choose it again';

// A browser tells a file that it can't read by the same event as a line that is cut.
const readable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);

/**
 * Events, whose detail is given here:
 * - file: {id, name, size, state, loaded, problem, …}, a file changed. problem is null
 *   or {code, detail}. The object is the uploader's own and stays the same.
 * - progress: the totals, at most ten times a second (see the property totals).
 * - trouble: null, or {code, detail}: what keeps everything from going on.
 * - settled: the totals; every file has its verdict or has failed.
 */
export class Uploader extends EventTarget {
  files = [];

  #options;
  #server;
  #active = 0; // PUTs
  #hashing = 0;
  #ahead = 0; // hashed, and not yet with a bucket
  #busy = { register: false, renew: false, done: false };
  #queue = { hash: [], register: [], send: [], renew: [], done: [] };
  #leaders = new Map(); // by sha1: the one of equal files that is sent
  #byImage = new Map();
  #unjudged = new Set();
  #counts = Object.fromEntries(states.map((s) => [s, 0]));
  #sums = { bytes: 0, loaded: 0, sent: 0, left: 0 };
  #rates = []; // [time, bytes sent] of the last seconds
  #paused = false;
  #trouble = null;
  #through = 0; // bytes that moved, ever
  #movedAt = 0;
  #bucketSkew = null;
  #batch = maxBatch;
  #pumping = false;
  #progressTimer = 0;
  #pollTimer = 0;
  #pollMillis = 1000;
  #adding = 0;
  #settled = true;
  #closed = new AbortController();
  #hashers;

  /**
   * @param {object} options
   * @param {string} [options.server] scheme and host, '' for the page's own; the
   *   server's own pages, where a session and not a key stands for the person, say '/page'
   * @param {string} [options.key] without it the browser's cookies are sent, to the
   *   page's own origin only
   * @param {Record<string, string>} [options.headers] for each request to the server
   * @param {string} options.project its id
   * @param {string} [options.bucket] a bucket's symbol; the nearest when left out
   * @param {number} [options.parallel] files that are sent at once, 6 by default. A
   *   browser opens six connections to a host, so to the server itself, where the local
   *   bucket is, four are sent and the rest is for questions.
   * @param {(name: string, file: File|null) => boolean} [options.accept] which files
   *   are taken; images by default
   */
  constructor(options) {
    super();
    this.#options = { server: '', parallel: 6, accept: isImageName, ...options };
    this.#server = new Server(this.#options);
  }

  /** The bucket's symbol for what is registered from now on; '' for the nearest. */
  get bucket() { return this.#options.bucket ?? ''; }
  set bucket(symbol) { this.#options.bucket = symbol; }

  get paused() { return this.#paused; }

  /** What keeps everything from going on, or null. */
  get trouble() { return this.#trouble; }

  /** Counts and sums of all files, and how fast it goes. */
  get totals() {
    const rates = this.#rates;
    const span = rates.length > 1 ? (rates.at(-1)[0] - rates[0][0]) / 1000 : 0;
    const bytesPerSecond = span ? (rates.at(-1)[1] - rates[0][1]) / span : 0;
    return {
      files: this.files.length, ...this.#sums, states: { ...this.#counts },
      bytesPerSecond, secondsLeft: bytesPerSecond ? (this.#sums.bytes - this.#sums.loaded) / bytesPerSecond : Infinity,
      paused: this.#paused, trouble: this.#trouble, adding: this.#adding > 0,
    };
  }

  /**
   * Adds files and begins with them at once.
   *
   * @param {Iterable<File|FileSystemEntry|{file: File, name: string}>} things an input's
   *   files, what dropped returns, or files with names of your own
   * @returns {Promise<number>} how many were taken
   */
  async add(things) {
    let taken = 0;
    this.#adding++;
    try {
      for await (const batch of filesOf(things)) {
        for (const { file, name } of batch) {
          if (!this.#options.accept(name, file)) {
            this.#sums.left++;
            continue;
          }
          const it = this.#take(file, name);
          if (file) this.#queue.hash.push(it);
          else this.#fail(it, 'unreadable', unreadable);
          taken++;
        }
        this.#pump();
        this.#tell();
      }
    } finally {
      this.#adding--;
      this.#settle();
    }
    return taken;
  }

  /** Goes on; the same as resume, for those who paused before they added. */
  start() { this.resume(); }

  /** Sends nothing more until resume. What is on its way is broken off and sent again later. */
  pause() {
    if (this.#paused) return;
    this.#paused = true;
    for (const it of this.files) it.abort?.abort();
    this.#rates = [];
    this.#tell();
  }

  resume() {
    this.#paused = false;
    this.#movedAt = performance.now();
    this.#troubled(null);
    this.#pump();
    this.#tell();
  }

  /**
   * Sends again what has failed or is Invalid, but for files that could not even be
   * opened: those are to be chosen again. Returns how many files that are.
   */
  retryFailed() {
    const again = this.files.filter((it) => it.file && (it.state === 'failed' || it.state === 'invalid'));
    for (const it of again) this.#again(it);
    this.resume();
    return again.length;
  }

  /** Takes a file off the list, if it is not in the bucket yet. */
  remove(id) {
    const it = this.files.find((f) => f.id === id);
    if (!it || it.state === 'uploaded' || it.state === 'ready') return false;
    it.gone = true;
    it.abort?.abort();
    this.#forget(it);
    this.files.splice(this.files.indexOf(it), 1);
    this.#counts[it.state]--;
    this.#sums.bytes -= it.size;
    this.#sums.loaded -= it.loaded;
    this.#settle();
    this.#tell();
    return true;
  }

  /** Breaks everything off and lets the workers go. The uploader is of no use afterwards. */
  close() {
    this.pause();
    this.#closed.abort();
    clearTimeout(this.#pollTimer);
    clearTimeout(this.#progressTimer);
    this.#hashers?.close();
  }

  /** Takes over what somebody has learnt of images elsewhere, such as from /page/events. */
  observe(images) {
    for (const image of images) {
      for (const it of this.#byImage.get(image.id) ?? []) {
        if (image.attempt < it.image.attempt) continue; // of an earlier try
        it.image = image;
        if (it.state === 'uploaded') this.#judge(it);
      }
    }
  }

  // ── one file's way ────────────────────────────────────────────────────────────

  #take(file, name) {
    const it = {
      id: (this.#nextID += 1), name, size: file?.size ?? 0, state: 'waiting', loaded: 0, problem: null, file, sha1: '', image: null,
      grant: null, strikes: 0, fresh: 0, twins: [], leader: null, abort: null, gone: false, counted: false,
    };
    // The bytes are nobody's business who listens to events.
    for (const key of ['file', 'grant', 'twins', 'leader', 'abort', 'gone', 'counted', 'strikes', 'fresh']) {
      Object.defineProperty(it, key, { enumerable: false });
    }
    this.files.push(it);
    this.#counts.waiting++;
    this.#sums.bytes += it.size;
    this.#settled = false;
    this.#emit('file', it);
    return it;
  }

  #nextID = 0;

  #set(it, state, problem = null) {
    if (it.gone) return;
    this.#counts[it.state]--;
    this.#counts[state]++;
    it.state = state;
    it.problem = problem;
    if (state === 'uploaded') this.#unjudged.add(it);
    else this.#unjudged.delete(it);
    const ahead = state === 'queued' || state === 'uploading';
    if (ahead !== it.counted) {
      it.counted = ahead;
      this.#ahead += ahead ? 1 : -1;
    }
    this.#emit('file', it);
    for (const twin of it.twins) this.#mirror(it, twin);
    this.#tell();
    if (ended.has(state)) this.#settle();
    if (state === 'uploaded') this.#poll();
  }

  #mirror(it, twin) {
    twin.image = it.image;
    this.#loaded(twin, it.state === 'uploaded' || ended.has(it.state) ? Math.min(it.loaded, twin.size) : 0, false);
    this.#set(twin, it.state, it.problem);
  }

  #loaded(it, bytes, moved = true) {
    const more = bytes - it.loaded;
    it.loaded = bytes;
    if (it.gone) return;
    this.#sums.loaded += more;
    if (moved && more > 0) {
      this.#sums.sent += more;
      this.#through += more;
      const now = performance.now();
      this.#movedAt = now;
      const last = this.#rates.at(-1);
      if (!last || now - last[0] > 250) this.#rates.push([now, this.#sums.sent]);
      while (this.#rates.length > 2 && now - this.#rates[0][0] > 15_000) this.#rates.shift();
      if (this.#trouble?.passing) this.#troubled(null);
    }
    this.#tell();
  }

  #fail(it, code, detail) {
    this.#loaded(it, 0, false);
    this.#set(it, 'failed', { code, detail });
  }

  /** Begins a file anew; its digest is kept unless that may be what was wrong. */
  #again(it, rehash = it.problem?.code === 'checksum_mismatch' || it.problem?.code === 'size_mismatch') {
    this.#forget(it);
    Object.assign(it, { grant: null, strikes: 0, fresh: 0 });
    if (rehash) it.sha1 = '';
    this.#loaded(it, 0, false);
    this.#settled = false;
    this.#set(it, 'waiting');
    if (it.sha1) this.#hashed(it);
    else this.#queue.hash.push(it);
    this.#pump();
  }

  /** Takes a file out of all that speaks of it; equal files go on without it. */
  #forget(it) {
    for (const queue of Object.values(this.#queue)) {
      const at = queue.indexOf(it);
      if (at >= 0) queue.splice(at, 1);
    }
    if (it.counted) { it.counted = false; this.#ahead--; }
    this.#unjudged.delete(it);
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
      if (!ended.has(twin.state) && !twin.gone) this.#again(twin);
    }
  }

  #hashed(it) {
    const leader = this.#leaders.get(it.sha1);
    if (leader && leader !== it && leader.state !== 'failed' && leader.state !== 'invalid') {
      it.leader = leader;
      leader.twins.push(it);
      this.#mirror(leader, it);
      return;
    }
    this.#leaders.set(it.sha1, it);
    this.#set(it, 'queued');
    this.#queue.register.push(it);
  }

  #link(it, image) {
    it.image = image;
    let set = this.#byImage.get(image.id);
    if (!set) this.#byImage.set(image.id, set = new Set());
    set.add(it);
  }

  /** What became of an image whose bytes are there. */
  #judge(it) {
    const { state, reasons } = it.image;
    if (state === 'Ready') {
      this.#set(it, 'ready');
    } else if (state === 'Invalid') {
      const [code, ...rest] = (reasons?.[0] ?? 'invalid').split(': ');
      this.#set(it, 'invalid', { code, detail: rest.join(': ') || code, reasons });
    } else if (state === 'Removed') {
      this.#set(it, 'failed', { code: 'removed', detail: 'the image was removed meanwhile' });
    }
  }

  #arrived(it, image = it.image) {
    it.image = image;
    this.#loaded(it, it.size, false);
    this.#set(it, 'uploaded');
    this.#judge(it);
  }

  // ── what moves everything ─────────────────────────────────────────────────────

  #pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      if (this.#paused || this.#closed.signal.aborted) return;
      this.#movedAt ||= performance.now();
      this.#hashers ??= hashers();
      const { hash, register, send, renew } = this.#queue;
      while (hash.length && this.#hashing < this.#hashers.room && this.#ahead + this.#hashing < hashAhead) this.#hash(hash.shift());
      if (register.length && !this.#busy.register) this.#inTurn('register', () => this.#register(register.splice(0, this.#batch)));
      if (renew.length && !this.#busy.renew) this.#inTurn('renew', () => this.#renew(renew.splice(0, this.#batch)));
      while (send.length && this.#active < this.#lines(send[0])) this.#send(send.shift());
    });
  }

  async #inTurn(what, call) {
    this.#busy[what] = true;
    try {
      await call();
    } finally {
      this.#busy[what] = false;
      this.#pump();
    }
  }

  /** How many may be sent at once to where a file goes. */
  #lines(it) {
    const server = new URL(this.#options.server, location.href).origin;
    const own = new URL(it.grant.url, location.href).origin === server;
    return own ? Math.min(4, this.#options.parallel) : this.#options.parallel;
  }

  async #hash(it) {
    this.#hashing++;
    this.#set(it, 'hashing');
    try {
      it.sha1 = await this.#hashers.sha1(it.file);
      if (!it.gone) this.#hashed(it);
    } catch (err) {
      if (err.message === 'unreadable') this.#fail(it, 'unreadable', unreadable);
      else this.#fail(it, 'not_hashed', `its sha1 can't be computed: ${err.message}`);
    }
    this.#hashing--;
    this.#pump();
  }

  async #register(items) {
    const body = {
      bucket: this.bucket || undefined,
      images: items.map((it) => ({ name: it.name, sha1: it.sha1, size: it.size, type: it.file.type || undefined })),
    };
    const answer = await this.#ask('images/register', body, items, this.#queue.register);
    answer?.results.forEach((result, i) => this.#answered(items[i], result));
  }

  async #renew(items) {
    const ids = items.map((it) => it.image.id);
    const answer = await this.#ask('images/regrant', { bucket: this.bucket || undefined, ids }, items, this.#queue.renew);
    answer?.results.forEach((result, i) => {
      if (result.status === 'problem' && result.image?.state === 'Invalid') this.#again(items[i]);
      else this.#answered(items[i], result);
    });
  }

  #answered(it, { status, image, grant, problem }) {
    if (it.gone) return;
    if (image) this.#link(it, image);
    if (status === 'exists') {
      this.#arrived(it, image);
    } else if (status === 'granted') {
      it.grant = { ...grant, ends: Date.parse(grant.expires_at), life: Date.parse(grant.expires_at) - this.#now() };
      this.#queue.send.push(it);
    } else {
      this.#fail(it, problem?.code ?? 'internal', problem?.detail ?? 'the server gives no reason');
    }
  }

  #now() { return Date.now() + this.#server.skewMillis; }

  async #send(it) {
    const { grant } = it;
    const margin = Math.min(grant.session ? sessionMarginMillis : marginMillis, grant.life / 3);
    if (grant.life > 0 && grant.ends - this.#now() < margin) {
      this.#queue.renew.push(it);
      this.#pump();
      return;
    }
    const before = this.#through;
    it.abort = new AbortController();
    this.#active++;
    this.#set(it, 'uploading');
    try {
      await put(it.file, grant, {
        type: it.image.type || 'application/octet-stream', skewMillis: this.#bucketSkew ?? this.#server.skewMillis,
        signal: it.abort.signal, progress: (bytes) => this.#loaded(it, Math.min(bytes, it.size)),
      });
      this.#loaded(it, it.size);
      it.strikes = it.fresh = 0;
      this.#set(it, 'uploaded');
      this.#judge(it); // an event may have been quicker
      this.#hint(it);
    } catch (fault) {
      this.#loaded(it, 0, false);
      if (fault.unanswered && !(await readable(it.file))) this.#fail(it, 'unreadable', unreadable);
      else if (!it.gone) this.#fault(it, fault, before);
    } finally {
      it.abort = null;
      this.#active--;
      this.#pump();
    }
  }

  #fault(it, fault, before) {
    if (fault.name === 'AbortError') { // paused
      this.#set(it, 'queued');
      this.#queue.send.unshift(it);
      return;
    }
    if (!(fault instanceof PutFault)) {
      this.#fail(it, 'internal', String(fault.message ?? fault));
      return;
    }
    const bad = () => this.#fail(it, fault.code || 'bucket_refuses', fault.message);
    switch (fault.verdict) {
      case Verdict.fresh:
        if (++it.fresh > maxFresh) return bad();
        this.#set(it, 'queued');
        this.#queue.renew.push(it);
        return undefined;
      case Verdict.clock:
        if (!fault.bucketTime || ++it.fresh > maxFresh) return bad();
        this.#bucketSkew = fault.bucketTime - Date.now();
        this.#set(it, 'queued');
        this.#queue.send.unshift(it);
        return undefined;
      case Verdict.bytes: // the file changed since it was hashed, or something on the way changes it
        if (++it.fresh > 1) return bad();
        this.#again(it, true);
        it.fresh = 1;
        return undefined;
      case Verdict.again:
        // While nothing at all gets through, it is not this file's fault.
        if (this.#through > before && ++it.strikes > maxStrikes) return bad();
        this.#silent(fault);
        this.#set(it, 'queued');
        this.#later(() => { if (it.state === 'queued' && !it.gone) this.#queue.send.push(it); }, it);
        return undefined;
      default:
        return bad();
    }
  }

  /** Tries a file again after a while that grows. */
  #later(then, it) {
    it.waits = Math.min((it.waits ?? 0) + 1, 6);
    setTimeout(() => { then(); this.#pump(); }, 500 * 2 ** (it.waits - 1) * (0.75 + Math.random() / 2));
  }

  /** Tells that nothing gets through, and pauses when that lasts. */
  #silent(cause) {
    this.#troubled({ code: cause.code || 'unreachable', detail: cause.message, passing: true });
    if (performance.now() - this.#movedAt > silenceMillis) {
      this.pause();
      this.#troubled({ code: 'gave_up', detail: `nothing got through for three minutes: ${cause.message}` });
    }
  }

  // ── the server ────────────────────────────────────────────────────────────────

  #call(path, body) { return this.#server.call(path, body, this.#closed.signal); }

  /** Asks about items until there is an answer. Those who can't be asked about fail, or go back into a queue. */
  async #ask(path, body, items, queue) {
    for (let wait = 1000; ; wait = Math.min(wait * 2, 30_000)) {
      try {
        const answer = await this.#call(path, body);
        this.#movedAt = performance.now();
        if (this.#trouble?.code === 'unreachable') this.#troubled(null);
        return answer;
      } catch (err) {
        if (err.name === 'AbortError') return undefined;
        if (err.code === 'batch_too_large' && items.length > 1) {
          this.#batch = Math.ceil(items.length / 2);
          queue.unshift(...items);
          return undefined;
        }
        if (!(err instanceof Problem) || !err.passes) {
          for (const it of items) this.#fail(it, err.code ?? 'internal', err.detail ?? String(err));
          return undefined;
        }
        this.#troubled({ code: err.code, detail: err.detail, passing: true });
        await new Promise((resolve) => { setTimeout(resolve, Math.max(wait, err.retryAfterSeconds * 1000)); });
        if (this.#paused) {
          queue.unshift(...items);
          return undefined;
        }
      }
    }
  }

  /** Tells the server that a file ended, with others that ended within a second. */
  #hint(it) {
    this.#queue.done.push(it);
    if (this.#busy.done) return;
    this.#busy.done = true;
    setTimeout(async () => {
      const items = this.#queue.done.splice(0, this.#batch);
      const ids = items.filter((i) => i.state === 'uploaded').map((i) => i.image.id);
      try {
        if (ids.length) this.observe((await this.#call('images/done', { ids })).results.map((r) => r.image).filter(Boolean));
      } catch { /* the broker looks by itself */ }
      this.#busy.done = false;
      if (this.#queue.done.length) this.#hint(this.#queue.done.pop());
    }, 1000);
  }

  /** Asks for verdicts, less often while nothing changes. */
  #poll() {
    if (this.#pollTimer || this.#closed.signal.aborted) return;
    this.#pollTimer = setTimeout(async () => {
      const items = [...this.#unjudged].slice(0, this.#batch);
      try {
        const { results } = await this.#call('images/check', { sha1: items.map((it) => it.sha1) });
        this.observe(results.map((r) => r.image).filter(Boolean));
      } catch (err) {
        if (err.name === 'AbortError') return;
        // A key that may not read learns it from what it may ask.
        if (err.code === 'not_allowed') items.forEach((it) => this.#hint(it));
      }
      // What is still open goes to the end, so that each gets its turn.
      const open = items.filter((it) => this.#unjudged.has(it));
      for (const it of open) { this.#unjudged.delete(it); this.#unjudged.add(it); }
      this.#pollMillis = open.length < items.length ? 1000 : Math.min(this.#pollMillis * 1.5, 10_000);
      this.#pollTimer = 0;
      if (this.#unjudged.size) this.#poll();
    }, this.#pollMillis);
  }

  // ── what others are told ──────────────────────────────────────────────────────

  #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }

  #troubled(trouble) {
    if (!trouble && !this.#trouble) return;
    this.#trouble = trouble;
    this.#emit('trouble', trouble);
  }

  #tell() {
    this.#progressTimer ||= setTimeout(() => {
      this.#progressTimer = 0;
      this.#emit('progress', this.totals);
    }, progressMillis);
  }

  #settle() {
    if (this.#settled || this.#adding || !this.files.length) return;
    if (this.#counts.ready + this.#counts.invalid + this.#counts.failed < this.files.length) return;
    this.#settled = true;
    this.#emit('settled', this.totals);
  }
}
