// The filter and the order of the list of devices as the page's address has them.

import { everything } from "./fleet.js";

/**
 * @typedef {import("./fleet.js").Filter} Filter
 * @typedef {import("./fleet.js").SortBy} SortBy
 * @typedef {{filter: Filter, by: SortBy, direction: 1 | -1}} State
 */

const sorts = ["id", "online", "group", "version", "seen", "address", "nat", "trouble", "session"];

/**
 * Reads an address's query.
 * @param {string} query
 * @returns {State}
 */
export function read(query) {
	const q = new URLSearchParams(query);
	const filter = everything();
	filter.text = q.get("q") ?? "";
	filter.online = (q.get("online") ?? "").split(",").filter((s) => ["online", "late", "unknown"].includes(s));
	filter.group = q.get("group") ?? "";
	filter.version = q.get("version") ?? "";
	filter.nat = q.get("nat") ?? "";
	filter.trouble = q.get("trouble") ?? "";
	filter.session = q.get("session") === "open";
	const sort = q.get("sort") ?? "";
	const down = sort.startsWith("-");
	const by = down ? sort.slice(1) : sort;
	return { filter, by: /** @type {SortBy} */ (sorts.includes(by) ? by : "id"), direction: down ? -1 : 1 };
}

/**
 * Writes it.
 * @param {State} state
 * @returns {string} with its "?", or empty
 */
export function write({ filter, by, direction }) {
	const q = new URLSearchParams();
	if (filter.text) q.set("q", filter.text);
	if (filter.online.length) q.set("online", filter.online.join(","));
	if (filter.group) q.set("group", filter.group);
	if (filter.version) q.set("version", filter.version);
	if (filter.nat) q.set("nat", filter.nat);
	if (filter.trouble) q.set("trouble", filter.trouble);
	if (filter.session) q.set("session", "open");
	const sort = (direction < 0 ? "-" : "") + by;
	if (sort !== "id") q.set("sort", sort);
	const text = q.toString();
	return text && `?${text}`;
}

/**
 * Whether a filter lets everything through.
 * @param {Filter} f
 */
export function open(f) {
	return !f.text && !f.online.length && !f.group && !f.version && !f.nat && !f.trouble && !f.session;
}
