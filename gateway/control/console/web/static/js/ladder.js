// The ladder of a session: the stages of a connect, when each was reached by whose clock,
// and where it stopped.

import { h, put, replace, say } from "./dom.js";
import { joined, t, known } from "./i18n.js";
import { millis } from "./format.js";
import { explainCode } from "./codes.js";

/** @typedef {import("./shapes.js").Step} Step */

/**
 * @typedef {object} Climb
 * @property {Step[]} steps
 * @property {boolean} endToEnd no node takes part
 * @property {number} reachable µs until an echo came back here; 0: not yet
 * @property {boolean} own whether this console has an end of it, and will see an echo
 * @property {boolean} over
 * @property {string} code why it is over
 * @property {{position: number, for_us: number} | undefined} waiting
 */

// In the order of a connect. Those after the question mark stand there only when they
// happened.
const stages = ["granted", "asked?", "installed", "waiting?", "woken", "received", "authorised", "keyed", "socket", "candidates?", "handshake", "proved", "ready", "reachable"];

/** Of which the page's last stage is one that the console itself sees. */
const reachable = "reachable";

/**
 * The stages of a climb, in order: those that are always there, and those that happened.
 * @param {Climb} c
 */
function rows(c) {
	/** @type {{stage: string, steps: Step[]}[]} */
	const list = [];
	const of = (/** @type {string} */ stage) => c.steps.filter((s) => s.stage === stage);
	for (const name of stages) {
		const stage = name.replace("?", "");
		const steps = of(stage);
		if (steps.length === 0 && name.endsWith("?") && !(stage === "waiting" && c.waiting)) continue;
		if (stage === "installed" && c.endToEnd) continue;
		if (stage === reachable) {
			if (c.own) list.push({ stage, steps: c.reachable ? [{ stage, after_us: c.reachable, by: "control" }] : [] });
			continue;
		}
		list.push({ stage, steps });
	}
	const strange = new Set(c.steps.map((s) => s.stage).filter((s) => !stages.some((n) => n.replace("?", "") === s)));
	for (const stage of [...strange].slice(0, 16)) list.push({ stage, steps: of(stage) });
	return list;
}

/**
 * The number of the row at which it stands: the first without a step after the last that
 * has one; -1: it is at its end.
 * @param {{stage: string, steps: Step[]}[]} list
 */
function standing(list) {
	const last = list.findLastIndex((r) => r.steps.length > 0);
	return list[last]?.steps.some((s) => s.code) || last === list.length - 1 ? -1 : last + 1;
}

/**
 * Shows a climb in a list.
 * @param {HTMLElement} list an ol.ladder
 * @param {Climb} c
 * @returns {string} the stage at which it stands, in words; empty: at none
 */
export function showLadder(list, c) {
	const all = rows(c);
	const at = standing(all);
	if (list.firstElementChild?.className === "skeleton") replace(list);
	let said = "";
	all.forEach(({ stage, steps }, i) => {
		const failed = steps.some((s) => s.code) || (c.over && i === at && c.code !== "" && !c.reachable);
		const kind = failed ? "failed" : steps.length > 0 ? "done" : i === at && !c.over ? "now" : "to-come";
		const name = known(`ladder.${stage}`) || stage;
		if (kind === "now") said = name;
		const li = list.children[i] ?? list.appendChild(row());
		const [text, times] = li.children;
		if (li.className !== kind) li.className = kind;
		say(text.children[0], name);
		say(text.children[1], detail(kind, stage, steps, c));
		say(times, steps.map((s) => (stage === reachable ? millis(s.after_us) : t(`ladder.by_${s.by}`, { time: millis(s.after_us) }))).join(" · "));
		li.setAttribute("aria-label", joined("clauses", [name, t(`ladder.is_${kind.replace("-", "_")}`), times.textContent, text.children[1].textContent]));
		if (kind === "now") li.setAttribute("aria-current", "step");
		else li.removeAttribute("aria-current");
	});
	while (list.children.length > all.length) list.lastElementChild?.remove();
	return said;
}

function row() {
	const li = h("li", null);
	put(li, h("div", { class: "what" }, h("span"), h("small", { class: "faint" })), h("span", { class: "when num faint" }));
	return li;
}

/**
 * What a row says beyond its name.
 * @param {string} kind
 * @param {string} stage
 * @param {Step[]} steps
 * @param {Climb} c
 */
function detail(kind, stage, steps, c) {
	const code = steps.find((s) => s.code)?.code || (kind === "failed" ? c.code : "");
	if (code) return `${explainCode(code).what} (${code})`;
	if (stage === "waiting" && c.waiting && kind !== "failed" && !c.over && !c.steps.some((s) => s.stage === "woken")) {
		return t("ladder.waits", { n: c.waiting.position - 1, time: millis(c.waiting.for_us) });
	}
	return kind === "now" ? known(`ladder.${stage}_now`) : "";
}

/**
 * A ladder for a page of its own, not live.
 * @param {Climb} c
 */
export function ladder(c) {
	const list = h("ol", { class: "ladder" });
	showLadder(list, c);
	return list;
}
