// Short messages in the corner, read out by screen readers.

import { h, byId } from "./dom.js";
import { joined, t, known } from "./i18n.js";
import { Problem } from "./api.js";

/**
 * Shows a message for a while.
 * @param {string} text
 * @param {"ok" | "bad" | ""} [kind]
 */
export function toast(text, kind = "") {
	const e = h("div", { class: `toast ${kind}` }, h("p", null, text),
		h("button", { class: "btn quiet icon", type: "button", "aria-label": t("toast.close"), onclick: () => e.remove() }, "×"));
	byId("toasts").append(e);
	setTimeout(() => e.remove(), kind === "bad" ? 12000 : 5000);
}

/**
 * What an error says, and what to do about it.
 * @param {unknown} error
 * @returns {{what: string, hint: string}}
 */
export function explain(error) {
	if (!(error instanceof Problem)) return { what: t("problem.fault"), hint: String(error) };
	return { what: known(`problem.${error.code}`) || error.message || t("problem.fault"), hint: known(`hint.${error.code}`) };
}

/**
 * Shows an error for a while.
 * @param {unknown} error
 */
export function complain(error) {
	const { what, hint } = explain(error);
	toast(joined("sentences", [what, hint]), "bad");
}
