// Times, sizes and durations in the page's language.

import { language, t } from "./i18n.js";
import { h } from "./dom.js";

const relative = new Intl.RelativeTimeFormat(language, { numeric: "always", style: "short" });
const moment = new Intl.DateTimeFormat(language, { dateStyle: "short", timeStyle: "medium" });
const number = new Intl.NumberFormat(language);

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const units = [["year", 31536e6], ["month", 2592e6], ["day", 864e5], ["hour", 36e5], ["minute", 6e4], ["second", 1e3]];

/** @type {Map<string, string>} what Intl takes long for and says again and again */
const said = new Map();

/**
 * How long ago something was, roughly.
 * @param {number} at in ms since 1970
 * @param {number} now
 */
export function ago(at, now) {
	const past = Math.max(0, now - at);
	if (past < 5000) return t("time.now");
	const [unit, size] = units.find(([, size]) => past >= size) ?? units[units.length - 1];
	const n = Math.floor(past / size);
	const key = unit + n;
	let text = said.get(key);
	if (text === undefined) {
		text = relative.format(-n, unit);
		said.set(key, text);
	}
	return text;
}

/**
 * The very moment.
 * @param {number} at in ms since 1970
 */
export const exactly = (at) => moment.format(at);

/** @param {number} n */
export const count = (n) => number.format(n);

const sizes = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"].map((unit, i) =>
	new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: i ? "short" : "long", maximumFractionDigits: i > 1 ? 1 : 0 }));

/**
 * A number of bytes, in powers of a thousand.
 * @param {number} n
 */
export function bytes(n) {
	let i = 0;
	while (n >= 1000 && i < sizes.length - 1) {
		n /= 1000;
		i++;
	}
	return sizes[i].format(n);
}

/**
 * A duration as h:mm:ss.
 * @param {number} seconds
 */
export function clock(seconds) {
	const s = Math.max(0, Math.floor(seconds));
	const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
	return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/**
 * Microseconds as milliseconds.
 * @param {number} us
 */
export function millis(us) {
	return t("time.ms", { n: us < 10000 ? (us / 1000).toFixed(1) : number.format(Math.round(us / 1000)) });
}

/**
 * An element that says how long ago something was, ages by itself, and shows the very
 * moment on hover and to keyboards.
 * @param {string | undefined} at as the API writes times
 * @returns {HTMLElement}
 */
export function since(at) {
	const ms = at ? Date.parse(at) : NaN;
	if (!(ms > 0)) return h("span", { class: "faint" }, t("time.never"));
	const e = h("time", { datetime: at, title: exactly(ms), "data-since": ms, tabindex: 0, class: "since" }, ago(ms, Date.now()));
	e.addEventListener("focus", () => (e.textContent = exactly(ms)));
	e.addEventListener("blur", () => (e.textContent = ago(ms, Date.now())));
	return e;
}

setInterval(() => {
	const now = Date.now();
	for (const e of document.querySelectorAll("time[data-since]")) {
		if (e === document.activeElement || !(e instanceof HTMLElement)) continue;
		const text = ago(Number(e.dataset.since), now);
		if (e.textContent !== text) e.textContent = text;
	}
}, 5000);
