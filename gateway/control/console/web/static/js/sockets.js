// How a WebSocket ended. The engines open their own and keep the reason to themselves,
// so the page stands between: it only listens.

/** @typedef {{code: number, reason: string}} Closed */

/** @type {Map<string, (closed: Closed) => void>} */
const waiting = new Map();

const Plain = globalThis.WebSocket;
globalThis.WebSocket = class extends Plain {
  /** @param {string | URL} url @param {string | string[]} [protocols] */
  constructor(url, protocols) {
    super(url, protocols);
    const path = new URL(url, location.href).pathname;
    const tell = waiting.get(path);
    waiting.delete(path);
    if (tell) this.addEventListener("close", (e) => tell({ code: e.code, reason: e.reason }));
  }
};

/**
 * How the next WebSocket to a path ends.
 * @param {string} path
 * @returns {Promise<Closed>}
 */
export function nextClosed(path) {
  return new Promise((resolve) => waiting.set(path, resolve));
}

/**
 * The address of a path by WebSocket.
 * @param {string} path
 */
export function socketURL(path) {
  return `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
}

/**
 * How it ended, if that is known before long: an engine may notice first.
 * @param {Promise<Closed>} closed
 * @returns {Promise<Closed>}
 */
export function soon(closed) {
  /** @type {Promise<Closed>} */
  const late = new Promise((resolve) => setTimeout(() => resolve({ code: 0, reason: "" }), 1500));
  return Promise.race([closed, late]);
}
