// Workers that hash, for uploadbroker.js.

/**
 * Starts workers. room is how many files may be given at once: two to each, so that
 * none waits for the page.
 *
 * @returns {{room: number, sha1: (file: Blob) => Promise<string>, close: () => void}}
 */
export function hashers() {
  const count = Math.max(1, Math.min(4, (navigator.hardwareConcurrency ?? 2) - 1));
  const asked = new Map();
  let next = 0;
  const workers = Array.from({ length: count }, () => {
    const worker = start(new URL('./uploadbroker-sha1.js', import.meta.url));
    worker.onmessage = ({ data: { id, sha1, error } }) => {
      const { resolve, reject } = asked.get(id);
      asked.delete(id);
      if (error) reject(new Error(error));
      else resolve(sha1);
    };
    worker.onerror = (e) => {
      e.preventDefault();
      for (const { reject } of asked.values()) reject(new Error(e.message || 'the worker does not start'));
      asked.clear();
    };
    return worker;
  });
  return {
    room: 2 * count,
    sha1: (file) => new Promise((resolve, reject) => {
      const id = (next += 1);
      asked.set(id, { resolve, reject });
      workers[id % count].postMessage({ id, file });
    }),
    close: () => workers.forEach((w) => w.terminate()),
  };
}

// Pages of other origins may import a module from here, but not start a worker of it:
// they start one of their own that imports it.
function start(url) {
  if (url.origin === location.origin) return new Worker(url, { type: 'module' });
  const own = URL.createObjectURL(new Blob([`import ${JSON.stringify(url.href)};`], { type: 'text/javascript' }));
  return new Worker(own, { type: 'module' });
}
