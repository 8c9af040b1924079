// The sessions that a device had: a line for each, its ladder within.

import { h } from "./dom.js";
import { joined, t, known } from "./i18n.js";
import { bytes, clock, millis, since } from "./format.js";
import { plotSamples } from "./plot.js";

/** @typedef {import("./shapes.js").Session} Session */

/** @type {Record<string, string>} */
const kinds = { opening: "warn", connecting: "warn", connected: "ok", degraded: "warn", closing: "idle", closed: "", failed: "bad" };

/** @param {Session} s */
export const stateBadge = (s) => h("span", { class: `badge dot ${kinds[s.state] ?? ""}` }, known(`state.${s.state}`) || s.state);

/** @param {string} state */
export const isOver = (state) => state === "closed" || state === "failed";

/**
 * Which path a session's packets went, and why.
 * @param {Session} s
 */
export function pathText(s) {
	const start = `${s.path}: `;
	const why = s.path_why?.startsWith(start) ? s.path_why.slice(start.length) : s.path_why;
	return [known(`path.${s.path}`) || s.path, why === s.path ? "" : why].filter(Boolean).join(" · ");
}

/**
 * How many seconds a session was long.
 * @param {Session} s
 */
export function lasted(s) {
	const end = s.closed ? Date.parse(s.closed) : Date.now();
	return Math.max(0, (end - Date.parse(s.opened)) / 1000);
}

/**
 * Its ladder, as far as it came.
 * @param {Session} s
 */
function ladder(s) {
	return h("ol", { class: "ladder" }, ...s.ladder.map((step) =>
		h("li", { class: step.code ? "failed" : "done" },
			h("span", null, known(`ladder.${step.stage}`) || step.stage, step.code ? h("span", { class: "badge bad" }, known(`problem.${step.code}`) || step.code) : null),
			h("span", { class: "faint num" }, t(`ladder.by_${step.by}`, { time: millis(step.after_us) })))));
}

/**
 * A session as a line that opens.
 * @param {Session} s
 */
export function historyLine(s) {
	const who = joined("list", [...new Set(s.operators.map((o) => o.user))]);
	const why = [s.ticket, s.reason].filter(Boolean).join(" · ");
	return h("details", { class: "past", "data-id": s.id },
		h("summary", null,
			stateBadge(s), since(s.opened), h("span", { class: "num" }, clock(lasted(s))),
			h("span", { class: "grow" }, who || t("device.nobody")),
			h("span", { class: "num faint" }, t("device.bytes", { rx: bytes(s.rx), tx: bytes(s.tx) }))),
		h("div", { class: "past-more" },
			h("dl", { class: "facts" },
				...(why ? [h("dt", null, t("device.why")), h("dd", null, why)] : []),
				...(s.code ? [h("dt", null, t("device.end")), h("dd", null, known(`problem.${s.code}`) || s.code, s.why ? ` (${s.why})` : "")] : []),
				...(s.path ? [h("dt", null, t("device.path")), h("dd", null, pathText(s))] : []),
				h("dt", null, t("device.node")), h("dd", null, s.end_to_end ? t("device.end_to_end") : s.node)),
			s.samples?.length ? h("figure", null, plotSamples(s.samples, lasted(s))) : null,
			ladder(s),
			h("a", { href: `/console/sessions/${encodeURIComponent(s.id)}` }, t("device.to_session"))));
}
