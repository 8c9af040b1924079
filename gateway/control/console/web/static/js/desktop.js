// The page of a device's desktop: who signs in there, the picture, and why it ended.

import { Problem, get, stream } from "./api.js";
import { byId, page, replace, say } from "./dom.js";
import { t, known } from "./i18n.js";
import { NoDesktop } from "./nodesktop.js";
import { openDesktop } from "./remote.js";

/**
 * @typedef {object} About what the console says of desktops of this session
 * @property {string} device
 * @property {string[]} engines those that may be used, the preferred first
 * @property {string[]} embedded those that are built in
 * @property {boolean} drive the device's files can be shown beside
 * @property {boolean} recorded guacd records
 */

const root = `/console/held/${encodeURIComponent(page.id)}`;
const form = byId("signin", HTMLFormElement);
const place = byId("screen");
const stage = byId("stage");
const status = byId("status");
const field = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));

/** @type {import("./remote.js").RemoteDesktop | null} */
let desktop = null;
/** @type {import("./remote.js").Wish | null} */
let last = null;
let fits = true;
let over = "";

/** Where the page is: "form", "connecting", "shown" or "ended". @param {string} name */
function go(name) {
  document.body.dataset.stage = name;
  for (const e of stage.querySelectorAll("[data-in]")) {
    if (e instanceof HTMLElement) e.hidden = !(e.dataset.in ?? "").split(" ").includes(name);
  }
}

/** The size that the picture has room for; engines want even numbers. */
function room() {
  const even = (/** @type {number} */ n) => Math.max(200, Math.min(8192, Math.floor(n / 4) * 4));
  return { width: even(stage.clientWidth), height: even(stage.clientHeight) };
}

function wanted() {
  const [width, height] = field("size").value.split("x").map(Number);
  return width && height ? { width, height } : room();
}

/** @returns {import("./remote.js").Wish} */
function wish() {
  const drive = field("drive").checked ? { username: field("drive_user").value, password: field("drive_password").value } : null;
  return {
    session: page.id, username: field("username").value, password: field("password").value, domain: field("domain").value,
    size: wanted(), unicode: field("unicode").checked, drive,
  };
}

/** @param {import("./remote.js").Wish} w */
async function connect(w) {
  last = w;
  go("connecting");
  say(status, t("desktop.connecting"));
  try {
    desktop = await openDesktop(field("engine").value, place, w);
  } catch (e) {
    ended(e instanceof NoDesktop || e instanceof Problem ? e.code : "engine_failed", e instanceof Problem ? e.message : "");
    return;
  }
  go("shown");
  say(status, t("desktop.shown"));
  desktop.fit(fits);
  desktop.focus();
  const mine = desktop;
  const { code } = await mine.ended;
  if (desktop === mine) ended(code, "");
}

/** @param {string} code @param {string} detail */
function ended(code, detail) {
  desktop = null;
  replace(place);
  code = over || code;
  const what = known(`desktop.end.${code}`) || known(`problem.${code}`) || detail || t("desktop.end.other", { code });
  say(byId("why"), what);
  say(byId("todo"), known(`desktop.todo.${code}`) || known(`hint.${code}`));
  say(status, what);
  byId("again", HTMLButtonElement).disabled = over !== "";
  go("ended");
  byId("ended").focus();
}

/** Ends what is shown, then connects anew with what was typed. @param {{width: number, height: number}} size */
async function reconnect(size) {
  if (!last) return;
  const before = desktop;
  desktop = null;
  go("connecting");
  before?.close();
  await before?.ended;
  await connect({ ...last, size });
}

form.addEventListener("submit", (e) => {
  e.preventDefault();
  connect(wish());
});
field("drive").addEventListener("change", () => { byId("drive-account").hidden = !field("drive").checked; });
const passes = () => { byId("memory-guacd").hidden = field("engine").value !== "guacd"; };
field("engine").addEventListener("change", passes);
byId("cad").addEventListener("click", () => { desktop?.ctrlAltDel(); desktop?.focus(); });
byId("meta").addEventListener("click", () => { desktop?.metaKey(); desktop?.focus(); });
byId("resize").addEventListener("click", () => reconnect(room()));
byId("full").addEventListener("click", () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else stage.requestFullscreen().then(() => desktop?.focus(), () => {});
});
byId("fit").addEventListener("click", () => {
  fits = !fits;
  byId("fit").setAttribute("aria-pressed", String(fits));
  desktop?.fit(fits);
  desktop?.focus();
});
byId("close").addEventListener("click", () => desktop?.close());
byId("again").addEventListener("click", () => { if (last) connect({ ...last, size: wanted() }); });
byId("change").addEventListener("click", () => {
  go("form");
  field("password").focus();
});
addEventListener("pagehide", () => desktop?.close());

// The session's own end is told here first, and is the reason of everything else.
const stop = stream(`${root}/events`, {
  on: {
    held: (data) => {
      if (data.over) {
        stop(); // or it is told again and again
        over = data.over.code || "closed";
        if (!desktop) ended(over, data.over.why ?? "");
      }
    },
  },
  refused: async () => {
    const { sessions } = await get("/console/held");
    if (sessions.includes(page.id)) return true;
    over ||= "not_held"; // the console was started anew, or another took over
    if (!desktop) ended(over, "");
    return false;
  },
});

try {
  /** @type {About} */
  const about = await get(`${root}/desktop`);
  say(byId("device"), about.device);
  const usable = about.engines.filter((e) => about.embedded.includes(e));
  const engine = field("engine");
  for (const o of [.../** @type {HTMLSelectElement} */ (/** @type {unknown} */ (engine)).options]) if (!usable.includes(o.value)) o.remove();
  if (usable[0]) engine.value = usable[0];
  passes();
  byId("engine-field").hidden = usable.length < 2;
  byId("drive-field").hidden = !(about.drive && usable.includes("guacd"));
  byId("recorded").hidden = !about.recorded;
  if (usable.length) {
    go("form");
    field("username").focus();
  } else {
    go("missing");
    byId("missing-recorded").hidden = about.engines.length > 0;
    byId("missing-assets").hidden = about.engines.length === 0;
  }
} catch (e) {
  if (!(e instanceof Problem)) throw e;
  ended(e.code, e.message);
}
