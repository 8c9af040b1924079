// The list of devices: all of them, live. What changes arrives as single devices, is
// gathered until the next frame, and touches only what it changes.

import { stream } from "./api.js";
import { byId, h, may, replace, say } from "./dom.js";
import { t } from "./i18n.js";
import { count } from "./format.js";
import { Fleet, everything } from "./fleet.js";
import { VirtualList } from "./virtual.js";
import { columns, choose, chosen } from "./columns.js";
import { makeRow, showRow } from "./device-rows.js";
import { open, read, write } from "./device-filter.js";
import { natText, troubleText } from "./words.js";
import { connect } from "./connect.js";

/**
 * @typedef {import("./shapes.js").Device} Device
 * @typedef {import("./shapes.js").DeviceEvents} DeviceEvents
 * @typedef {import("./fleet.js").SortBy} SortBy
 * @typedef {import("./device-rows.js").Row} Row
 */

const rowHeight = 40;
const budget = 6; // ms of a frame for changes: a page that was out of sight has many to catch up with
const narrow = matchMedia("(width < 900px)");
const connects = may("operator");

const fleet = new Fleet();
const state = read(location.search);
let names = chosen();

const grid = byId("grid");
const head = byId("head");
const body = byId("rows");
const search = byId("search", HTMLInputElement);

/** The columns that there is room for. */
function shownColumns() {
	const wanted = narrow.matches ? new Set(["id", "online"]) : names;
	return columns.filter((c) => wanted.has(c.name));
}

let visible = shownColumns();

/** @type {VirtualList<Row>} */
const list = new VirtualList(grid, body, rowHeight, {
	make: () => makeRow(visible, connects),
	show: (row, index, active) => {
		const d = fleet.at(index);
		if (d) showRow(row, visible, d, Date.now(), active);
	},
	count: () => fleet.shown.length,
	open: (index) => {
		const d = fleet.at(index);
		if (d) location.assign(`/console/devices/${encodeURIComponent(d.id)}`);
	},
});

// Changes

/** @type {Map<string, Device | null>} what came since the last frame; null: gone */
let waiting = new Map();
let loaded = false;
let whole = false; // all that a reset names has come
let spent = 0; // ms of script for what waits

/** @param {DeviceEvents} e */
function receive(e) {
	if (e.reset) {
		waiting.clear();
		fleet.reset();
		whole = false;
	}
	for (const d of e.devices) waiting.set(d.id, d);
	for (const id of e.gone) waiting.set(id, null);
	if (!e.more) whole = true;
	schedule();
}

/**
 * Takes over what waits, as far as a frame has time for it.
 * @param {number} began
 * @returns {number} how many changes
 */
function take(began) {
	let n = 0;
	for (const [id, d] of waiting) {
		waiting.delete(id);
		if (d) fleet.put(d);
		else fleet.remove(id);
		if (++n % 16 === 0 && performance.now() - began > budget) break;
	}
	if (waiting.size === 0 && whole) {
		fleet.settle();
		loaded = true;
	}
	return n;
}

let scheduled = false;

function schedule() {
	if (scheduled) return;
	scheduled = true;
	requestAnimationFrame(() => {
		scheduled = false;
		const began = performance.now();
		const n = take(began);
		list.show();
		showCounts();
		spent += performance.now() - began;
		if (n) report(n);
		if (waiting.size) schedule();
	});
}

/**
 * Tells whoever observes how long a batch took, from its text to the page.
 * @param {number} n
 */
function report(n) {
	const start = performance.now();
	performance.measure("devices.batch", { start: start - spent, end: start, detail: n });
	performance.clearMeasures("devices.batch");
	spent = 0;
}

// Words around the list

const states = /** @type {const} */ (["online", "late", "unknown"]);

/** @type {Map<string, {button: HTMLButtonElement, number: HTMLElement}>} */
const chips = new Map();

/**
 * @param {string} name
 * @param {string} label
 * @param {string} kind
 * @param {() => void} press
 */
