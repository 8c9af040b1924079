// One session: its ladder as it climbs, what it leads to, its time, and its end.

import { get, post, remove, stream } from "./api.js";
import { byId, h, may, page, replace, say } from "./dom.js";
import { ask } from "./dialog.js";
import { joined, t, known } from "./i18n.js";
import { bytes, clock, exactly, millis } from "./format.js";
import { complain, explain } from "./toast.js";
import { explainCode, isPlanned } from "./codes.js";
import { showLadder } from "./ladder.js";
import { connect, connectWith, durations, policy } from "./connect.js";
import { copyable } from "./copy.js";
import { ways } from "./session-lines.js";

/** @typedef {import("./shapes.js").Session} Session */

/**
 * What this console knows of its own end.
 * @typedef {object} Held
 * @property {Session} session
 * @property {string} self the user's opaque id in it
 * @property {string[]} ports
 * @property {boolean} ready
 * @property {number} [reachable_us]
 * @property {{state: string, path?: string, why?: string, rtt_us?: number, loss?: number, rx: number, tx: number}} tunnel
 * @property {number} tabs
 * @property {{code: string, stage?: string, why?: string, at: string}} [over]
 * @property {string} now
 */

const id = page.id;
const here = `/console/held/${encodeURIComponent(id)}`;
const final = new Set(["closed", "failed"]);

/** @type {Held | null} the latest of this console; null: it holds none */
let own = null;
/** @type {Session | null} the latest of control */
let session = null;
let skew = 0; // ms that the console's clock is ahead of the browser's
let linked = true; // to the console
let moved = false; // the console that held an end of it is not the one that answers now

const over = () => (own ? own.over !== undefined : session !== null && final.has(session.state));

// What it shows

/** Shows what is known. */
function show() {
	const s = session;
	if (!s) return;
	const device = byId("device", HTMLAnchorElement);
	say(device, s.device);
	device.href = `/console/devices/${encodeURIComponent(s.device)}`;
	showState(s);
	const at = showLadder(byId("ladder"), {
		steps: s.ladder ?? [], endToEnd: s.end_to_end ?? false, reachable: own?.reachable_us ?? 0, own: own !== null,
		over: over(), code: own?.over?.code ?? s.code ?? "", waiting: s.waiting,
	});
	say(byId("took"), own?.reachable_us ? t("session.took", { time: millis(own.reachable_us) }) : "");
	tell(s, at);
	showNotices(s);
	showDoors(s);
	showActions(s);
	showFacts(s);
	showLeft();
}

/** @type {Record<string, string>} */
const kinds = { opening: "warn", connecting: "warn", connected: "ok", degraded: "warn", closing: "idle", closed: "idle", failed: "bad" };

/** @param {Session} s */
function stateOf(s) {
	if (own?.over) return isPlanned(own.over.code) ? "closed" : "failed";
	if (own && !own.ready && s.state === "connected") return "connecting";
	return s.state;
}

/** @param {Session} s */
function showState(s) {
	const state = stateOf(s);
	const badge = byId("state");
	badge.className = `badge dot ${kinds[state] ?? "idle"}`;
	say(badge, known(`state.${state}`) || state);
}

let told = "";

/**
 * Says to screen readers what changed: the stage, and in the end how it came out.
 * @param {Session} s
 * @param {string} at
 */
function tell(s, at) {
	const state = stateOf(s);
	let text = known(`state.${state}`) || state;
	if (over()) text = t("session.told_over", { state: text, why: explainCode(own?.over?.code ?? s.code ?? "").what });
	else if (!own?.ready && at) text = t("session.told_at", { state: text, at });
	if (text === told) return;
	told = text;
	say(byId("told"), text);
}

let noticed = "";

/** @param {Session} s */
function showNotices(s) {
	/** @type {{kind: string, text: string, more?: string, buttons?: "again" | "join"}[]} */
	const list = [];
	const others = s.operators.filter((o) => o.id !== own?.self).map((o) => o.user);
	if (moved) list.push({ kind: "warn", text: t("session.moved"), more: over() ? "" : t("session.moved_todo"), ...(over() ? {} : { buttons: "join" }) });
	if (!linked) list.push({ kind: "warn", text: t("session.unlinked") });
	if (over()) {
		const code = own?.over?.code ?? s.code ?? "";
		const { what, todo } = explainCode(code || "closed");
		const why = own?.over?.why || s.why;
		list.push({ kind: isPlanned(code) ? "idle" : "bad", text: what, more: joined("sentences", [todo, why && t("session.said", { why }), !isPlanned(code) && t("session.code", { code })]), buttons: "again" });
	} else {
		if (s.state === "closing") list.push({ kind: "idle", text: t("session.closing") });
		if (!own && !moved && s.state !== "closing") list.push({ kind: "idle", text: t("session.not_held"), buttons: "join" });
		if (own?.ready && own.tunnel.state !== "connected") list.push({ kind: "warn", text: t("session.degraded"), more: own.tunnel.why ? t("session.said", { why: own.tunnel.why }) : "" });
		if (others.length > 0 && own) list.push({ kind: "warn", text: t("session.others", { who: joined("list", others) }) });
		if (s.waiting && !own?.ready) list.push({ kind: "idle", text: t("session.waiting", { n: s.waiting.position - 1, time: millis(s.waiting.for_us) }) });
	}
	const key = JSON.stringify([list, s.device]);
	if (key === noticed) return;
	noticed = key;
	replace(byId("notices"), ...list.map((n) => h("div", { class: `notice ${n.kind}` },
		h("p", null, h("strong", null, n.text), n.more ? " " : null, n.more || null),
		n.buttons && may("operator") ? h("button", { class: "btn small", type: "button", onclick: again }, n.buttons === "join" ? t("session.join") : t("session.again")) : null)));
}

