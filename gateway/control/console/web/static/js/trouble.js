// What is wrong with a device, as far as its record tells. Each has words for what it is,
// trouble.CODE, and for what to do, trouble.CODE.todo.

/** @typedef {import("./shapes.js").Device} Device */

/**
 * The codes of a device's troubles, the worst first.
 * @param {Device} d
 * @returns {string[]}
 */
export function troubles(d) {
	const codes = [];
	if (d.foreign) codes.push("foreign");
	if (d.state === "failed") codes.push("failed");
	if (d.state === "degraded") codes.push("degraded");
	if (d.key && !d.last_seen) codes.push("never_seen");
	else if (d.key && d.online === "unknown") codes.push("silent");
	if (d.key && d.online === "online" && d.prekeys === 0 && !d.session) codes.push("no_prekeys");
	if (!d.key) codes.push("unregistered");
	return codes;
}

/** Every code that there is, the worst first. */
export const troubleCodes = ["foreign", "failed", "degraded", "never_seen", "silent", "no_prekeys", "unregistered"];

/**
 * How bad a code is, as a badge shows it.
 * @param {string} code
 * @returns {"bad" | "warn"}
 */
export const severity = (code) => (code === "foreign" || code === "failed" ? "bad" : "warn");
