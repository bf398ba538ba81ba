// The page's calls. They are those of the REST API, below /page/v1, where the
// session's cookie counts instead of a key.

/** What a call was refused with: a problem document's fields. */
export class Problem extends Error {
  constructor({ status = 0, code = "internal", detail = "", retry_after = 0, fault = null } = {}) {
    super(detail || code);
    this.name = "Problem";
    this.status = status; // 0: nobody answered
    this.code = code;
    this.detail = detail;
    this.retryAfter = retry_after; // seconds
    this.fault = fault;
  }
}

const signedIn = () => Boolean(document.getElementById("app")?.dataset.owner);
let leaving = false;
const stays = new Set();

/** Keeps the page from leaving for the sign-in while busy(): ended() is called instead. */
export const stayWhile = (busy, ended) => { stays.add({ busy, ended }); };

/** Leads to the sign-in and back here, once; those who never signed in stay. */
export function signInAgain() {
  if (leaving || !signedIn()) return;
  const held = [...stays].filter(({ busy }) => busy());
  if (held.length) {
    for (const { ended } of held) ended();
    return;
  }
  leaving = true;
  location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));
}

/** Finds out whether the session lasts, where something else failed without saying why. */
export const checkSession = () => signedIn() && !leaving && api.get("/me").catch(() => {});

const tries = 3;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Calls below a base. Reading is tried again when nobody answers or the server
 * asks for patience; changing is not.
 */
export function createAPI(base = "/page/v1") {
  const url = (path) => base + path;

  async function once(method, path, body, signal) {
    const init = { method, signal, headers: { Accept: "application/json" }, credentials: "same-origin" };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers["Content-Type"] = "application/json";
    }
    let resp;
    try {
      resp = await fetch(url(path), init);
    } catch (err) {
      if (err.name === "AbortError") throw err;
      throw new Problem({ code: "unreachable" });
    }
    if (resp.status === 401) signInAgain();
    const json = /\bjson\b/.test(resp.headers.get("Content-Type") ?? "");
    if (!resp.ok) {
      const said = json ? await resp.json().catch(() => ({})) : {};
      throw new Problem({ code: "unexpected", ...said, status: resp.status });
    }
    if (resp.status === 204 || !json) return null;
    return resp.json();
  }

  async function call(method, path, body, { signal } = {}) {
    for (let n = 1; ; n++) {
      try {
        return await once(method, path, body, signal);
      } catch (err) {
        const soon = err.status === 0 || err.status === 429 || err.status === 503;
        if (!(err instanceof Problem) || method !== "GET" || !soon || n === tries || err.retryAfter > 20) throw err;
        await pause(Math.max(err.retryAfter * 1000, 300 * 4 ** (n - 1)));
      }
    }
  }

  return {
    base,
    url,
    get: (path, options) => call("GET", path, undefined, options),
    post: (path, body, options) => call("POST", path, body ?? {}, options),
    del: (path, options) => call("DELETE", path, undefined, options),
    /** Every entry of a paged list, page by page: `for await (const list of api.pages("/projects", "projects"))`. */
    async *pages(path, field, limit = 1000) {
      const mark = path.includes("?") ? "&" : "?";
      let cursor = "";
      do {
        const page = await this.get(`${path}${mark}limit=${limit}${cursor && "&cursor=" + encodeURIComponent(cursor)}`);
        yield page[field];
        cursor = page.next_cursor;
      } while (cursor);
    },
  };
}

export const api = createAPI();
