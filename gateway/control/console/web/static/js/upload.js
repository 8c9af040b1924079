// One file on its way to the device, in pieces, each of which the console acknowledges:
// it can stop anywhere and go on, also in a later session.

import { call, Problem } from "./api.js";
import { Sha256 } from "./sha256.js";

/** Bytes of a file in one request, and so in memory. */
const piece = 4 << 20;

/** @typedef {"waiting" | "comparing" | "running" | "paused" | "done" | "failed"} State */
/** @typedef {{offset: number, total: number, done: boolean, sha256: string}} Progress */

export class Upload {
	/**
	 * @param {string} files the address of the session's files
	 * @param {File} file
	 * @param {string} to path on the device, with every byte that is not plain as %XX
	 * @param {boolean} overwrite
	 * @param {() => void} changed
	 */
	constructor(files, file, to, overwrite, changed) {
		this.files = files;
		this.file = file;
		this.to = to;
		this.overwrite = overwrite;
		this.changed = changed;
		/** @type {State} */
		this.state = "waiting";
		/** @type {unknown} why it failed */
		this.error = null;
		this.sent = 0; // bytes, with those on the way
		this.rate = 0; // bytes a second
		this.sum = ""; // of the file on the device, once done
		/** @type {XMLHttpRequest | null} */
		this.request = null;
		this.began = { at: 0, sent: 0 };
		this.hash = new Sha256();
	}

	get total() {
		return this.file.size;
	}

	/** Sends what the device does not have. It returns when it is over or paused. */
	async run() {
		this.set("comparing");
		this.error = null;
		try {
			let offset = await this.resume();
			if (this.is("paused")) return;
			this.set("running");
			this.began = { at: performance.now(), sent: offset };
			for (;;) {
				const data = new Uint8Array(await this.file.slice(offset, offset + piece).arrayBuffer());
				if (this.is("paused")) return;
				const now = await this.put(data, offset);
				this.hash.update(data.subarray(0, now.offset - offset));
				offset = now.offset;
				if (!now.done && offset < this.total) continue;
				if (now.sha256 !== this.hash.hex()) throw new Problem({ code: "checksum" });
				this.sum = now.sha256;
				this.set("done");
				return;
			}
		} catch (e) {
			if (this.is("paused")) return;
			this.error = e;
			this.set("failed");
		}
	}

	/** How far the device has this very file; 0 where what it has is another one's. */
	async resume() {
		/** @type {Progress} */
		let has;
		for (;;) {
			try {
				has = await this.call("GET", "/upload");
				break;
			} catch (e) {
				// The request before is not over yet at the console.
				if (!(e instanceof Problem) || e.code !== "transfer_busy" || this.is("paused")) throw e;
				await new Promise((resolve) => setTimeout(resolve, 300));
			}
		}
		this.hash = new Sha256();
		for (let at = 0; at < has.offset; at += piece) {
			this.hash.update(new Uint8Array(await this.file.slice(at, Math.min(at + piece, has.offset)).arrayBuffer()));
			this.progress(Math.min(at + piece, has.offset));
			if (this.is("paused")) return 0;
		}
		if (has.offset > 0 && this.hash.hex() === has.sha256) return has.offset;
		this.hash = new Sha256();
		return 0;
	}

	/**
	 * Sends one piece. Only XMLHttpRequest says how far it is.
	 * @param {Uint8Array<ArrayBuffer>} data
	 * @param {number} offset
	 * @returns {Promise<Progress>}
	 */
	put(data, offset) {
		return new Promise((resolve, reject) => {
			const request = new XMLHttpRequest();
			this.request = request;
			request.open("PUT", `${this.url("/content")}&offset=${offset}`);
			request.setRequestHeader("Content-Type", "application/octet-stream");
			request.responseType = "json";
			request.upload.onprogress = (e) => this.progress(offset + e.loaded);
			request.onload = () => {
				if (request.status === 200) resolve(request.response);
				else reject(new Problem({ ...request.response, status: request.status }));
			};
			request.onerror = () => reject(new Problem({ code: "unreachable" }));
			request.onabort = () => reject(new Problem({ code: "upload_cut" }));
			request.send(data);
		});
	}

	/** Stops; run goes on from there. */
	pause() {
		if (this.state === "done" || this.state === "failed") return;
		this.set("paused");
		this.request?.abort();
	}

	/** Stops, and removes what came of it from the device. */
	async cancel() {
		this.pause();
		for (let tries = 0; ; tries++) {
			try {
				return await this.call("DELETE", "/upload");
			} catch (e) {
				if (!(e instanceof Problem) || e.code !== "transfer_busy" || tries > 20) throw e;
				await new Promise((resolve) => setTimeout(resolve, 300));
			}
		}
	}

	/** @param {string} route */
	url(route) {
		return `${this.files}${route}?path=${this.to}&total=${this.total}${this.overwrite ? "&overwrite=1" : ""}`;
	}

	/** @param {string} method @param {string} route */
	call(method, route) {
		return call(method, this.url(route));
	}

	/** @param {number} sent */
	progress(sent) {
		this.sent = Math.min(sent, this.total);
		const seconds = (performance.now() - this.began.at) / 1000;
		if (this.state === "running" && seconds > 0.5) this.rate = (this.sent - this.began.sent) / seconds;
		this.changed();
	}

	/** @param {State} state */
	set(state) {
		this.state = state;
		this.changed();
	}

	/** @param {State} state */
	is(state) {
		return this.state === state;
	}
}
