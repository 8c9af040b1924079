// Guacamole: guacd, beside the console, speaks RDP and sends pictures. The password
// goes to the console once, in the body of a request, and from there to guacd.

import { post } from "./api.js";
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";
import { NoDesktop } from "./nodesktop.js";
import { nextClosed, soon } from "./sockets.js";
import { toast } from "./toast.js";

const path = "/console/guac";

/** What guacd's statuses mean; where they say nothing, the WebSocket's reason does. */
const statuses = new Map([
  [515, "port_closed"], [516, "port_closed"], [517, "taken_over"], [519, "port_closed"], [520, "port_closed"], [521, "taken_over"],
  [522, "closed"], [523, "closed"], [769, "wrong_password"], [771, "access_denied"],
]);

const keys = { ctrl: 0xffe3, alt: 0xffe9, del: 0xffff, meta: 0xffeb };

/**
 * @param {HTMLElement} place
 * @param {import("./remote.js").Wish} wish
 * @returns {Promise<import("./remote.js").RemoteDesktop>}
 */
export async function drawGuacamole(place, wish) {
  let Guacamole;
  try {
    ({ default: Guacamole } = await import("/console/engines/guacamole/guacamole.js"));
  } catch (e) {
    console.warn(e);
    throw new NoDesktop("engine_missing");
  }
  const { code } = await post(`/console/held/${encodeURIComponent(wish.session)}/guac`, {
    username: wish.username, password: wish.password, domain: wish.domain, width: wish.size.width, height: wish.size.height,
    timezone: Intl.DateTimeFormat().resolvedOptions().timeZone, drive: wish.drive ?? undefined,
  });
  const closed = nextClosed(path);
  const tunnel = new Guacamole.WebSocketTunnel(path);
  const client = new Guacamole.Client(tunnel);
  const display = client.getDisplay();
  // Its layers lie below what has no z-index of its own.
  const box = h("div", { class: "guacamole", tabindex: "0" }, display.getElement());
  replace(place, box);

  let word = "";
  const { promise: over, resolve: end } = withResolvers();
  const { promise: shown, resolve: show } = withResolvers();
  client.onerror = tunnel.onerror = (status) => { word ||= statuses.get(status.code) ?? ""; };
  client.onstatechange = (state) => {
    if (state === 3) show(undefined);
    if (state === 5) end(undefined);
  };
  tunnel.onstatechange = (state) => { if (state === Guacamole.Tunnel.State.CLOSED) end(undefined); };

  const pointer = new Guacamole.Mouse(box);
  pointer.onEach(["mousedown", "mouseup", "mousemove"], (event) => {
    const { state } = /** @type {{state: import("guacamole-common-js").Mouse.State}} */ (/** @type {unknown} */ (event));
    if (state.left) box.focus();
    client.sendMouseState(state, true);
  });
  const keyboard = new Guacamole.Keyboard(box);
  keyboard.onkeydown = (key) => client.sendKeyEvent(1, key);
  keyboard.onkeyup = (key) => client.sendKeyEvent(0, key);
  box.addEventListener("blur", () => keyboard.reset());

  if (wish.drive) takeFiles(box, (file) => upload(Guacamole, client, file));

  let fits = true;
  const arrange = () => {
    const { width, height } = { width: display.getWidth(), height: display.getHeight() };
    if (width && height) display.scale(fits ? Math.min(place.clientWidth / width, place.clientHeight / height) : 1);
  };
  display.onresize = arrange;
  const watch = new ResizeObserver(arrange);
  watch.observe(place);

  client.connect(`code=${encodeURIComponent(code)}`);
  const ended = (async () => {
    await over;
    watch.disconnect();
    const reason = (await soon(closed)).reason;
    return { code: reason === "guacd_refused" ? word || reason : reason || word || "closed" };
  })();
  if ((await Promise.race([shown.then(() => "shown"), ended.then(() => "ended")])) === "ended") throw new NoDesktop((await ended).code);

  /** @param {...number} chord */
  const press = (...chord) => {
    for (const key of chord) client.sendKeyEvent(1, key);
    for (const key of chord.reverse()) client.sendKeyEvent(0, key);
  };
  return {
    ended,
    close: () => client.disconnect(),
    ctrlAltDel: () => press(keys.ctrl, keys.alt, keys.del),
    metaKey: () => press(keys.meta),
    fit: (fit) => {
      fits = fit;
      arrange();
    },
    focus: () => box.focus(),
  };
}

/**
 * Hands each file that is dropped on a place to take.
 * @param {HTMLElement} place
 * @param {(file: File) => Promise<boolean>} take whether it arrived
 */
function takeFiles(place, take) {
  place.addEventListener("dragover", (e) => e.preventDefault());
  place.addEventListener("drop", async (e) => {
    e.preventDefault();
    for (const file of e.dataTransfer?.files ?? []) {
      if (await take(file)) toast(t("desktop.uploaded", { name: file.name }), "ok");
      else toast(t("desktop.not_uploaded", { name: file.name }), "bad");
    }
  });
}

/**
 * Sends a file to the device's account for files.
 * @param {typeof import("guacamole-common-js")} Guacamole
 * @param {import("guacamole-common-js").Client} client
 * @param {File} file
 * @returns {Promise<boolean>}
 */
function upload(Guacamole, client, file) {
  return new Promise((resolve) => {
    const writer = new Guacamole.BlobWriter(client.createFileStream(file.type || "application/octet-stream", file.name));
    writer.oncomplete = () => {
      writer.sendEnd();
      resolve(true);
    };
    writer.onerror = () => resolve(false);
    writer.onack = (status) => { if (status.isError()) resolve(false); };
    writer.sendBlob(file);
  });
}

/** @returns {{promise: Promise<void>, resolve: (value: undefined) => void}} */
function withResolvers() {
  /** @type {(value: undefined) => void} */
  let resolve = () => {};
  /** @type {Promise<void>} */
  const promise = new Promise((r) => { resolve = r; });
  return { promise, resolve };
}
