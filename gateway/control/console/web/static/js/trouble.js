// What is wrong with a device, by code.

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

const grave = new Set(["clone", "foreign_key", "refused", "preflight"]);

/**
 * How bad a trouble is, as a badge shows it.
 * @param {string} code
 * @returns {"bad" | "warn"}
 */
export const severity = (code) => (grave.has(kindOf(code)) ? "bad" : "warn");