/** @param {Event} e */
function again(e) {
	if (!session || !(e.currentTarget instanceof HTMLButtonElement)) return;
	// What the device did not allow has to be left out.
	if ((own?.over?.code ?? session.code) === "port_not_allowed") connectWith(session.device, e.currentTarget);
	else connect(session.device, e.currentTarget);
}

let doors = "";

/** @param {Session} s */
function showDoors(s) {
	const usable = own !== null && !over();
	byId("open-card").hidden = !usable;
	if (!own || !usable) return;
	const ready = own.ready && s.state !== "closing";
	const key = JSON.stringify([ready, own.ports, s.address, s.end_to_end, s.reason, s.ticket]);
	if (key === doors) return;
	doors = key;
	const has = (/** @type {string} */ p) => own?.ports?.includes(p);
	const path = `/console/sessions/${encodeURIComponent(id)}`;
	replace(byId("doors"),
		has("tcp/3389") ? door(`${path}/desktop`, t("session.desktop"), ready, "primary") : null,
		has("tcp/22") ? door(`${path}/terminal`, t("session.terminal"), ready, "") : null,
		has("tcp/22") ? door(`${path}/files`, t("session.files"), ready, "") : null);
	byId("own").hidden = !ready;
	replace(byId("lines"),
		s.end_to_end ? h("p", { class: "notice" }, t("session.own_not")) : null,
		...(s.end_to_end ? [] : ways(s, own.ports ?? []).map((w) => h("div", { class: "way" }, h("h3", null, w.label), h("p", { class: "soft" }, w.text),
			...w.lines.map((l) => copyable(w.label, l)),
			w.lines.some((l) => l.startsWith("mstsc")) ? h("a", { class: "btn small", href: `${here}/rdp`, download: "" }, t("session.rdp_file")) : null))));
}

/**
 * A link to a room of the session, which opens beside this page.
 * @param {string} href
 * @param {string} text
 * @param {boolean} ready
 * @param {string} kind
 */
function door(href, text, ready, kind) {
	if (!ready) return h("span", { class: `btn ${kind}`, role: "link", "aria-disabled": "true" }, text);
	return h("a", { class: `btn ${kind}`, href, target: "_blank", rel: "noopener" }, text);
}

let acted = "";

/** @param {Session} s */
function showActions(s) {
	const mine = own !== null || s.operators.some((o) => o.user === page.user);
	const key = JSON.stringify([over(), s.state === "closing", mine]);
	if (key === acted) return;
	acted = key;
	if (over() || s.state === "closing" || !(mine ? may("operator") : may("approver"))) {
		replace(byId("actions"));
		return;
	}
	replace(byId("actions"),
		h("button", { class: "btn", type: "button", onclick: extend }, t("session.extend")),
		h("button", { class: "btn danger", type: "button", onclick: close }, mine ? t("session.close") : t("session.close_all")));
}

/** @param {Session} s */
function showFacts(s) {
	const path = own?.tunnel.path || s.path || "";
	const rtt = own?.tunnel.rtt_us || s.rtt_us || 0;
	/** @type {[string, string, string?][]} */
	const list = [
		[t("session.who"), joined("list", s.operators.map((o) => o.user)) || "–"],
		[t("session.path"), path ? known(`path.${path}`) || path : "–", own?.tunnel.why || s.path_why],
		[t("session.rtt"), rtt ? millis(rtt) : "–"],
		[t("session.from"), bytes(own && !over() ? own.tunnel.rx : s.rx)],
		[t("session.to"), bytes(own && !over() ? own.tunnel.tx : s.tx)],
		[t("session.address"), s.address ?? "–"],
		[t("session.node"), s.end_to_end ? t("session.end_to_end") : s.node],
		[t("session.reason"), s.reason || "–"],
		[t("session.ticket"), s.ticket || "–"],
		[t("session.opened"), exactly(Date.parse(s.opened))],
		[s.closed ? t("session.closed") : t("session.ends"), exactly(Date.parse(s.closed ?? s.ends))],
		[t("session.id"), s.id],
	];
	const facts = byId("facts");
	list.forEach(([name, value, title], i) => {
		const dt = facts.children[2 * i] ?? facts.appendChild(h("dt"));
		const dd = facts.children[2 * i + 1] ?? facts.appendChild(h("dd"));
		say(dt, name);
		say(dd, value);
		if (title) dd.setAttribute("title", title);
		else dd.removeAttribute("title");
	});
	if (may("approver") && page.everywhere && !document.getElementById("audit")) {
		facts.after(h("a", { id: "audit", href: `/console/audit?session=${encodeURIComponent(id)}` }, t("session.audit")));
	}
}

