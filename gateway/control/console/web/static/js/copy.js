// Lines to copy.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { toast } from "./toast.js";

/**
 * A line of text with a button that copies it.
 * @param {string} label what it is for
 * @param {string} line
 */
export function copyable(label, line) {
	return h("div", { class: "line" }, h("code", { tabindex: 0, "aria-label": label }, line),
		h("button", { class: "btn quiet small", type: "button", "aria-label": t("copy.label", { what: label }), onclick: () => copy(line) }, t("copy.button")));
}

/** @param {string} line */
async function copy(line) {
	try {
		await navigator.clipboard.writeText(line);
		toast(t("copy.done"), "ok");
	} catch {
		toast(t("copy.failed"), "bad");
	}
}
