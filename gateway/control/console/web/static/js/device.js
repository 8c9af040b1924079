// One device: what is known of it, what is wrong and what to do, its session now and
// those that it had. All that a device says of itself becomes text.

import { get, pages, Problem, stream } from "./api.js";
import { byId, h, may, page, replace, say } from "./dom.js";
import { joined, t, known } from "./i18n.js";
import { bytes, clock, millis, since } from "./format.js";
import { connect, connectWith } from "./connect.js";
import { historyLine, isOver, lasted, pathText, stateBadge } from "./history.js";
import { natClass } from "./nat.js";
import { plotPaths, plotSamples } from "./plot.js";
import { checkRow } from "./preflight.js";
import { severity, troubles } from "./trouble.js";
import { natText, troubleText, troubleTodo } from "./words.js";
import { explain } from "./toast.js";

/**
 * @typedef {import("./shapes.js").Device} Device
 * @typedef {import("./shapes.js").Session} Session
 */

const every = 5000; // ms between looks
const past = 100; // sessions that are asked for
const plotted = 40; // of them, in the plot

const path = `/devices/${encodeURIComponent(page.id)}`;
const kinds = { online: "ok", late: "warn", unknown: "" };

let shownDevice = "";
let shownSessions = "";

const button = byId("connect", HTMLButtonElement);
button.addEventListener("click", () => void connect(page.id, button));
const choices = byId("connect-with", HTMLButtonElement);
choices.addEventListener("click", () => void connectWith(page.id, choices));

async function look() {
	try {
		const d = await get(path);
		showDevice(d);
		await lookAtSessions();
		byId("fault").hidden = true;
	} catch (e) {
		showFault(e);
	}
}

/** @param {unknown} e */
function showFault(e) {
	if (e instanceof Problem && e.status === 404) {
		lost();
		return;
	}
	const { what, hint } = explain(e);
	replace(byId("fault"), h("strong", null, what), " ", hint);
	byId("fault").hidden = false;
}

/** There is nothing to show, and nothing more to look for. */
function lost() {
	follow("");
	clearInterval(looking);
	removeEventListener("visibilitychange", lookAgain);
	replace(byId("main"), h("div", { class: "empty" }, h("h1", null, t("device.gone")), h("p", null, t("device.gone_todo")),
		h("a", { class: "btn", href: "/console/" }, t("lost.back"))));
}

/** @param {Device} d */
function showDevice(d) {
	const text = JSON.stringify(d);
	if (text === shownDevice) return;
	shownDevice = text;
	byId("online").className = `badge dot ${kinds[d.online] ?? ""}`;
	say(byId("online"), known(`online.${d.online}`) || d.online);
	button.hidden = !may("operator");
	button.disabled = d.online === "unknown" || !d.key;
	choices.hidden = button.hidden;
	choices.disabled = button.disabled;
	say(button, d.session ? t("device.join") : t("devices.connect"));
	const facts = /** @type {[string, any][]} */ ([
		[t("devices.seen"), since(d.last_seen)],
		[t("device.next"), d.next ? new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "medium", dateStyle: "short" }).format(new Date(d.next)) : ""],
		[t("devices.group"), d.group],
		[t("devices.version"), d.version],
		[t("devices.address"), mono(d.address)],
		[t("devices.nat"), d.nat ? `${natText(natClass(d.nat))} (${d.nat})` : t("device.nat_unknown")],
		[t("device.generation"), d.key ? t("device.gen_3") : t("device.gen_2")],
		[t("device.key"), mono(d.key)],
		[t("device.ssh"), mono(d.ssh_host_key)],
		[t("device.rdp"), mono(d.rdp_certificate)],
		[t("device.prekeys"), d.key ? String(d.prekeys) : ""],
		[t("device.boot"), mono(d.boot)],
		[t("device.caps"), (d.caps ?? []).join(", ")],
	]);
	replace(byId("facts"), ...facts.flatMap(([name, value]) => (value ? [h("dt", null, name), h("dd", null, value)] : [])));
	const codes = troubles(d);
	byId("trouble").hidden = codes.length === 0;
	replace(byId("troubles"), ...codes.map((code) =>
		h("li", { class: `notice ${severity(code)}` }, h("strong", null, troubleText(code)), " ", troubleTodo(code))));
	if (d.foreign) byId("troubles").append(h("li", { class: "notice" }, t("device.foreign"), " ", h("code", null, d.foreign)));
	const checks = d.preflight ?? [];
	replace(byId("checks"), ...checks.map(checkRow));
	byId("check-none").hidden = checks.length > 0;
	follow(d.session ?? "");
}

/** @param {string | undefined} text */
const mono = (text) => (text ? h("code", null, text) : "");

// Its session now

let followed = "";
let stop = () => {};

/** @param {string} session */
function follow(session) {
	if (session === followed) return;
	followed = session;
	stop();
	byId("now").hidden = !session;
	if (!session) return;
	stop = stream(`/sessions/${encodeURIComponent(session)}/events`, {
		on: {
			session: (s) => {
				showNow(s);
				if (isOver(s.state)) {
					follow("");
					void look();
				}
			},
		},
	});
}

/** @param {Session} s */
function showNow(s) {
	const facts = /** @type {[string, any][]} */ ([
		[t("devices.online"), stateBadge(s)],
		[t("device.who"), joined("list", s.operators.map((o) => o.user))],
		[t("device.path"), s.path ? pathText(s) : ""],
		[t("device.rtt"), s.rtt_us ? millis(s.rtt_us) : ""],
		[t("device.traffic"), t("device.bytes", { rx: bytes(s.rx), tx: bytes(s.tx) })],
		[t("device.since"), clock(lasted(s))],
		[t("device.why"), [s.ticket, s.reason].filter(Boolean).join(" · ")],
	]);
	replace(byId("now-facts"), ...facts.flatMap(([name, value]) => (value ? [h("dt", null, name), h("dd", null, value)] : [])));
	replace(byId("now-plot"), s.samples?.length ? plotSamples(s.samples, lasted(s)) : null);
	byId("to-session", HTMLAnchorElement).href = `/console/sessions/${encodeURIComponent(s.id)}`;
}

// Its sessions before

async function lookAtSessions() {
	/** @type {Session[]} */
	let list = [];
	for await (const some of pages("/sessions", { device: page.id, limit: past })) {
		list = some;
		break;
	}
	const over = list.filter((s) => isOver(s.state));
	const text = over.map((s) => s.id + s.rx + s.state).join();
	if (text === shownSessions && text) return;
	shownSessions = text;
	byId("sessions-none").hidden = over.length > 0;
	const open = new Set([...document.querySelectorAll("details.past[open]")].map((e) => /** @type {HTMLElement} */ (e).dataset.id));
	replace(byId("sessions"), ...over.map((s) => {
		const line = historyLine(s);
		line.open = open.has(s.id);
		return line;
	}));
	const bars = over.slice(0, plotted).reverse().map((s) => ({
		at: Date.parse(s.opened), direct: s.paths?.direct_s ?? 0, relay: s.paths?.relay_s ?? 0, rtt: s.rtt_us ?? 0, failed: s.state === "failed",
	}));
	byId("plot-none").hidden = bars.length > 0;
	byId("legend").hidden = bars.length === 0;
	replace(byId("plot"), bars.length ? plotPaths(bars) : null);
}

function lookAgain() {
	if (!document.hidden) void look();
}

const looking = setInterval(lookAgain, every);
addEventListener("visibilitychange", lookAgain);
void look();
