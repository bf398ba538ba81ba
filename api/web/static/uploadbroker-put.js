// Sends one file with its grant, once, and tells what a failure means.

import { signPut } from "./uploadbroker-oss.js";

/** What is to be done after a PUT that failed. */
export const Verdict = Object.freeze({
  again: "again", // after a while
  fresh: "fresh", // with a fresh grant
  clock: "clock", // sign by the bucket's clock
  bytes: "bytes", // the bytes are not those that the grant is for
  refused: "refused", // give it up
});

const stallMillis = 60_000;

/** Why a PUT did not succeed. Its text never holds a signed URL nor a session. */
export class PutFault extends Error {
  constructor(verdict, message, more) {
    super(message);
    this.name = "PutFault";
    Object.assign(this, { verdict, status: 0, code: "", bucketTime: 0 }, more);
  }
}

/**
 * Sends a file. The promise is fulfilled when the bucket has taken it.
 *
 * @param {Blob} file
 * @param {object} grant as the broker gave it
 * @param {{type: string, skewMillis: number, signal: AbortSignal, progress: (bytes: number) => void}} options
 */
export function put(file, grant, { type, skewMillis, signal, progress }) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest(); // fetch tells no progress of what is sent
    const host = new URL(grant.url, location.href).host;
    const session = grant.session;
    let stall;
    const done = (fault) => {
      clearTimeout(stall);
      signal.removeEventListener("abort", abort);
      if (fault) reject(fault); else resolve();
    };
    const abort = () => xhr.abort();
    let stalled = false;
    const moved = () => {
      clearTimeout(stall);
      stall = setTimeout(() => { stalled = true; xhr.abort(); }, stallMillis);
    };
    xhr.open(grant.method || "PUT", grant.url);
    const headers = session ? signPut(session, type, file.size, new Date(Date.now() + skewMillis)) : grant.headers;
    for (const [name, value] of Object.entries(headers)) {
      // These two the browser sends by itself.
      if (!/^(content-length|host)$/i.test(name)) xhr.setRequestHeader(name, value);
    }
    xhr.upload.onprogress = (e) => { moved(); progress(e.loaded); };
    xhr.upload.onload = () => moved();
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) return done();
      const fault = faultOf(xhr, host, session);
      return done(fault.there ? undefined : fault);
    };
    xhr.onerror = () => done(new PutFault(Verdict.again, `can't reach the bucket at ${host}`, { unanswered: true }));
    xhr.onabort = () => done(stalled ? new PutFault(Verdict.again, `no byte moved for a long time to the bucket at ${host}`) : new DOMException("", "AbortError"));
    if (signal.aborted) return done(new DOMException("", "AbortError"));
    signal.addEventListener("abort", abort);
    moved();
    // Without a type of its own, or the browser adds a header that is not signed.
    xhr.send(file.slice(0, file.size, ""));
  });
}

const verdicts = {
  BadDigest: "bytes", InvalidDigest: "bytes", XAmzContentChecksumMismatch: "bytes", XAmzContentSHA256Mismatch: "bytes", IncompleteBody: "bytes",
  RequestTimeout: "again", OperationAborted: "again", InternalError: "again", SlowDown: "again", ServiceUnavailable: "again",
  QpsLimitExceeded: "again", UploadTrafficRateLimitExceeded: "again", RequestTimeTooSkewed: "clock", UserDisable: "refused",
  SecurityTokenExpired: "fresh", InvalidSecurityToken: "fresh", InvalidAccessKeyId: "fresh", ExpiredToken: "fresh", InvalidToken: "fresh",
  RequestExpired: "fresh",
};

// S3 and OSS answer the same kind of document. Its other elements stay where they
// are: OSS's tell of the signature.
function faultOf(xhr, host, session) {
  const { status } = xhr;
  const doc = /<Error/.test(xhr.responseText) ? new DOMParser().parseFromString(xhr.responseText, "text/xml") : null;
  const text = (name) => doc?.querySelector(`Error > ${name}`)?.textContent.trim().replace(/\s+/g, " ").slice(0, 200) ?? "";
  const code = text("Code");
  // It refuses because it has the key already, which was ours alone to write: an
  // answer to an earlier PUT was lost.
  const there = status === 412 || (status === 409 && (code === "FileAlreadyExists" || code === "FileImmutable"));
  let verdict = verdicts[code];
  if (verdict === "clock" && !session) verdict = "refused";
  if (!verdict) {
    if (status >= 500 || status === 429 || status === 408 || status === 409 || status === 425) verdict = "again";
    else verdict = status === 403 || status === 401 ? "fresh" : "refused";
  }
  let said = [code, text("Message")].filter(Boolean).join(": ");
  for (const secret of session ? [session.secret, session.token] : []) said = said.replaceAll(secret, "…");
  return new PutFault(verdict, `the bucket at ${host} answers ${status}${said && " " + said}`, { status, code, there, bucketTime: bucketTime(xhr, text("ServerTime")) });
}

// The header Date is hidden from pages of other origins, unless the bucket exposes it;
// OSS tells its clock in the document as well.
function bucketTime(xhr, told) {
  const exposed = /^date:/im.test(xhr.getAllResponseHeaders()) ? xhr.getResponseHeader("date") : "";
  return Date.parse(told) || Date.parse(exposed) || 0;
}