function chip(name, label, kind, press) {
	const number = h("span", { class: "num" }, "–");
	const button = h("button", { class: `chip ${kind}`, type: "button", "aria-pressed": "false", onclick: press }, h("span", null, label), number);
	chips.set(name, { button, number });
	return button;
}

function makeChips() {
	const kinds = { online: "ok", late: "warn", unknown: "idle" };
	replace(byId("chips"),
		...states.map((s) => chip(s, t(`online.${s}`), kinds[s], () => {
			const has = state.filter.online.includes(s);
			filterBy({ online: has ? state.filter.online.filter((o) => o !== s) : [...state.filter.online, s] });
		})),
		chip("session", t("devices.in_session"), "accent", () => filterBy({ session: !state.filter.session })),
		chip("trouble", t("devices.in_trouble"), "bad", () => filterBy({ trouble: state.filter.trouble ? "" : "any" })));
}

function showCounts() {
	for (const [name, { number }] of chips) say(number, loaded ? count(fleet.counts[/** @type {keyof Fleet["counts"]} */ (name)]) : "–");
	const shown = fleet.shown.length;
	say(byId("shown"), !loaded ? t("devices.loading")
		: shown === fleet.size ? t("devices.count", { n: count(fleet.size) })
		: t("devices.count_of", { n: count(shown), all: count(fleet.size) }));
	byId("loading").hidden = loaded || fleet.size > 0;
	byId("none").hidden = !loaded || fleet.size > 0;
	byId("nothing").hidden = !loaded || fleet.size === 0 || shown > 0;
	if (loaded) showNewOptions();
}

let offered = 0;

/** Offers values that are new, once a second at most. */
function showNewOptions() {
	if (performance.now() - offered < 1000) return;
	offered = performance.now();
	for (const name of /** @type {const} */ (["group", "version", "nat", "trouble"])) {
		if (fleet.tallies[name].changed) {
			fleet.tallies[name].changed = false;
			showOptions(name);
		}
	}
}

/** @param {"group" | "version" | "nat" | "trouble"} name */
function showOptions(name) {
	const select = byId(`by-${name}`, HTMLSelectElement);
	const values = [...fleet.tallies[name].counts.keys()].sort();
	const now = state.filter[name];
	if (now && now !== "any" && !values.includes(now)) values.unshift(now);
	const words = (/** @type {string} */ v) => (name === "trouble" ? troubleText(v) : name === "nat" ? natText(v) : v);
	replace(select,
		h("option", { value: "" }, t(`devices.any_${name}`)),
		name === "trouble" ? h("option", { value: "any" }, t("devices.in_trouble")) : null,
		...values.map((v) => h("option", { value: v }, words(v))));
	select.value = now;
	select.hidden = values.length === 0;
}

// Filter, order, columns

/** @param {Partial<import("./fleet.js").Filter>} change */
function filterBy(change) {
	Object.assign(state.filter, change);
	applyFilter();
	remember();
}

function applyFilter() {
	const began = performance.now();
	fleet.setFilter({ ...state.filter });
	grid.scrollTop = 0;
	list.active = -1;
	showFilter();
	showCounts();
	list.show();
	performance.measure("devices.filter", { start: began, end: performance.now() });
	performance.clearMeasures("devices.filter");
}

function showFilter() {
	const f = state.filter;
	for (const [name, { button }] of chips) {
		const on = name === "session" ? f.session : name === "trouble" ? !!f.trouble : f.online.includes(name);
		button.setAttribute("aria-pressed", String(on));
	}
	if (search.value !== f.text) search.value = f.text;
	for (const name of /** @type {const} */ (["group", "version", "nat", "trouble"])) {
		const select = byId(`by-${name}`, HTMLSelectElement);
		if (select.value !== f[name]) select.value = f[name];
		if (select.value !== f[name]) showOptions(name);
	}
	byId("clear").hidden = open(f);
}

let remembering = 0;

