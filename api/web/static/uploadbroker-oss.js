// OSS's signature of version 4 in headers, for uploadbroker.js
// (https://www.alibabacloud.com/help/en/oss/developer-reference/recommend-to-use-signature-version-4).
//
// SHA-256 is computed here: WebCrypto is missing on pages that came over plain http,
// and these texts are short.

const utf8 = new TextEncoder();

const rotate = (x, n) => (x >>> n) | (x << (32 - n));

// FIPS 180-4, 4.2.2 and 5.3.3: the first bits of the fractions of the cube and
// square roots of the first primes.
const [roundConstants, initialHash] = (() => {
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const fraction = (x) => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
  return [primes.map((p) => fraction(Math.cbrt(p))), primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)))];
})();

/** SHA-256 of bytes, as bytes. */
export function sha256(bytes) {
  const padded = new Uint8Array(((bytes.length + 8 >> 6) + 1) << 6);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
  view.setUint32(padded.length - 4, bytes.length << 3);
  const hash = Int32Array.from(initialHash);
  const w = new Int32Array(64);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 64; i++) {
      if (i < 16) {
        w[i] = view.getInt32(block + 4 * i);
        continue;
      }
      const s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + roundConstants[i] + w[i]) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => { hash[i] += x; });
  }
  const out = new DataView(new ArrayBuffer(32));
  hash.forEach((x, i) => out.setInt32(4 * i, x));
  return new Uint8Array(out.buffer);
}

const join = (a, b) => {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
};

/** HMAC-SHA-256 (RFC 2104) of a text, as bytes. */
export function hmac(key, text) {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha256(key) : key);
  const inner = sha256(join(block.map((x) => x ^ 0x36), utf8.encode(text)));
  return sha256(join(block.map((x) => x ^ 0x5c), inner));
}

export const hex = (bytes) => Array.from(bytes, (x) => x.toString(16).padStart(2, "0")).join("");

// All but RFC 3986's unreserved characters, and slashes.
const escapePath = (path) => path.split("/").map((part) => encodeURIComponent(part)
  .replace(/[!'()*]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase())).join("/");

/**
 * The headers that a PUT with an STS session needs.
 *
 * @param {object} session of a grant
 * @param {string} type Content-Type, which is sent too
 * @param {number} sizeBytes of the body; the browser sends it by itself
 * @param {Date} at the present, by the bucket's clock
 */
export function signPut(session, type, sizeBytes, at) {
  const time = at.toISOString().replace(/[-:]|\.\d+/g, "");
  const day = time.slice(0, 8);
  const payload = "UNSIGNED-PAYLOAD";
  const headers = {
    "content-type": type,
    "x-oss-content-sha256": payload,
    "x-oss-date": time,
    "x-oss-security-token": session.token,
  };
  // The length is not among what is always signed. With it a body that a proxy has
  // cut or padded is refused.
  const signed = { ...headers, "content-length": String(sizeBytes) };
  const canonical = [
    "PUT", escapePath(`/${session.bucket}/${session.key}`), "",
    ...Object.keys(signed).sort().map((name) => `${name}:${signed[name].trim()}`),
    "", "content-length", payload,
  ].join("\n");
  const scope = `${day}/${session.region}/oss/aliyun_v4_request`;
  const text = ["OSS4-HMAC-SHA256", time, scope, hex(sha256(utf8.encode(canonical)))].join("\n");
  let key = utf8.encode("aliyun_v4" + session.secret);
  for (const step of [day, session.region, "oss", "aliyun_v4_request"]) key = hmac(key, step);
  headers.authorization = `OSS4-HMAC-SHA256 Credential=${session.id}/${scope},AdditionalHeaders=content-length,Signature=${hex(hmac(key, text))}`;
  return headers;
}
