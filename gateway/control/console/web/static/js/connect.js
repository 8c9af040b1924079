// One click to a device: asks for what the deployment wants to know first, opens a
// session that this console holds, and goes to its page.

import { get, post, Problem } from "./api.js";
import { h } from "./dom.js";
import { ask, field } from "./dialog.js";
import { t } from "./i18n.js";
import { complain } from "./toast.js";

/**
 * What pages ask for before they ask control.
 * @typedef {object} Policy
 * @property {boolean} require_reason
 * @property {boolean} require_ticket
 * @property {("node" | "end_to_end")[]} kinds the default first
 * @property {number} lifetime_s
 * @property {number} longest_s
 * @property {string[]} ports
 * @property {number} grace_s
 */

/** @type {Promise<Policy> | null} */
let known = null;

/** @returns {Promise<Policy>} */
export function policy() {
	known ??= get("/console/policy");
	known.catch(() => (known = null));
	return known;
}

/**
 * Connects to a device, and asks only for what has to be said.
 * @param {string} device
 * @param {HTMLButtonElement} [button] that was pressed, busy meanwhile
 */
export const connect = (device, button) => open(device, button, false);

/**
 * Connects to a device, and asks for all that may be said: how long, to what, and how.
 * @param {string} device
 * @param {HTMLButtonElement} [button] that was pressed, busy meanwhile
 */
export const connectWith = (device, button) => open(device, button, true);

/**
 * @param {string} device
 * @param {HTMLButtonElement | undefined} button
 * @param {boolean} all
 */
async function open(device, button, all) {
	if (button) busy(button, true);
	try {
		const wanted = await policy();
		/** @type {Record<string, unknown> | null} */
		let request = { device };
		if (all || wanted.require_reason || wanted.require_ticket) request = await question(device, wanted, all);
		if (!request) return;
		const { session } = await post("/console/connect", request);
		location.assign(`/console/sessions/${encodeURIComponent(session)}`);
	} catch (e) {
		// Control's policy may have changed since: then it says what it wants.
		if (e instanceof Problem && /^(reason|ticket)_required$/.test(e.code) && !all) {
			if (button) busy(button, false);
			return open(device, button, true);
		}
		complain(e);
	} finally {
		if (button) busy(button, false);
	}
	return undefined;
}

/**
 * @param {HTMLButtonElement} button
 * @param {boolean} is
 */
function busy(button, is) {
	button.disabled = is;
	button.setAttribute("aria-busy", String(is));
}

/**
 * Asks how to connect, and returns what control is asked for; null: not at all.
 * @param {string} device
 * @param {Policy} wanted
 * @param {boolean} all
 */
async function question(device, wanted, all) {
	const reason = field(t("connect.reason"), "reason", { required: wanted.require_reason, maxlength: 1000, autocomplete: "off" }, wanted.require_reason ? "" : t("connect.optional"));
	const ticket = field(t("connect.ticket"), "ticket", { required: wanted.require_ticket, maxlength: 100, autocomplete: "off" }, wanted.require_ticket ? "" : t("connect.optional"));
	const said = await ask({
		title: t("connect.title", { device }), yes: t("connect.submit"),
		fields: [
			wanted.require_reason || all ? reason : null,
			wanted.require_ticket || all ? ticket : null,
			h("details", { class: "more", open: all }, h("summary", null, t("connect.more")), duration(wanted), services(wanted), kinds(wanted)),
		],
	});
	if (!said) return null;
	const text = (/** @type {string} */ name) => String(said.get(name) ?? "").trim();
	return {
		device, reason: text("reason"), ticket: text("ticket"), lifetime_s: Number(said.get("lifetime")),
		ports: said.getAll("port").map(String), end_to_end: said.get("kind") === "end_to_end",
	};
}

/**
 * A choice of how long, in whole seconds.
 * @param {string} label
 * @param {string} name
 * @param {number} longest in s
 * @param {number} usual in s
 */
export function durations(label, name, longest, usual) {
	const offered = [...new Set([900, 1800, 3600, 7200, 14400, 28800, usual])].filter((s) => s <= longest).sort((a, b) => a - b);
	if (offered.length === 0) offered.push(longest);
	const words = (/** @type {number} */ s) => (s % 3600 ? t("connect.minutes", { n: Math.round(s / 60) }) : t("connect.hours", { n: s / 3600 }));
	return h("label", { class: "field" }, h("span", null, label),
		h("select", { name }, ...offered.map((s) => h("option", { value: s, selected: s === usual }, words(s)))));
}

/** @param {Policy} wanted */
const duration = (wanted) => durations(t("connect.duration"), "lifetime", wanted.longest_s, wanted.lifetime_s);

/** @param {Policy} wanted */
function services(wanted) {
	/** @type {Record<string, string>} */
	const names = { "tcp/3389": t("connect.port_rdp"), "tcp/22": t("connect.port_ssh"), "tcp/445": t("connect.port_smb") };
	return h("fieldset", { class: "field" }, h("legend", null, t("connect.ports")),
		...wanted.ports.map((p) => h("label", { class: "check" }, h("input", { type: "checkbox", name: "port", value: p, checked: true }), h("span", null, names[p] ?? p))));
}

/** @param {Policy} wanted */
function kinds(wanted) {
	if (wanted.kinds.length < 2) return h("input", { type: "hidden", name: "kind", value: wanted.kinds[0] });
	return h("fieldset", { class: "field" }, h("legend", null, t("connect.kind")),
		...wanted.kinds.map((k, i) => h("label", { class: "check" }, h("input", { type: "radio", name: "kind", value: k, checked: i === 0 }),
			h("span", null, t(`connect.kind_${k}`)))));
}
