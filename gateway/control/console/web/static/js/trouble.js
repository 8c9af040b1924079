// What is wrong with a device, in words and with what to do.

import { known, t } from "./i18n.js";

/** @typedef {import("./shapes.js").Device} Device */

/** @type {string[]} */
const none = [];
const unregistered = ["unregistered"];

/**
 * The codes of a device's troubles, the gravest first.
 * @param {Device} d
 * @returns {string[]}
 */
export function troubles(d) {
	return d.trouble ?? (d.key ? none : unregistered);
}

/**
 * What kind of trouble a code is: what stands after its colon says more.
 * @param {string} code
 */
export function kindOf(code) {
	const colon = code.indexOf(":");
	return colon < 0 ? code : code.slice(0, colon);
}

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
	const why = detail && (known(`problem.${detail}`) || t("trouble.code", { code: detail }));
	return [why, detail && known(`hint.${detail}`), known(`todo.${kindOf(code)}`)].filter(Boolean).join(" ");
}

const grave = new Set(["clone", "foreign_key", "refused"]);

/**
 * How bad a trouble is, as a badge shows it.
 * @param {string} code
 * @returns {"bad" | "warn"}
 */
export const severity = (code) => (grave.has(kindOf(code)) ? "bad" : "warn");
