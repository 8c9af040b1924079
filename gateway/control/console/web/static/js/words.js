// What a device's troubles and its network are called, and what to do about them.

import { joined, known, t } from "./i18n.js";
import { checkName } from "./preflight.js";
import { kindOf } from "./trouble.js";

/** @type {Map<string, string>} words are looked up once: rows are shown many times */
const words = new Map();

/**
 * What a trouble is.
 * @param {string} code
 * @returns {string}
 */
export function troubleText(code) {
	let text = words.get(code);
	if (text === undefined) {
		const kind = kindOf(code);
		text = known(`trouble.${kind}`) || kind;
		if (words.size > 1000) words.clear(); // a device may make codes up
		words.set(code, text);
	}
	return text;
}

/**
 * More about it, and what to do.
 * @param {string} code
 * @returns {string}
 */
export function troubleTodo(code) {
	const detail = code.slice(kindOf(code).length + 1);
	if (kindOf(code) === "preflight") return t("trouble.check", { check: checkName(detail) });
	const why = detail && (known(`problem.${detail}`) || t("trouble.code", { code: detail }));
	return joined("sentences", [why, detail && known(`hint.${detail}`), known(`todo.${kindOf(code)}`)]);
}

/**
 * The name of a class.
 * @param {string} kind
 */
export const natText = (kind) => (kind ? known(`nat.${kind}`) || kind : "");