/** Keeps filter and order in the page's address, so that it can be sent and comes back. */
function remember() {
	clearTimeout(remembering);
	remembering = window.setTimeout(() => history.replaceState(null, "", location.pathname + write(state)), 250);
}

/** @param {SortBy} by */
function sortBy(by) {
	state.direction = state.by === by && state.direction === 1 ? -1 : 1;
	state.by = by;
	fleet.setSort(by, state.direction);
	showHead();
	list.show();
	remember();
}

function showHead() {
	grid.style.setProperty("--columns", [...visible.map((c) => (narrow.matches && c.name === "id" ? "minmax(0, 1fr)" : c.width)), ...(connects ? ["minmax(96px, max-content)"] : [])].join(" "));
	replace(head, ...visible.map((c) => {
		const sorted = state.by === c.name;
		return h("div", { class: "cell", role: "columnheader", "aria-sort": sorted ? (state.direction === 1 ? "ascending" : "descending") : "none" },
			h("button", { type: "button", onclick: () => sortBy(c.name) }, c.label, h("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (state.direction === 1 ? "↑" : "↓") : "")));
	}), connects ? h("div", { class: "cell", role: "columnheader" }, h("span", { class: "unseen" }, t("devices.connect"))) : null);
}

/** Makes the rows anew, for other columns. */
function rebuild() {
	visible = shownColumns();
	for (const item of list.pool) item.element.remove();
	list.pool = [];
	showHead();
	list.show();
}

function makeColumnMenu() {
	replace(byId("columns"), ...columns.filter((c) => c.name !== "id").map((c) =>
		h("label", { class: "check" }, h("input", {
			type: "checkbox", checked: names.has(c.name),
			onchange: (e) => {
				names = new Set(names);
				if (e.target.checked) names.add(c.name);
				else names.delete(c.name);
				choose(names);
				rebuild();
			},
		}), c.label)));
}

// Begin

makeChips();
makeColumnMenu();
fleet.setSort(state.by, state.direction);
fleet.setFilter({ ...state.filter });
showFilter();
showHead();
showCounts();

search.addEventListener("input", () => filterBy({ text: search.value }));
for (const name of /** @type {const} */ (["group", "version", "nat", "trouble"])) {
	byId(`by-${name}`, HTMLSelectElement).addEventListener("change", (e) => filterBy({ [name]: /** @type {HTMLSelectElement} */ (e.target).value }));
}
for (const id of ["clear", "clear-too"]) byId(id).addEventListener("click", () => filterBy(everything()));
body.addEventListener("click", (e) => {
	const target = /** @type {Element} */ (e.target);
	const id = /** @type {HTMLElement | null} */ (target.closest(".row"))?.dataset.id;
	if (!id) return;
	const button = target.closest("button");
	if (button) void connect(id, button);
	else if (!target.closest("a") && !getSelection()?.toString()) location.assign(`/console/devices/${encodeURIComponent(id)}`);
});
// The very moment, for who points at a time.
body.addEventListener("pointerover", (e) => {
	const row = /** @type {HTMLElement | null} */ (/** @type {Element} */ (e.target).closest(".row"));
	const i = visible.findIndex((c) => c.name === "seen");
	const d = row && fleet.at(fleet.rowOf(row.dataset.id ?? ""));
	if (d && i >= 0) /** @type {HTMLElement} */ (row.children[i]).title = columns[2].text(d, 0, true);
});
addEventListener("keydown", (e) => {
	if (e.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "")) {
		search.focus();
		e.preventDefault();
	}
});
narrow.addEventListener("change", rebuild);
setInterval(() => {
	list.soon(); // times age
	showCounts();
}, 5000);

const live = byId("live");

/** @param {boolean} on */
function showLive(on) {
	live.className = on ? "badge dot ok" : "badge dot warn";
	say(live, on ? t("live.on") : t("live.off"));
}

stream("/devices/events", {
	raw: {
		devices: (text) => {
			const began = performance.now();
			receive(JSON.parse(text));
			spent += performance.now() - began;
		},
	},
	state: showLive,
});

