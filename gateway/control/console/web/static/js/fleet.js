// All devices of the fleet in memory: sorted, filtered and counted, and kept so while
// single ones change. It knows no page.

import { Order } from "./order.js";
import { natClass } from "./nat.js";
import { kindOf, troubles } from "./trouble.js";

/** @typedef {import("./shapes.js").Device} Device */

/**
 * @typedef {object} Filter
 * @property {string} text words that all stand in id, group, version or address
 * @property {string[]} online states; none: all
 * @property {string} group
 * @property {string} version
 * @property {string} nat a class
 * @property {string} trouble a kind, or "any"
 * @property {boolean} session only those in one
 */

/** @returns {Filter} one that lets all through */
export const everything = () => ({ text: "", online: [], group: "", version: "", nat: "", trouble: "", session: false });

/** @typedef {"id" | "online" | "group" | "version" | "seen" | "address" | "nat" | "trouble" | "session"} SortBy */

const ranks = { online: 0, late: 1, unknown: 2 };

/** @type {Record<SortBy, (d: Device) => string | number>} */
const keys = {
	id: (d) => natural(d.id),
	online: (d) => ranks[d.online] ?? 3,
	group: (d) => natural(d.group ?? "￿"),
	version: (d) => natural(d.version ?? "￿"),
	seen: (d) => -(Date.parse(d.last_seen ?? "") || 0),
	address: (d) => natural(d.address ?? "￿"),
	nat: (d) => natClass(d.nat) || "￿",
	trouble: (d) => -troubles(d).length,
	session: (d) => (d.session ? 0 : 1),
};

/** @type {Map<string, string>} of what many devices have in common */
const naturals = new Map();

/**
 * A text by which numbers sort as numbers: kiosk-9 before kiosk-10.
 * @param {string} s
 */
function natural(s) {
	let text = naturals.get(s);
	if (text === undefined) {
		text = s.toLowerCase().replace(/\d+/g, (n) => n.padStart(10, "0"));
		if (naturals.size > 50000) naturals.clear(); // a device may say something new each time
		naturals.set(s, text);
	}
	return text;
}

/** Counts of a value, for what a filter offers. */
class Tally {
	constructor() {
		/** @type {Map<string, number>} */
		this.counts = new Map();
		this.changed = false; // in which values there are
	}

	/** @param {string | undefined} value @param {1 | -1} by */
	add(value, by) {
		if (!value) return;
		const n = (this.counts.get(value) ?? 0) + by;
		if (n === 0 || n === by) this.changed = true;
		if (n === 0) this.counts.delete(value);
		else this.counts.set(value, n);
	}
}

export class Fleet {
	constructor() {
		/** @type {Map<string, number>} slot by id */
		this.slots = new Map();
		/** @type {(Device | null)[]} by slot, as all below */
		this.devices = [];
		/** @type {string[]} what a search looks in */
		this.hay = [];
		/** @type {string[]} */
		this.names = [];
		/** @type {(string | number)[]} by what it is sorted */
		this.keys = [];
		this.passes = new Uint8Array(1024);
		/** @type {number[]} slots that are free again */
		this.free = [];
		/** @type {SortBy} */
		this.by = "id";
		this.direction = 1;
		this.filter = everything();
		/** @type {string[]} */
		this.words = [];
		const compare = (/** @type {number} */ a, /** @type {number} */ b) => this.compare(a, b);
		this.all = new Order(compare);
		this.shown = new Order(compare);
		/** @type {Set<number> | null} what a reset has not named yet */
		this.stale = null;
		this.counts = { online: 0, late: 0, unknown: 0, session: 0, trouble: 0 };
		this.tallies = { group: new Tally(), version: new Tally(), nat: new Tally(), trouble: new Tally() };
	}

	/** How many there are. */
	get size() {
		return this.slots.size;
	}

	/**
	 * @param {number} a
	 * @param {number} b
	 */
	compare(a, b) {
		const x = this.keys[a];
		const y = this.keys[b];
		if (x !== y) return x < y ? -this.direction : this.direction;
		if (a === b) return 0;
		const m = this.names[a];
		const n = this.names[b];
		if (m !== n) return m < n ? -1 : 1;
		return a - b;
	}

	/** From now on what is not named until settle() is no more. */
	reset() {
		this.stale = new Set(this.slots.values());
	}

	/** Takes out what was not named since reset(). */
	settle() {
		for (const slot of this.stale ?? []) this.drop(slot);
		this.stale = null;
	}