// Its time

const soon = 300; // s
let warned = Infinity;

function showLeft() {
	const badge = byId("left");
	badge.hidden = !session || over() || session.state === "closing";
	if (!session || badge.hidden) return;
	const left = (Date.parse(session.ends) - Date.now() - skew) / 1000;
	badge.className = `badge num ${left < soon ? "warn" : "idle"}`;
	say(badge, t("session.left", { time: clock(left) }));
	for (const mark of [60, soon]) {
		if (left > mark || warned <= mark) continue;
		warned = mark;
		say(byId("told"), t("session.left", { time: clock(left) }));
		break;
	}
	if (left > soon) warned = Infinity;
}

const ticking = setInterval(showLeft, 1000);

// What it does

async function extend() {
	if (!session) return;
	try {
		const wanted = await policy();
		const most = Math.floor((Date.parse(session.opened) + wanted.longest_s * 1000 - Date.now() - skew) / 1000);
		const said = await ask({
			title: t("session.extend_title"), text: t("session.extend_text"), yes: t("session.extend"),
			fields: [durations(t("session.extend_from"), "lifetime", most, Math.min(3600, most))],
		});
		if (!said) return;
		const seconds = { lifetime_s: Number(said.get("lifetime")) };
		if (own) await post(`${here}/extend`, seconds);
		else await post(`/sessions/${encodeURIComponent(id)}/extend`, seconds);
	} catch (e) {
		complain(e);
	}
}

async function close() {
	if (!session) return;
	const others = session.operators.filter((o) => o.id !== own?.self).map((o) => o.user);
	const mine = own !== null || session.operators.some((o) => o.user === page.user);
	const said = await ask({
		title: t("session.close_title", { device: session.device }), danger: true, yes: mine ? t("session.close") : t("session.close_all"),
		text: mine ? (others.length ? t("session.close_others", { who: joined("list", others) }) : t("session.close_last")) : t("session.close_for", { who: joined("list", others) || "–" }),
	});
	if (!said) return;
	try {
		if (own) await post(`${here}/leave`);
		else await remove(`/sessions/${encodeURIComponent(id)}${mine ? "" : "?all=true"}`);
	} catch (e) {
		complain(e);
	}
}

// How it knows

/** @param {Held} h */
function heldNow(h) {
	own = h;
	session = h.session;
	linked = true;
	if (h.now) skew = Date.parse(h.now) - Date.now();
	show();
	if (h.over) {
		stop();
		last();
	}
}

/** The last word is control's: when it closed, and what it counted. */
async function last() {
	try {
		for (let i = 0; i < 20; i++) {
			session = await get(`/sessions/${encodeURIComponent(id)}`);
			show();
			if (session === null || final.has(session.state) || own?.over?.code === "removed") return;
			await new Promise((done) => setTimeout(done, 1000));
		}
	} catch {
		// What is there is shown.
	}
}

/** @param {boolean} open */
function linkedNow(open) {
	linked = open;
	show();
}

let stop = () => {};

async function begin() {
	try {
		const { sessions } = await get("/console/held");
		if (!sessions.includes(id)) return await watch();
		heldNow(await get(here));
		if (!over()) stop = stream(`${here}/events`, { on: { held: heldNow }, state: linkedNow, refused: held });
	} catch (e) {
		lost(e);
	}
	return undefined;
}

/** Whether the console holds an end of it yet; else what control knows is followed. */
async function held() {
	const { sessions } = await get("/console/held");
	if (sessions.includes(id)) return true;
	own = null;
	moved = linked = true;
	watch().catch(lost);
	return false;
}

/** Follows a session of which this console holds no end. */
async function watch() {
	const path = `/sessions/${encodeURIComponent(id)}`;
	session = await get(path);
	show();
	if (session && !final.has(session.state)) {
		stop = stream(`${path}/events`, {
			on: {
				session: (s) => {
					session = s;
					linked = true;
					show();
					if (final.has(s.state)) stop();
				},
			},
			state: linkedNow,
		});
	}
}

/**
 * There is nothing to show.
 * @param {unknown} e
 */
function lost(e) {
	const { what, hint } = explain(e);
	clearInterval(ticking);
	replace(byId("main"), h("div", { class: "empty" }, h("h1", null, what), hint ? h("p", null, hint) : null,
		h("a", { class: "btn", href: "/console/sessions" }, t("session.to_sessions"))));
}

begin();
