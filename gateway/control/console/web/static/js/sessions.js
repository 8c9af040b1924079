// The sessions: those that are open, as they change, or all that there were.

import { get, remove } from "./api.js";
import { byId, h, may, page, replace, say } from "./dom.js";
import { ask } from "./dialog.js";
import { joined, t, known } from "./i18n.js";
import { bytes, clock, count, exactly, millis } from "./format.js";
import { complain } from "./toast.js";

/** @typedef {import("./shapes.js").Session} Session */
/** @typedef {{element: HTMLTableRowElement, cells: HTMLElement[], acted: string, session: Session}} Row */

const pageSize = 100;
const often = 2000; // ms between two looks, if a look takes little

let all = new URLSearchParams(location.search).has("all");
/** @type {Map<string, Row>} */
const rows = new Map();
let next = "";
let looks = 0; // that were begun: an answer to an earlier one is too late
let timer = 0;
let paged = false; // further pages are shown

/** @type {Record<string, string>} */
const kinds = { opening: "warn", connecting: "warn", connected: "ok", degraded: "warn", closing: "idle", closed: "idle", failed: "bad" };

/** Looks at what there is, now and then again. */
async function look() {
	clearTimeout(timer);
	const mine = ++looks;
	const began = performance.now();
	try {
		const answer = await get(all ? `/sessions?limit=${pageSize}` : "/sessions?open=true");
		if (mine !== looks) return;
		take(answer.items ?? [], !paged);
		if (!paged) next = all ? answer.next ?? "" : "";
		live(true);
	} catch (e) {
		if (mine !== looks) return;
		live(false);
		if (rows.size === 0) complain(e);
	}
	byId("more").hidden = !next;
	// A long list costs control and this browser more, and is looked at less often.
	timer = window.setTimeout(() => (document.hidden ? wait() : look()), Math.max(often, 10 * (performance.now() - began)));
}

/** Nobody looks: neither does the page. */
function wait() {
	document.addEventListener("visibilitychange", look, { once: true });
}

/** @param {boolean} on */
function live(on) {
	const badge = byId("live");
	badge.className = `badge dot ${on ? "ok" : "warn"}`;
	say(badge, on ? t("live.on") : t("live.off"));
}

/**
 * Takes over a list.
 * @param {Session[]} list the latest first
 * @param {boolean} whole there are no others
 */
function take(list, whole) {
	const body = byId("rows");
	const seen = new Set();
	let before = null;
	for (const s of list) {
		seen.add(s.id);
		let row = rows.get(s.id);
		if (!row) {
			row = make(s);
			rows.set(s.id, row);
		}
		row.session = s;
		fill(row);
		const at = /** @type {Element | null} */ (before ? before.nextElementSibling : body.firstElementChild);
		if (at !== row.element) body.insertBefore(row.element, at);
		before = row.element;
	}
	if (whole) {
		for (const [id, row] of rows) {
			if (seen.has(id)) continue;
			row.element.remove();
			rows.delete(id);
		}
	}
	byId("loading").hidden = true;
	byId("none").hidden = rows.size > 0;
	byId("table").hidden = rows.size === 0;
	say(byId("shown"), all ? t("sessions.count_all", { n: count(rows.size) }) : t("sessions.count", { n: count(rows.size) }));
}

const labels = () => [t("sessions.device"), t("sessions.state"), t("sessions.who"), t("sessions.path"), t("sessions.rtt"), t("sessions.bytes"), t("sessions.time"), ""];

/**
 * @param {Session} s
 * @returns {Row}
 */
function make(s) {
	const cells = labels().map((label, i) => h("td", { "data-label": label, class: i >= 4 && i <= 6 ? "num" : i === 7 ? "acts" : null }));
	cells[0].append(h("a", { href: `/console/sessions/${encodeURIComponent(s.id)}` }, s.device));
	cells[1].append(h("span", { class: "badge dot" }));
	cells[6].append(h("span", null));
	return { element: h("tr", null, ...cells), cells, acted: "", session: s };
}