	/**
	 * Takes over a device as it is now.
	 * @param {Device} d
	 */
	put(d) {
		const slot = this.slots.get(d.id);
		if (slot === undefined) {
			this.add(d);
			return;
		}
		this.stale?.delete(slot);
		const old = /** @type {Device} */ (this.devices[slot]);
		const key = keys[this.by](d);
		const moves = key !== this.keys[slot];
		const passed = this.passes[slot];
		if (moves) {
			this.all.remove(slot);
			if (passed) this.shown.remove(slot);
			this.keys[slot] = key;
			this.all.insert(slot);
		}
		this.count(old, -1);
		this.devices[slot] = d;
		this.count(d, 1);
		if (differs(old, d)) this.hay[slot] = hayOf(d);
		const passes = this.judge(slot);
		if (passed && !passes && !moves) this.shown.remove(slot);
		if (passes && (moves || !passed)) this.shown.insert(slot);
	}

	/** @param {Device} d */
	add(d) {
		const slot = this.free.pop() ?? this.devices.length;
		if (slot >= this.passes.length) {
			const more = new Uint8Array(this.passes.length * 2);
			more.set(this.passes);
			this.passes = more;
		}
		this.slots.set(d.id, slot);
		this.devices[slot] = d;
		this.hay[slot] = hayOf(d);
		this.names[slot] = natural(d.id);
		this.keys[slot] = keys[this.by](d);
		this.count(d, 1);
		this.all.insert(slot);
		if (this.judge(slot)) this.shown.insert(slot);
	}

	/** @param {string} id */
	remove(id) {
		const slot = this.slots.get(id);
		if (slot !== undefined) this.drop(slot);
	}

	/** @param {number} slot */
	drop(slot) {
		const d = /** @type {Device} */ (this.devices[slot]);
		this.all.remove(slot);
		if (this.passes[slot]) this.shown.remove(slot);
		this.count(d, -1);
		this.slots.delete(d.id);
		this.stale?.delete(slot);
		this.devices[slot] = null;
		this.passes[slot] = 0;
		this.free.push(slot);
	}

	/**
	 * @param {Device} d
	 * @param {1 | -1} by
	 */
	count(d, by) {
		this.counts[d.online] += by;
		if (d.session) this.counts.session += by;
		const codes = troubles(d);
		if (codes.length) this.counts.trouble += by;
		for (const code of codes) this.tallies.trouble.add(kindOf(code), by);
		this.tallies.group.add(d.group, by);
		this.tallies.version.add(d.version, by);
		this.tallies.nat.add(natClass(d.nat), by);
	}

	/**
	 * Whether a device passes the filter; it is noted.
	 * @param {number} slot
	 */
	judge(slot) {
		const d = /** @type {Device} */ (this.devices[slot]);
		const f = this.filter;
		const hay = this.hay[slot];
		let pass =
			(f.online.length === 0 || f.online.includes(d.online)) &&
			(!f.group || d.group === f.group) &&
			(!f.version || d.version === f.version) &&
			(!f.nat || natClass(d.nat) === f.nat) &&
			(!f.session || !!d.session);
		for (let i = 0; pass && i < this.words.length; i++) pass = hay.includes(this.words[i]);
		if (pass && f.trouble) {
			const codes = troubles(d);
			pass = f.trouble === "any" ? codes.length > 0 : codes.some((code) => kindOf(code) === f.trouble);
		}
		this.passes[slot] = pass ? 1 : 0;
		return pass;
	}

	/**
	 * Shows only what passes.
	 * @param {Filter} filter
	 */
	setFilter(filter) {
		this.filter = filter;
		this.words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
		for (const slot of this.slots.values()) this.judge(slot);
		this.shown.select(this.all, this.passes);
	}

	/**
	 * Sorts anew.
	 * @param {SortBy} by
	 * @param {1 | -1} direction
	 */
	setSort(by, direction) {
		this.by = by;
		this.direction = direction;
		for (const slot of this.slots.values()) this.keys[slot] = keys[by](/** @type {Device} */ (this.devices[slot]));
		this.all.fill(this.slots.values());
		this.shown.select(this.all, this.passes);
	}

	/**
	 * The device in a row of what is shown.
	 * @param {number} row
	 * @returns {Device | null}
	 */
	at(row) {
		return row >= 0 && row < this.shown.length ? this.devices[this.shown.slots[row]] : null;
	}

	/**
	 * The row of a device, -1 if it is not shown.
	 * @param {string} id
	 */
	rowOf(id) {
		const slot = this.slots.get(id);
		return slot === undefined || !this.passes[slot] ? -1 : this.shown.place(slot);
	}
}

/** @param {Device} d */
function hayOf(d) {
	return `${d.id}\n${d.group ?? ""}\n${d.version ?? ""}\n${d.address ?? ""}`.toLowerCase();
}

/**
 * Whether a search may find one and not the other.
 * @param {Device} a
 * @param {Device} b
 */
function differs(a, b) {
	return a.group !== b.group || a.version !== b.version || a.address !== b.address;
}
