// A plot of a device's past sessions: a bar for each, as high as it was long, the part
// that went directly below the part that a relay carried; and a line for round trips.

import { svg } from "./dom.js";
import { t } from "./i18n.js";
import { clock, exactly, millis } from "./format.js";

/**
 * @typedef {object} Bar
 * @property {number} at when it began, in ms since 1970
 * @property {number} direct in s
 * @property {number} relay in s
 * @property {number} rtt in µs; 0: not known
 * @property {boolean} failed
 */

const width = 640;
const height = 180;
const left = 52;
const right = 56;
const top = 10;
const bottom = 24;

/**
 * A round number not below n.
 * @param {number} n
 */
function ceiling(n) {
	if (!(n > 0)) return 1;
	const size = 10 ** Math.floor(Math.log10(n));
	return size * ([1, 2, 5, 10].find((m) => n <= m * size) ?? 10);
}

/**
 * A round duration not below so many seconds.
 * @param {number} s
 */
function longest(s) {
	return [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800].find((c) => s <= c) ?? Math.ceil(s / 28800) * 28800;
}

/**
 * @param {Bar[]} bars the oldest first
 * @returns {SVGElement}
 */
export function plotPaths(bars) {
	const most = longest(Math.max(0, ...bars.map((b) => b.direct + b.relay)));
	const slowest = ceiling(Math.max(0, ...bars.map((b) => b.rtt)));
	const floor = height - bottom;
	const step = (width - left - right) / Math.max(bars.length, 12);
	const y = (/** @type {number} */ s) => ((floor - top) * s) / most;
	const x = (/** @type {number} */ i) => left + i * step + step / 2;
	const e = svg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("plot.label", { n: bars.length }) });
	for (const part of [0, 0.5, 1]) {
		const at = floor - (floor - top) * part;
		e.append(
			svg("line", { class: "rule", x1: left, x2: width - right, y1: at, y2: at }),
			svg("text", { class: "tick", x: left - 6, y: at + 4, "text-anchor": "end" }, clock(most * part)));
		if (bars.some((b) => b.rtt)) e.append(svg("text", { class: "tick", x: width - right + 6, y: at + 4 }, millis(slowest * part)));
	}
	bars.forEach((b, i) => {
		const wide = Math.max(2, Math.min(22, step - 3));
		const low = y(b.direct);
		const high = y(b.relay);
		const group = svg("g", null, svg("title", null, describe(b)));
		const bar = (/** @type {string} */ kind, /** @type {number} */ from, /** @type {number} */ tall) =>
			group.append(svg("rect", { class: kind, x: x(i) - wide / 2, y: floor - from - tall, width: wide, height: tall, rx: 1.5 }));
		if (low > 0) bar("direct", 0, Math.max(low, 1));
		if (high > 0) bar("relay", low, Math.max(high, 1));
		if (b.failed || low + high === 0) bar(b.failed ? "failed" : "nothing", low + high, 3);
		e.append(group);
	});
	const line = bars.flatMap((b, i) => (b.rtt ? [`${x(i)},${floor - ((floor - top) * b.rtt) / slowest}`] : []));
	if (line.length > 1) e.append(svg("polyline", { class: "rtt", points: line.join(" ") }));
	for (const point of line) {
		const [cx, cy] = point.split(",");
		e.append(svg("circle", { class: "rtt-dot", cx, cy, r: 2.5 }));
	}
	return e;
}

/**
 * How one session's path was over time: round trips as a line, and below it a band that
 * shows which way the packets went, and where proofs failed.
 * @param {import("./shapes.js").Sample[]} samples the earliest first
 * @param {number} seconds how long the session was
 * @returns {SVGElement}
 */
export function plotSamples(samples, seconds) {
	const slowest = ceiling(Math.max(0, ...samples.map((s) => s.rtt_us)));
	const end = Math.max(seconds, samples[samples.length - 1].after_s, 1);
	const low = 96;
	const x = (/** @type {number} */ s) => left + ((width - left - right) * s) / end;
	const y = (/** @type {number} */ us) => low - ((low - top) * us) / slowest;
	const e = svg("svg", { class: "plot", viewBox: `0 0 ${width} 136`, role: "img", "aria-label": t("plot.samples", { n: samples.length }) });
	for (const part of [0, 1]) {
		e.append(
			svg("line", { class: "rule", x1: left, x2: width - right, y1: y(slowest * part), y2: y(slowest * part) }),
			svg("text", { class: "tick", x: left - 6, y: y(slowest * part) + 4, "text-anchor": "end" }, millis(slowest * part)),
			svg("text", { class: "tick", x: x(end * part), y: 132, "text-anchor": part ? "end" : "start" }, clock(end * part)));
	}
	samples.forEach((s, i) => {
		const from = x(s.after_s);
		const to = x(samples[i + 1]?.after_s ?? end);
		const kind = s.degraded ? "shaky" : s.path === "relay" ? "relay" : "direct";
		e.append(svg("rect", { class: kind, x: from, y: low + 8, width: Math.max(1, to - from), height: 8 }));
	});
	const points = samples.filter((s) => s.rtt_us).map((s) => `${x(s.after_s)},${y(s.rtt_us)}`);
	if (points.length > 1) e.append(svg("polyline", { class: "rtt", points: points.join(" ") }));
	for (const point of points) {
		const [cx, cy] = point.split(",");
		e.append(svg("circle", { class: "rtt-dot", cx, cy, r: 2 }));
	}
	return e;
}

/** @param {Bar} b */
function describe(b) {
	return t("plot.bar", { at: exactly(b.at), direct: clock(b.direct), relay: clock(b.relay), rtt: b.rtt ? millis(b.rtt) : "–" });
}
