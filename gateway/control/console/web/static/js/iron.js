// IronRDP: RDP in the browser itself. The console makes the TLS connection and checks
// the device's certificate; the password does not leave the page but inside CredSSP.

import { post } from "./api.js";
import { h, replace } from "./dom.js";
import { NoDesktop } from "./nodesktop.js";
import { nextClosed, socketURL, soon } from "./sockets.js";

const path = "/console/desktop";

/** @typedef {import("/console/engines/iron/iron-remote-desktop.js").UserInteraction} UserInteraction */
/** @typedef {import("/console/engines/iron/iron-remote-desktop.js").IronError} IronError */

/** What IronErrorKind means; where it says nothing, the WebSocket's reason does. */
const kinds = ["", "wrong_password", "logon_failure", "access_denied", "", "proxy_unreachable", "negotiation_refused"];

/** @type {Promise<typeof import("/console/engines/iron/iron-remote-desktop-rdp.js")> | undefined} */
let loading;

/** The engine, compiled once. */
function load() {
  loading ??= (async () => {
    try {
      const [, backend] = await Promise.all([
        import("/console/engines/iron/iron-remote-desktop.js"),
        import("/console/engines/iron/iron-remote-desktop-rdp.js"),
      ]);
      await backend.init("WARN");
      return backend;
    } catch (e) {
      loading = undefined;
      console.warn(e);
      throw new NoDesktop("engine_missing");
    }
  })();
  return loading;
}

/**
 * @param {HTMLElement} place
 * @param {import("./remote.js").Wish} wish
 * @returns {Promise<import("./remote.js").RemoteDesktop>}
 */
export async function drawIron(place, wish) {
  const backend = await load();
  const element = h("iron-remote-desktop", { scale: "fit", flexcenter: "true" });
  element.module = backend.Backend;
  /** @type {Promise<UserInteraction>} */
  const ready = new Promise((resolve) => element.addEventListener("ready", (e) => resolve(/** @type {CustomEvent} */ (e).detail.irgUserInteraction), { once: true }));
  replace(place, element);
  const ui = await ready;
  const { code } = await post(`/console/held/${encodeURIComponent(wish.session)}/code`, { protocol: "rdp" });
  const closed = nextClosed(path);
  const config = ui.configBuilder()
    .withUsername(wish.username)
    .withPassword(wish.password)
    .withServerDomain(wish.domain)
    .withDestination(wish.session) // a name for the engine's own use; the code says where to
    .withProxyAddress(socketURL(path))
    .withAuthToken(code)
    .withDesktopSize(wish.size)
    .withExtension(backend.enableCredssp(true))
    .build();
  const why = async (/** @type {unknown} */ error) => {
    const reason = (await soon(closed)).reason;
    const kind = kinds[/** @type {Partial<IronError>} */ (error).kind?.() ?? 0] ?? "";
    console.warn(/** @type {Partial<IronError>} */ (error).backtrace?.() ?? error);
    return kind || reason || "engine_failed";
  };
  let session;
  try {
    session = await ui.connect(config);
  } catch (e) {
    throw new NoDesktop(await why(e));
  }
  ui.setKeyboardUnicodeMode(wish.unicode);
  ui.setVisibility(true);
  const ended = session.run().then(
    async () => ({ code: (await soon(closed)).reason || "closed" }),
    async (/** @type {unknown} */ e) => ({ code: await why(e) }),
  );
  return {
    ended,
    close: () => ui.shutdown(),
    ctrlAltDel: () => ui.ctrlAltDel(),
    metaKey: () => ui.metaKey(),
    fit: (fit) => ui.setScale(fit ? 1 : 3),
    focus: () => element.shadowRoot?.querySelector("canvas")?.focus(),
  };
}
