// The rows of the list of devices. A row is made once and shows one device after the
// other; only what differs is written.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/**
 * @typedef {import("./shapes.js").Device} Device
 * @typedef {import("./columns.js").Column} Column
 * @typedef {{cell: HTMLElement, box: HTMLElement, text: Text, said: string, kind: string}} Cell
 * @typedef {{element: HTMLElement, link: HTMLAnchorElement, button: HTMLButtonElement | null, cells: Cell[], id: string, active: boolean, ready: boolean | null}} Row
 */

/**
 * @param {Column[]} columns
 * @param {boolean} connects whether rows have a button to connect
 * @returns {{element: HTMLElement, row: Row}}
 */
export function makeRow(columns, connects) {
	const element = h("div", { class: "row", role: "row" });
	const link = h("a", { class: "mono", tabindex: -1 });
	/** @type {Cell[]} */
	const cells = columns.map((c, i) => {
		const text = document.createTextNode("");
		const box = i === 0 ? link : h("span", { class: c.mono ? "mono" : null });
		const cell = h("div", { class: "cell", role: "gridcell" }, box);
		box.append(text);
		element.append(cell);
		return { cell, box, text, said: "", kind: "" };
	});
	const button = connects ? h("button", { class: "btn small", type: "button", tabindex: -1 }, t("devices.connect")) : null;
	if (button) element.append(h("div", { class: "cell end", role: "gridcell" }, button));
	return { element, row: { element, link, button, cells, id: "", active: false, ready: null } };
}

/**
 * Shows a device in a row.
 * @param {Row} row
 * @param {Column[]} columns
 * @param {Device} d
 * @param {number} now
 * @param {boolean} active
 */
export function showRow(row, columns, d, now, active) {
	if (row.id !== d.id) {
		row.id = d.id;
		row.element.dataset.id = d.id;
		row.link.href = `/console/devices/${encodeURIComponent(d.id)}`;
		row.button?.setAttribute("aria-label", t("connect.title", { device: d.id }));
	}
	if (row.active !== active) {
		row.active = active;
		row.element.classList.toggle("active", active);
	}
	const ready = d.online !== "unknown" && !!d.key;
	if (row.button && row.ready !== ready) {
		row.ready = ready;
		row.button.disabled = !ready;
	}
	for (let i = 0; i < columns.length; i++) {
		const cell = row.cells[i];
		const text = columns[i].text(d, now, active);
		if (cell.said !== text) cell.text.data = cell.said = text;
		const kind = (text && columns[i].kind?.(d)) || "";
		if (cell.kind !== kind) {
			cell.kind = kind;
			cell.box.className = kind ? `badge ${kind}` : columns[i].mono ? "mono" : "";
		}
	}
}
