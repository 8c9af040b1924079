// A list of slots in order, kept so while single ones change: no change costs more than
// a binary search and a move of memory.

export class Order {
	/** @param {(a: number, b: number) => number} compare of two slots, never 0 for two */
	constructor(compare) {
		this.compare = compare;
		this.slots = new Int32Array(1024);
		this.length = 0;
	}

	/**
	 * Where a slot stands, or would.
	 * @param {number} slot
	 */
	place(slot) {
		let low = 0;
		let high = this.length;
		while (low < high) {
			const middle = (low + high) >>> 1;
			if (this.compare(this.slots[middle], slot) < 0) low = middle + 1;
			else high = middle;
		}
		return low;
	}

	/** @param {number} slot */
	insert(slot) {
		if (this.length === this.slots.length) {
			const more = new Int32Array(this.length * 2);
			more.set(this.slots);
			this.slots = more;
		}
		const at = this.place(slot);
		this.slots.copyWithin(at + 1, at, this.length);
		this.slots[at] = slot;
		this.length++;
	}

	/**
	 * Takes a slot out; what orders it must be as it was when it came in.
	 * @param {number} slot
	 */
	remove(slot) {
		const at = this.place(slot);
		if (this.slots[at] !== slot) throw new Error("a slot is not where its order says");
		this.slots.copyWithin(at, at + 1, this.length);
		this.length--;
	}

	/**
	 * Makes these all that there are, in order.
	 * @param {Iterable<number>} slots
	 */
	fill(slots) {
		const list = Array.from(slots).sort(this.compare);
		if (list.length > this.slots.length) this.slots = new Int32Array(list.length * 2);
		this.slots.set(list);
		this.length = list.length;
	}

	/**
	 * Makes those of another order that pass all that there are.
	 * @param {Order} other of the same compare
	 * @param {Uint8Array} passes by slot
	 */
	select(other, passes) {
		if (other.length > this.slots.length) this.slots = new Int32Array(other.slots.length);
		let n = 0;
		for (let i = 0; i < other.length; i++) {
			const slot = other.slots[i];
			if (passes[slot]) this.slots[n++] = slot;
		}
		this.length = n;
	}

	clear() {
		this.length = 0;
	}
}
