// A worker that computes SHA-1 of files, for uploadbroker.js. In WebAssembly, since
// a page that came over plain http, as in a LAN, has no WebCrypto.
//
// It says {} when it is loaded, is sent {id, file}, and answers {id, sha1} or {id, error}.

import "./vendor/hash-wasm/sha1.umd.min.js";

const sliceBytes = 4 << 20;

let hasher;
let before = Promise.resolve(); // there is one hasher: one file at a time

async function digest(file) {
  hasher ??= await globalThis.hashwasm.createSHA1();
  hasher.init();
  for (let at = 0; at < file.size; at += sliceBytes) {
    hasher.update(new Uint8Array(await file.slice(at, at + sliceBytes).arrayBuffer()));
  }
  return hasher.digest("hex");
}

self.onmessage = ({ data: { id, file } }) => {
  before = before.then(async () => {
    try {
      self.postMessage({ id, sha1: await digest(file) });
    } catch (err) {
      self.postMessage({ id, error: err.name === "NotReadableError" || err.name === "NotFoundError" ? "unreadable" : String(err.message || err) });
    }
  });
};

self.postMessage({}); // it is loaded
