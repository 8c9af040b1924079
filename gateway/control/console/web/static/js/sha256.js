// SHA-256 of what comes in pieces: the browser's own wants all of a file in memory.

const k = new Int32Array(64);
const start = new Int32Array(8);
for (let n = 2, i = 0; i < 64; n++) {
	if (!prime(n)) continue;
	if (i < 8) start[i] = fraction(Math.sqrt(n));
	k[i++] = fraction(Math.cbrt(n));
}

/** @param {number} n */
function prime(n) {
	for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
	return true;
}

/** The first 32 bits behind the point. @param {number} x */
function fraction(x) {
	return ((x - Math.floor(x)) * 2 ** 32) | 0;
}

export class Sha256 {
	constructor() {
		this.state = Int32Array.from(start);
		this.rest = new Uint8Array(64);
		this.length = 0; // bytes so far
	}

	/** @param {Uint8Array} bytes */
	update(bytes) {
		let at = 0;
		const held = this.length % 64;
		this.length += bytes.length;
		if (held) {
			at = Math.min(64 - held, bytes.length);
			this.rest.set(bytes.subarray(0, at), held);
			if (held + at < 64) return this;
			mix(this.state, this.rest, 0);
		}
		for (; at + 64 <= bytes.length; at += 64) mix(this.state, bytes, at);
		this.rest.set(bytes.subarray(at));
		return this;
	}

	/** The sum so far, in hex; more may follow. */
	hex() {
		const state = Int32Array.from(this.state);
		const held = this.length % 64;
		const last = new Uint8Array(held < 56 ? 64 : 128);
		last.set(this.rest.subarray(0, held));
		last[held] = 0x80;
		const view = new DataView(last.buffer);
		view.setUint32(last.length - 8, Math.floor(this.length / 2 ** 29));
		view.setUint32(last.length - 4, (this.length * 8) >>> 0);
		for (let at = 0; at < last.length; at += 64) mix(state, last, at);
		return Array.from(state, (n) => (n >>> 0).toString(16).padStart(8, "0")).join("");
	}
}

const w = new Int32Array(64);

/**
 * Mixes 64 bytes into a state (FIPS 180-4, 6.2.2).
 * @param {Int32Array} state
 * @param {Uint8Array} bytes
 * @param {number} at
 */
function mix(state, bytes, at) {
	for (let i = 0; i < 16; i++, at += 4) w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
	for (let i = 16; i < 64; i++) {
		const x = w[i - 15];
		const y = w[i - 2];
		const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
		const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
		w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
	}
	let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
	for (let i = 0; i < 64; i++) {
		const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
		const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
		const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
		const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
		h = g;
		g = f;
		f = e;
		e = (d + t1) | 0;
		d = c;
		c = b;
		b = a;
		a = (t1 + t2) | 0;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
	state[5] += f;
	state[6] += g;
	state[7] += h;
}
