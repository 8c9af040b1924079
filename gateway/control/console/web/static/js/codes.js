// What the stable codes mean, of control, nodes, devices and this console, and what to do.

import { t, known } from "./i18n.js";

/**
 * What a code says, and what to do about it; a code that has no words says itself.
 * @param {string} code
 * @returns {{what: string, todo: string}}
 */
export function explainCode(code) {
	const what = known(`problem.${code}`);
	if (!what) return { what: t("problem.other", { code }), todo: t("hint.other") };
	return { what, todo: known(`hint.${code}`) };
}

/** Ends that nobody has to do anything about. */
const planned = new Set(["", "closed", "down", "left", "unwatched", "signed_out", "console_moved", "hangup", "lifetime", "idle", "expired", "removed"]);

/**
 * Whether a session that ended with a code ended as it should.
 * @param {string} code
 */
export const isPlanned = (code) => planned.has(code);
