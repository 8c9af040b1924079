// Holds the fleet that the list of devices keeps up beside one that is sorted, filtered
// and counted anew after each change. Its argument is the seed.

import assert from "node:assert/strict";
import { Fleet, everything } from "../static/js/fleet.js";
import { natClass } from "../static/js/nat.js";
import { troubles } from "../static/js/trouble.js";

/**
 * @typedef {import("../static/js/shapes.js").Device} Device
 * @typedef {import("../static/js/fleet.js").SortBy} SortBy
 */

let seed = Number(process.argv[2] ?? 1) >>> 0;

/**
 * A number below n (mulberry32).
 * @param {number} n
 */
function random(n) {
	seed = (seed + 0x6d2b79f5) >>> 0;
	let x = Math.imul(seed ^ (seed >>> 15), seed | 1);
	x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
	return ((x ^ (x >>> 14)) >>> 0) % n;
}

/** @template T @param {readonly T[]} list @returns {T} */
const one = (list) => list[random(list.length)];

/** @returns {Device} */
function device() {
	/** @type {Device} */
	const d = { id: `${one(["kiosk-", "Kiosk-", "k"])}${random(120)}`, key: one(["", "K"]), gen: 3, online: one(["online", "late", "unknown"]), prekeys: random(5) };
	if (random(2)) d.group = `mall-${random(12)}`;
	if (random(2)) d.version = `1.${random(12)}`;
	if (random(2)) d.last_seen = new Date(1e12 + random(50) * 1000).toISOString();
	if (random(4) === 0) d.session = "s";
	if (random(3) === 0) d.trouble = [one(["clone", "late", "last_failed:busy"])];
	if (random(3) === 0) d.nat = one(["endpoint_independent/open", "address_dependent/unknown", "udp_blocked"]);
	return d;
}

const fleet = new Fleet();
/** @type {Map<string, Device>} */
const naive = new Map();

function check() {
	const f = fleet.filter;
	const words = f.text.toLowerCase().split(/\s+/).filter(Boolean);
	const want = [...naive.values()].filter((d) => {
		const hay = [d.id, d.group, d.version, d.address].join("\n").toLowerCase();
		return words.every((w) => hay.includes(w)) && (!f.online.length || f.online.includes(d.online)) && (!f.group || d.group === f.group) &&
			(!f.version || d.version === f.version) && (!f.nat || natClass(d.nat) === f.nat) && (!f.session || d.session) &&
			(!f.trouble || (f.trouble === "any" ? troubles(d).length : troubles(d).some((c) => c.startsWith(f.trouble))));
	}).map((d) => d.id).sort();
	const shown = Array.from({ length: fleet.shown.length }, (_, i) => fleet.at(i));
	assert.deepEqual(shown.map((d) => d?.id ?? "").sort(), want);
	for (let i = 0; i < shown.length; i++) {
		const d = /** @type {Device} */ (shown[i]);
		assert.equal(d, naive.get(d.id));
		assert.equal(fleet.rowOf(d.id), i);
		if (i > 0) assert.ok(fleet.compare(fleet.shown.slots[i - 1], fleet.shown.slots[i]) < 0, "rows out of order");
	}
	assert.equal(fleet.size, naive.size);
	const count = (/** @type {(d: Device) => unknown} */ of) => [...naive.values()].filter(of).length;
	assert.deepEqual(fleet.counts, {
		online: count((d) => d.online === "online"), late: count((d) => d.online === "late"), unknown: count((d) => d.online === "unknown"),
		session: count((d) => d.session), trouble: count((d) => troubles(d).length),
	});
	for (const [group, n] of fleet.tallies.group.counts) assert.equal(n, count((d) => d.group === group));
}

const sorts = /** @type {SortBy[]} */ (["id", "online", "group", "version", "seen", "address", "nat", "trouble", "session"]);

for (let step = 0; step < 4000; step++) {
	switch (random(40)) {
		case 0:
			fleet.setSort(one(sorts), one([1, -1]));
			break;
		case 1: {
			const f = everything();
			if (random(2)) f.text = one(["1", "kiosk 2", "MALL-1", "none"]);
			if (random(3) === 0) f.online = [one(["online", "late"]), "unknown"];
			if (random(3) === 0) f.group = `mall-${random(12)}`;
			if (random(4) === 0) f.trouble = one(["any", "late", "last_failed", "unregistered"]);
			if (random(4) === 0) f.nat = one(["full-cone", "symmetric"]);
			f.session = random(5) === 0;
			fleet.setFilter(f);
			break;
		}
		case 2: {
			// All anew, of which some are no more.
			fleet.reset();
			naive.clear();
			for (let i = random(80); i > 0; i--) {
				const d = device();
				naive.set(d.id, d);
				fleet.put(d);
			}
			fleet.settle();
			break;
		}
		case 3:
		case 4: {
			const id = device().id;
			naive.delete(id);
			fleet.remove(id);
			break;
		}
		default: {
			const d = device();
			naive.set(d.id, d);
			fleet.put(d);
		}
	}
	check();
}
console.log("held");
