// The nodes: how they are and how much they carry; administrators drain them here.

import { pages, post } from "./api.js";
import { byId, h, may, page, replace } from "./dom.js";
import { t, known } from "./i18n.js";
import { count, since } from "./format.js";
import { ask } from "./dialog.js";
import { complain, explain, toast } from "./toast.js";

/** @typedef {import("./shapes.js").GatewayNode} GatewayNode */

const every = 5000; // ms between looks
const manages = may("admin") && page.everywhere;

/** @type {Record<string, string>} */
const kinds = { connected: "ok", claimed: "", disconnected: "warn", lost: "bad" };

/** @param {GatewayNode} n */
function state(n) {
	const badges = [h("span", { class: `badge dot ${kinds[n.state] ?? ""}` }, known(`node.${n.state}`) || n.state)];
	if (n.draining) badges.push(h("span", { class: "badge warn" }, n.moving ? t("nodes.moving") : t("nodes.draining")));
	return h("span", { class: "badges" }, ...badges);
}

/** @param {GatewayNode} n */
function load(n) {
	if (!n.capacity) return h("span", { class: "num" }, count(n.sessions));
	const text = t("nodes.load", { n: count(n.sessions), all: count(n.capacity) });
	const full = n.sessions / n.capacity;
	return h("span", { class: "load" },
		h("meter", { min: 0, max: n.capacity, low: n.capacity * 0.7, high: n.capacity * 0.9, optimum: 0, value: n.sessions, "aria-label": t("nodes.load_of", { node: n.name }) }),
		h("span", { class: full > 0.9 ? "num strong" : "num" }, text));
}

/** @param {GatewayNode} n */
function actions(n) {
	if (!manages || n.state === "claimed") return null;
	if (n.draining) return h("button", { class: "btn small", type: "button", onclick: (e) => void drain(n, false, false, e.target) }, t("nodes.undrain"));
	return h("button", { class: "btn small", type: "button", onclick: (e) => void askDrain(n, e.target) }, t("nodes.drain"));
}

/**
 * @param {GatewayNode} n
 * @param {HTMLButtonElement} button
 */
async function askDrain(n, button) {
	const move = h("label", { class: "check" }, h("input", { type: "checkbox", name: "move", checked: true }), t("nodes.move_too"));
	const said = await ask({ title: t("nodes.drain_title", { node: n.name }), text: t("nodes.drain_text", { n: count(n.sessions) }), yes: t("nodes.drain"), fields: [move] });
	if (said) await drain(n, true, said.has("move"), button);
}

/**
 * @param {GatewayNode} n
 * @param {boolean} draining
 * @param {boolean} move
 * @param {HTMLButtonElement} button
 */
async function drain(n, draining, move, button) {
	button.disabled = true;
	try {
		await post(`/nodes/${encodeURIComponent(n.name)}/drain`, { draining, move });
		toast(draining ? t("nodes.drained", { node: n.name }) : t("nodes.undrained", { node: n.name }), "ok");
		await look();
	} catch (e) {
		complain(e);
	} finally {
		button.disabled = false;
	}
}

/** @param {GatewayNode} n */
function row(n) {
	return h("tr", null,
		h("th", { scope: "row", class: "mono" }, n.name),
		h("td", null, state(n)),
		h("td", null, load(n)),
		h("td", null, n.leaving ? count(n.leaving) : ""),
		h("td", null, n.region ?? ""),
		h("td", null, n.version ?? ""),
		h("td", { class: "mono" }, (n.endpoints ?? []).join(", ")),
		h("td", null, n.last_seen ? since(n.last_seen) : ""),
		h("td", { class: "end" }, actions(n)));
}

let shown = "";

async function look() {
	try {
		/** @type {GatewayNode[]} */
		const list = [];
		for await (const some of pages("/nodes")) list.push(...some);
		byId("fault").hidden = true;
		byId("loading").hidden = true;
		byId("none").hidden = list.length > 0;
		byId("table").hidden = list.length === 0;
		const text = JSON.stringify(list);
		if (text === shown) return;
		shown = text;
		replace(byId("nodes"), ...list.map(row));
	} catch (e) {
		const { what, hint } = explain(e);
		replace(byId("fault"), h("strong", null, what), " ", hint);
		byId("fault").hidden = false;
		byId("loading").hidden = true;
	}
}

void look();
setInterval(() => {
	if (!document.hidden) void look();
}, every);
