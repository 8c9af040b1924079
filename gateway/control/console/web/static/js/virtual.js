// A long list of which only the rows in sight are in the document; they are used again
// as it scrolls. All rows are of one height.

/**
 * @template R
 * @typedef {object} Rows
 * @property {() => {element: HTMLElement, row: R}} make a row, to be used for any
 * @property {(row: R, index: number, active: boolean) => void} show
 * @property {() => number} count
 * @property {(index: number) => void} open Enter was pressed on a row
 */

const spare = 4; // rows beyond each edge, for scrolling

/** @template R */
export class VirtualList {
	/**
	 * @param {HTMLElement} scroller a grid that scrolls and can have the focus
	 * @param {HTMLElement} body within it, for the rows
	 * @param {number} height of a row, in px
	 * @param {Rows<R>} rows
	 */
	constructor(scroller, body, height, rows) {
		this.scroller = scroller;
		this.body = body;
		this.height = height;
		this.rows = rows;
		/** @type {{element: HTMLElement, row: R, index: number}[]} */
		this.pool = [];
		this.active = -1;
		this.pending = false;
		this.total = -1;
		scroller.addEventListener("scroll", () => this.soon(), { passive: true });
		scroller.addEventListener("keydown", (e) => this.onKey(e));
		scroller.addEventListener("focus", () => {
			if (this.active < 0) this.activate(Math.floor(scroller.scrollTop / height));
			this.soon();
		});
		scroller.addEventListener("blur", () => this.soon());
		new ResizeObserver(() => this.soon()).observe(scroller);
	}

	/** Shows what there is now, with the next frame. */
	soon() {
		if (this.pending) return;
		this.pending = true;
		requestAnimationFrame(() => {
			this.pending = false;
			this.show();
		});
	}

	/** Shows what there is now. */
	show() {
		const count = this.rows.count();
		if (count !== this.total) {
			this.total = count;
			this.body.style.height = `${count * this.height}px`;
			this.scroller.setAttribute("aria-rowcount", String(count + 1));
		}
		if (this.active >= count) this.active = count - 1;
		const head = this.body.offsetTop;
		const room = this.scroller.clientHeight;
		const first = Math.max(0, Math.floor((this.scroller.scrollTop) / this.height) - spare);
		const last = Math.min(count, Math.ceil((this.scroller.scrollTop + room - head) / this.height) + spare);
		const wanted = Math.max(0, last - first);
		while (this.pool.length < wanted) {
			const made = { ...this.rows.make(), index: -1 };
			made.element.id = `row-${this.pool.length}`;
			made.element.style.height = `${this.height}px`;
			this.body.append(made.element);
			this.pool.push(made);
		}
		const size = this.pool.length;
		const focused = document.activeElement === this.scroller;
		let current = "";
		for (let i = 0; i < size; i++) {
			// Row n is always shown by the same of the pool, so that scrolling changes few.
			const index = size === 0 ? -1 : first + ((i - (first % size) + size) % size);
			const item = this.pool[i];
			if (index >= last) {
				if (item.index !== -1) item.element.hidden = true;
				item.index = -1;
				continue;
			}
			if (item.index !== index) {
				item.index = index;
				item.element.hidden = false;
				item.element.style.transform = `translateY(${index * this.height}px)`;
				item.element.setAttribute("aria-rowindex", String(index + 2));
			}
			const active = focused && index === this.active;
			if (active) current = item.element.id;
			this.rows.show(item.row, index, active);
		}
		if (current) this.scroller.setAttribute("aria-activedescendant", current);
		else this.scroller.removeAttribute("aria-activedescendant");
	}

	/**
	 * Makes a row the one that keys speak of, and brings it into sight.
	 * @param {number} index
	 */
	activate(index) {
		this.active = Math.max(0, Math.min(this.rows.count() - 1, index));
		const head = this.body.offsetTop;
		const top = this.active * this.height;
		const room = this.scroller.clientHeight - head;
		if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
		else if (top + this.height > this.scroller.scrollTop + room) this.scroller.scrollTop = top + this.height - room;
		this.soon();
	}

	/** @param {KeyboardEvent} e */
	onKey(e) {
		if (e.target !== this.scroller || e.altKey || e.metaKey) return;
		const page = Math.max(1, Math.floor((this.scroller.clientHeight - this.body.offsetTop) / this.height) - 1);
		/** @type {Record<string, number>} */
		const to = {
			ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page,
			Home: 0, End: this.rows.count() - 1,
		};
		if (e.key === "Enter" && this.active >= 0) this.rows.open(this.active);
		else if (e.key in to) this.activate(to[e.key]);
		else return;
		e.preventDefault();
	}
}
