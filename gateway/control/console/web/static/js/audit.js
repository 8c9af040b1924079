// What happened: search, filters, pages, and all of it as a file.

import { api, get } from "./api.js";
import { byId, h, replace, say } from "./dom.js";
import { t, known } from "./i18n.js";
import { count, exactly } from "./format.js";
import { explain } from "./toast.js";

/** @typedef {import("./shapes.js").AuditRow} AuditRow */

const size = 100; // rows of a page

const kinds = [
	"open", "open_refused", "request", "join", "extend", "leave", "close", "ended", "carried", "moved", "status_refused", "command_refused",
	"foreign_key", "clone", "new_boot", "device", "node_claimed", "node_enrolled", "node_lost", "node_drained", "node_refused", "token",
];
const names = /** @type {const} */ (["text", "what", "who", "device", "session", "since", "until"]);

const form = byId("filter", HTMLFormElement);

/** @param {string} name */
const input = (name) => /** @type {HTMLInputElement | HTMLSelectElement} */ (form.elements.namedItem(name));

/** @type {string[]} where the pages before this one began */
let before = [];
let after = "";
let next = "";

/** What the filter says, as the API asks for it. */
function query() {
	const q = new URLSearchParams();
	for (const name of names) {
		const value = input(name).value.trim();
		if (!value) continue;
		q.set(name, name === "since" || name === "until" ? new Date(value).toISOString() : value);
	}
	return q;
}

/** @param {AuditRow} a */
function row(a) {
	const link = (/** @type {string} */ to, /** @type {string | undefined} */ id) => (id ? h("a", { href: `/console/${to}/${encodeURIComponent(id)}` }, id) : "");
	const at = Date.parse(a.at);
	return h("tr", null,
		h("td", { class: "num nowrap" }, h("time", { datetime: a.at }, exactly(at))),
		h("td", { class: "nowrap" }, known(`what.${a.what}`) || a.what, " ", a.count > 1 ? h("span", { class: "badge" }, `×${count(a.count)}`) : null),
		h("td", null, a.who),
		h("td", { class: "mono nowrap" }, link("devices", a.device)),
		h("td", { class: "mono short" }, link("sessions", a.session)),
		h("td", { class: "nowrap" }, a.node ?? ""),
		h("td", null, a.code ? h("span", { class: "badge" }, a.code) : ""),
		h("td", { class: "detail" }, a.detail ?? ""));
}

let asked = 0;

async function look() {
	const mine = ++asked;
	const q = query();
	for (const [id, format] of [["csv", "csv"], ["ndjson", "ndjson"]]) {
		byId(id, HTMLAnchorElement).href = `${api}/audit/export?${new URLSearchParams([...q, ["format", format]])}`;
	}
	q.set("limit", String(size));
	if (after) q.set("after", after);
	byId("table").setAttribute("aria-busy", "true");
	try {
		const list = await get(`/audit?${q}`);
		if (mine !== asked) return;
		next = list.next ?? "";
		replace(byId("rows"), ...list.items.map(row));
		byId("none").hidden = list.items.length > 0;
		byId("table").hidden = list.items.length === 0;
		byId("fault").hidden = true;
	} catch (e) {
		if (mine !== asked) return;
		const { what, hint } = explain(e);
		replace(byId("fault"), h("strong", null, what), " ", hint);
		byId("fault").hidden = false;
	}
	byId("loading").hidden = true;
	byId("table").setAttribute("aria-busy", "false");
	byId("older", HTMLButtonElement).disabled = !next;
	byId("newer", HTMLButtonElement).disabled = before.length === 0;
	say(byId("page"), t("audit.page", { n: count(before.length + 1) }));
}

function begin() {
	before = [];
	after = "";
	const q = new URLSearchParams();
	for (const name of names) if (input(name).value) q.set(name, input(name).value);
	history.replaceState(null, "", location.pathname + (q.size ? `?${q}` : ""));
	void look();
}

replace(input("what"), h("option", { value: "" }, t("audit.any_what")), ...kinds.map((k) => h("option", { value: k }, t(`what.${k}`))));
for (const [name, value] of new URLSearchParams(location.search)) if (names.some((n) => n === name)) input(name).value = value;

let typing = 0;
form.addEventListener("input", () => {
	clearTimeout(typing);
	typing = window.setTimeout(begin, 300);
});
form.addEventListener("submit", (e) => {
	e.preventDefault();
	begin();
});
byId("clear").addEventListener("click", () => {
	form.reset();
	for (const name of names) input(name).value = "";
	begin();
});
byId("older").addEventListener("click", () => {
	before.push(after);
	after = next;
	void look();
});
byId("newer").addEventListener("click", () => {
	after = before.pop() ?? "";
	void look();
});

void look();
