// What a device found of its host: a row for each check, with what to do. Names, codes and
// figures are the device's words, and become text.

import { h } from "./dom.js";
import { known, t } from "./i18n.js";

/** @typedef {import("./shapes.js").Check} Check */

/** @type {Record<string, string>} */
const badges = { ok: "ok", warn: "warn", fail: "bad", unknown: "idle" };

/**
 * What a check looks at.
 * @param {string} check
 * @returns {string}
 */
export function checkName(check) {
	const port = /^tcp_(\d{1,5})$/.exec(check);
	return port ? t("preflight.port", { port: port[1] }) : known(`preflight.name.${check}`) || check;
}

/**
 * The key of what a check found, below its beginning.
 * @param {Check} c
 */
function keyOf(c) {
	const service = /^(ssh|smb|rdp|tcp_\d+)$/.test(c.check);
	return `${service ? "service" : c.check}.${c.code ?? ""}`;
}

/**
 * The row of a check.
 * @param {Check} c
 * @returns {HTMLElement}
 */
export function checkRow(c) {
	const what = known(`preflight.what.${keyOf(c)}`) || known(`preflight.why.${c.code}`) || c.code || "";
	const todo = known(`preflight.todo.${keyOf(c)}`);
	return h("li", null,
		h("span", { class: `badge dot ${badges[c.state] ?? "idle"}` }, known(`preflight.state.${c.state}`) || t("preflight.state.unknown")),
		h("div", null,
			h("strong", null, checkName(c.check)), " ", what, " ", c.detail ? h("code", null, c.detail) : null,
			todo ? h("p", { class: "soft" }, todo) : null));
}
