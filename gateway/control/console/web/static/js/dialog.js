// A question in front of the page.

import { h, put } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Asks with a form, and returns what was filled in, or null when it was put away.
 * @param {object} question
 * @param {string} question.title
 * @param {string} [question.text]
 * @param {string} question.yes what its button says
 * @param {boolean} [question.danger]
 * @param {(Node | null)[]} [question.fields] with names
 * @returns {Promise<FormData | null>}
 */
export function ask({ title, text, yes, danger, fields = [] }) {
	const form = h("form", { method: "dialog" });
	const dialog = h("dialog", { "aria-labelledby": "question" }, form);
	put(form,
		h("h2", { id: "question" }, title),
		text ? h("p", { class: "soft" }, text) : null,
		...fields,
		h("div", { class: "actions" },
			h("button", { class: "btn quiet", type: "button", onclick: () => dialog.close() }, t("dialog.cancel")),
			h("button", { class: danger ? "btn danger" : "btn primary", type: "submit", value: "yes" }, yes)));
	document.body.append(dialog);
	dialog.showModal();
	return new Promise((resolve) => {
		dialog.addEventListener("close", () => {
			resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
			dialog.remove();
		});
	});
}

/**
 * A field of such a form.
 * @param {string} label
 * @param {string} name
 * @param {Record<string, string | number | boolean>} [attributes]
 * @param {string} [hint]
 */
export function field(label, name, attributes = {}, hint = "") {
	return h("label", { class: "field" }, h("span", null, label), h("input", { name, ...attributes }), hint ? h("small", null, hint) : null);
}
