// Calls of a project's part of the REST API, for uploadbroker.js.

const silentMillis = 60_000; // and the time that the slowest line needs for the question
const slowestPerMilli = 0.5; // bytes

/** A refusal of the server: a problem document (RFC 9457). status is 0 when it can't be reached. */
export class Problem extends Error {
  constructor(status, code, detail, retryAfterSeconds = 0) {
    super(detail);
    this.name = "Problem";
    Object.assign(this, { status, code, detail, retryAfterSeconds });
  }

  /** Whether to ask again makes sense. */
  get passes() { return this.status === 0 || this.status === 429 || this.status >= 500; }
}

/** The server, as one project's uploads need it. */
export class Server {
  /** What its clock is ahead of this machine's. */
  skewMillis = 0;

  #base;
  #init;

  constructor({ server, project, key, headers }) {
    this.#base = `${server.replace(/\/$/, "")}/v1/projects/${encodeURIComponent(project)}/`;
    this.#init = {
      credentials: key ? "omit" : "same-origin",
      headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }), ...headers },
    };
  }

  /** The present by its clock, in milliseconds. */
  now() { return Date.now() + this.skewMillis; }

  /**
   * Sends a body, if there is one, and returns the answer's; what is refused is a Problem,
   * and so is an answer that does not come or not whole. A signal ends it with an AbortError.
   */
  async call(path, body, signal, method = "POST") {
    signal.throwIfAborted();
    const text = body && JSON.stringify(body);
    const line = new AbortController();
    const cut = () => line.abort();
    signal.addEventListener("abort", cut);
    const timer = setTimeout(cut, silentMillis + (text?.length ?? 0) / slowestPerMilli);
    try {
      const res = await fetch(this.#base + path, { ...this.#init, method, body: text, signal: line.signal });
      const date = Date.parse(res.headers.get("date") ?? ""); // whole seconds
      if (date) this.skewMillis = date + 500 - Date.now();
      if (res.ok) return await res.json();
      const answer = await res.json().catch(() => ({})); // a proxy's page, for one
      throw new Problem(res.status, answer.code ?? "internal", answer.detail ?? `the server answers ${res.status}`, Number(res.headers.get("retry-after")) || 0);
    } catch (err) {
      if (err instanceof Problem) throw err;
      signal.throwIfAborted();
      throw new Problem(0, "unreachable", "can't reach the server");
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", cut);
    }
  }
}
