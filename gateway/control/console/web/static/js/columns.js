// The columns of the list of devices: what stands in them, and which a user wants.

import { t } from "./i18n.js";
import { ago, exactly } from "./format.js";
import { natClass } from "./nat.js";
import { severity, troubles } from "./trouble.js";
import { natText, troubleText } from "./words.js";

/**
 * @typedef {import("./shapes.js").Device} Device
 * @typedef {import("./fleet.js").SortBy} SortBy
 */

/**
 * @typedef {object} Column
 * @property {SortBy} name
 * @property {string} label
 * @property {string} width of a grid's track
 * @property {(d: Device, now: number, active: boolean) => string} text
 * @property {(d: Device) => string} [kind] of a badge, "": plain text
 * @property {boolean} [mono]
 * @property {boolean} [hidden] unless a user wants it
 */

const kinds = { online: "ok dot", late: "warn dot", unknown: "dot" };

/** The words are looked up once: a row is shown many times. */
const words = {
	online: { online: t("online.online"), late: t("online.late"), unknown: t("online.unknown") },
	never: t("time.never"),
	session: t("devices.in_session"),
};

/** @type {Column[]} */
export const columns = [
	{ name: "id", label: t("devices.id"), width: "minmax(140px, 2fr)", text: (d) => d.id, mono: true },
	{ name: "online", label: t("devices.online"), width: "112px", text: (d) => words.online[d.online] ?? d.online, kind: (d) => kinds[d.online] ?? "dot" },
	{
		name: "seen", label: t("devices.seen"), width: "minmax(160px, 1fr)",
		text: (d, now, active) => {
			const at = Date.parse(d.last_seen ?? "");
			if (!(at > 0)) return words.never;
			return active ? exactly(at) : ago(at, now);
		},
	},
	{ name: "session", label: t("devices.session"), width: "108px", text: (d) => (d.session ? words.session : ""), kind: () => "ok" },
	{
		name: "trouble", label: t("devices.trouble"), width: "minmax(130px, 1.2fr)",
		text: (d) => {
			const codes = troubles(d);
			if (codes.length === 0) return "";
			return codes.length > 1 ? `${troubleText(codes[0])} +${codes.length - 1}` : troubleText(codes[0]);
		},
		kind: (d) => severity(troubles(d)[0]),
	},
	{ name: "group", label: t("devices.group"), width: "minmax(112px, 1fr)", text: (d) => d.group ?? "" },
	{ name: "version", label: t("devices.version"), width: "minmax(104px, 1fr)", text: (d) => d.version ?? "" },
	{ name: "address", label: t("devices.address"), width: "124px", text: (d) => d.address ?? "", mono: true },
	{ name: "nat", label: t("devices.nat"), width: "128px", text: (d) => natText(natClass(d.nat)), hidden: true },
];

const kept = "boothwire.columns";

/**
 * The names of the columns that a user wants.
 * @returns {Set<string>}
 */
export function chosen() {
	try {
		const names = JSON.parse(localStorage.getItem(kept) ?? "");
		if (Array.isArray(names) && names.length) return new Set(["id", ...names.filter((n) => columns.some((c) => c.name === n))]);
	} catch {
		// What was kept is no list, or nothing may be kept: the usual ones, then.
	}
	return new Set(columns.filter((c) => !c.hidden).map((c) => c.name));
}

/** @param {Set<string>} names */
export function choose(names) {
	try {
		localStorage.setItem(kept, JSON.stringify([...names]));
	} catch {
		// They are chosen for this page, then.
	}
}