/** @param {Row} row */
function fill(row) {
	const { cells, session: s } = row;
	const badge = /** @type {HTMLElement} */ (cells[1].firstElementChild);
	badge.className = `badge dot ${kinds[s.state] ?? "idle"}`;
	say(badge, known(`state.${s.state}`) || s.state);
	if (s.code) badge.setAttribute("title", known(`problem.${s.code}`) || s.code);
	say(cells[2], joined("list", s.operators.map((o) => o.user)) || "–");
	say(cells[3], s.path ? known(`path.${s.path}`) || s.path : "–");
	say(cells[4], s.rtt_us ? millis(s.rtt_us) : "–");
	say(cells[5], bytes(s.rx + s.tx));
	time(row);
	act(row);
}

/** @param {Row} row */
function time({ cells, session: s }) {
	const span = /** @type {HTMLElement} */ (cells[6].firstElementChild);
	const over = s.state === "closed" || s.state === "failed";
	if (over) {
		say(span, exactly(Date.parse(s.closed ?? s.ends)));
		return;
	}
	const left = (Date.parse(s.ends) - Date.now()) / 1000;
	say(span, t("session.left", { time: clock(left) }));
	span.title = t("sessions.since", { time: exactly(Date.parse(s.opened)) });
}

/**
 * Shows what may be done about a session: an approver removes whom he wants, others
 * themselves.
 * @param {Row} row
 */
function act(row) {
	const s = row.session;
	const over = s.state === "closed" || s.state === "failed" || s.state === "closing";
	const whom = over ? [] : s.operators.filter((o) => may("approver") || (may("operator") && o.user === page.user));
	const key = JSON.stringify([over, whom.map((o) => o.id)]);
	if (key === row.acted) return;
	row.acted = key;
	replace(row.cells[7],
		...whom.map((o) => h("button", {
			class: "btn small", type: "button", "aria-label": t("sessions.kick_label", { who: o.user, device: s.device }), onclick: () => kick(row, o),
		}, whom.length > 1 ? t("sessions.kick_one", { who: o.user }) : t("sessions.kick"))),
		!over && may("approver") ? h("button", {
			class: "btn small danger", type: "button", "aria-label": t("sessions.close_label", { device: s.device }), onclick: () => closeAll(row),
		}, t("sessions.close")) : null);
}

/**
 * @param {Row} row
 * @param {{id: string, user: string}} operator
 */
async function kick(row, operator) {
	const s = row.session;
	const said = await ask({
		title: t("sessions.kick_title", { who: operator.user, device: s.device }), danger: true, yes: t("sessions.kick"),
		text: s.operators.length > 1 ? t("sessions.kick_text") : t("sessions.kick_last"),
	});
	if (!said) return;
	try {
		await remove(`/sessions/${encodeURIComponent(s.id)}?operator=${encodeURIComponent(operator.id)}`);
	} catch (e) {
		complain(e);
	}
	look();
}

/** @param {Row} row */
async function closeAll(row) {
	const s = row.session;
	const who = joined("list", s.operators.map((o) => o.user)) || "–";
	if (!(await ask({ title: t("session.close_title", { device: s.device }), text: t("session.close_for", { who }), danger: true, yes: t("session.close_all") }))) return;
	try {
		await remove(`/sessions/${encodeURIComponent(s.id)}?all=true`);
	} catch (e) {
		complain(e);
	}
	look();
}

/** @param {boolean} which */
function choose(which) {
	if (all === which) return;
	all = which;
	paged = false;
	rows.clear();
	replace(byId("rows"));
	byId("loading").hidden = false;
	history.replaceState(null, "", all ? "?all" : location.pathname);
	press();
	look();
}

function press() {
	byId("open").setAttribute("aria-pressed", String(!all));
	byId("all").setAttribute("aria-pressed", String(all));
}

byId("open").addEventListener("click", () => choose(false));
byId("all").addEventListener("click", () => choose(true));
byId("more").addEventListener("click", async () => {
	try {
		const answer = await get(`/sessions?limit=${pageSize}&after=${encodeURIComponent(next)}`);
		paged = true;
		next = answer.next ?? "";
		const body = byId("rows");
		for (const s of answer.items ?? []) {
			if (rows.has(s.id)) continue;
			const row = make(s);
			rows.set(s.id, row);
			fill(row);
			body.append(row.element);
		}
		byId("more").hidden = !next;
		say(byId("shown"), t("sessions.count_all", { n: count(rows.size) }));
	} catch (e) {
		complain(e);
	}
});
setInterval(() => rows.forEach(time), 1000);
press();
look();
