// The page's end of the socket to a device's SSH server: signs in, asks what the server
// asks, and carries a terminal, or only says whether the connection is there.

import { get, post } from "./api.js";
import { h, byId, page, replace, say } from "./dom.js";
import { t, known } from "./i18n.js";

/** Bytes that may be on the way in one direction; the console has the same number. */
const windowSize = 512 << 10;

/** Bytes of keystrokes in one message. */
const block = 32 << 10;

/**
 * @typedef {{user: string, host_key: string, host_key_by: string, windows?: boolean}} Ready
 * @typedef {{status: number, signal?: string, lost?: boolean}} Exit
 * @typedef {{name?: string, instruction?: string, questions: {text: string, echo: boolean}[]}} Challenge
 *
 * @typedef {object} On
 * @property {(is: Ready) => void} ready
 * @property {(data: Uint8Array, shown: () => void) => void} [output] shown: it is on the screen
 * @property {(exit: Exit) => void} [exit]
 * @property {() => void} over
 */

/** Where the console has this page's session. */
export const held = `/console/held/${encodeURIComponent(page.id)}`;

/** A Link is one socket, from its code to its end. */
export class Link {
	/**
	 * @param {{cols: number, rows: number} | {files: true}} first
	 * @param {On} on
	 */
	constructor(first, on) {
		this.on = on;
		this.first = first;
		/** @type {WebSocket | null} */
		this.socket = null;
		this.over = false;
		/** @type {Uint8Array[]} keystrokes that wait for their turn */
		this.keys = [];
		this.flight = 0; // bytes of keystrokes on the way
		this.shown = 0; // bytes of output to acknowledge
		this.timer = 0;
		this.open();
	}

	async open() {
		state("", t("ssh.connecting"));
		byId("again").hidden = true;
		try {
			const { code } = await post(`${held}/code`, { protocol: "ssh" });
			const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${held}/terminal`);
			socket.binaryType = "arraybuffer";
			socket.onopen = () => socket.send(JSON.stringify({ code, ...this.first }));
			socket.onmessage = (e) => this.heard(e.data);
			socket.onclose = () => this.end("unreachable", "");
			this.socket = socket;
		} catch (e) {
			const problem = /** @type {import("./api.js").Problem} */ (e);
			this.end(problem.code ?? "", problem.message);
		}
	}

	/** @param {string | ArrayBuffer} data */
	heard(data) {
		if (typeof data !== "string") {
			const bytes = new Uint8Array(data);
			this.on.output?.(bytes, () => this.acknowledge(bytes.length));
			return;
		}
		const n = JSON.parse(data);
		if (n.ack) {
			this.flight -= n.ack;
			this.pump();
		} else if (n.signin) {
			state("warn", t("ssh.sign_in"));
			askCredential(n.signin, (credential) => this.tell({ signin: credential }));
		} else if (n.banner) showBanner(n.banner);
		else if (n.prompt) askQuestions(n.prompt, (answers) => this.tell({ answers }));
		else if (n.ready) {
			replace(byId("ssh"));
			state("ok", t("ssh.signed_in", { user: n.ready.user }));
			this.on.ready(n.ready);
		} else if (n.exit) this.on.exit?.(n.exit);
		else if (n.over) this.end(n.over.code, n.over.detail ?? "");
	}

	/** @param {object} message */
	tell(message) {
		if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
	}

	/** @param {number} n */
	acknowledge(n) {
		this.shown += n;
		this.timer ||= window.setTimeout(() => {
			this.timer = 0;
			this.tell({ ack: this.shown });
			this.shown = 0;
		}, 5);
	}

	/**
	 * Sends keystrokes as fast as the shell takes them.
	 * @param {Uint8Array} bytes
	 */
	type(bytes) {
		for (let i = 0; i < bytes.length; i += block) this.keys.push(bytes.slice(i, i + block));
		this.pump();
	}

	pump() {
		while (this.keys.length && this.flight + this.keys[0].length <= windowSize && this.socket?.readyState === WebSocket.OPEN) {
			const keys = /** @type {Uint8Array<ArrayBuffer>} */ (this.keys.shift());
			this.flight += keys.length;
			this.socket.send(keys);
		}
	}

	/**
	 * Says why it is over; of several reasons the first counts.
	 * @param {string} code
	 * @param {string} detail
	 */
	end(code, detail) {
		if (this.over) return;
		this.over = true;
		clearTimeout(this.timer);
		this.keys = [];
		this.socket?.close();
		const exited = code === "exit";
		state(exited ? "" : "bad", exited ? t("ssh.ended") : t("ssh.lost"));
		byId("again").hidden = false;
		if (!exited) {
			replace(byId("ssh"), h("div", { class: "notice bad", role: "alert" },
				h("strong", null, known(`problem.${code}`) || code || t("problem.fault")), " ",
				known(`hint.${code}`), detail ? h("p", { class: "faint mono" }, detail) : null));
		}
		this.on.over();
	}
}

/**
 * @param {string} kind
 * @param {string} text
 */
function state(kind, text) {
	const e = byId("state");
	e.className = `badge dot ${kind}`;
	say(e, text);
}

/** Shows which device the page is about, as soon as the console says it. */
export async function showDevice() {
	try {
		const status = await get(held);
		say(byId("device"), status.session.device);
		return /** @type {{device: string, address?: string}} */ (status.session);
	} catch {
		return null; // the link says why
	}
}

/** @param {string} text */
function showBanner(text) {
	const box = byId("ssh");
	box.prepend(h("pre", { class: "notice" }, text));
}

// The last user's name is no secret, and stays in this tab.
const remembered = "boothwire-ssh-user";

/**
 * Asks for a credential.
 * @param {{code?: string, detail?: string}} why of a second time
 * @param {(credential: object) => void} tell
 */
function askCredential(why, tell) {
	const user = h("input", { name: "user", required: true, maxlength: 256, autocomplete: "off", autocapitalize: "none", spellcheck: "false", value: sessionStorage.getItem(remembered) ?? "" });
	const password = h("input", { name: "password", type: "password", autocomplete: "off" });
	const key = h("textarea", { name: "key", rows: 4, autocomplete: "off", autocapitalize: "none", spellcheck: "false", class: "mono", placeholder: "-----BEGIN OPENSSH PRIVATE KEY-----" });
	const passphrase = h("input", { name: "passphrase", type: "password", autocomplete: "off" });
	const file = h("input", { type: "file", onchange: async () => { if (file.files?.[0]) key.value = await file.files[0].text(); } });
	const withPassword = h("div", null, field(t("ssh.password"), password, t("ssh.password_hint")));
	const withKey = h("div", { class: "stack", hidden: true }, field(t("ssh.key"), key, t("ssh.key_hint")), field(t("ssh.key_file"), file), field(t("ssh.passphrase"), passphrase));
	const way = h("select", {
		name: "way",
		onchange: () => {
			withPassword.hidden = way.value !== "password";
			withKey.hidden = way.value !== "key";
		},
	}, h("option", { value: "password" }, t("ssh.with_password")), h("option", { value: "key" }, t("ssh.with_key")));
	const form = h("form", {
		class: "card narrow",
		onsubmit: (/** @type {Event} */ e) => {
			e.preventDefault();
			sessionStorage.setItem(remembered, user.value);
			/** @type {Record<string, string>} */
			const credential = { user: user.value };
			if (way.value === "key") {
				credential.key = key.value;
				if (passphrase.value) credential.passphrase = passphrase.value;
			} else if (password.value) credential.password = password.value;
			tell(credential);
			replace(byId("ssh"), h("p", { class: "notice", role: "status" }, t("ssh.signing_in")));
		},
	},
	h("h2", null, t("ssh.heading")),
	why.code ? h("p", { class: "notice bad", role: "alert" }, known(`problem.${why.code}`) || why.code, why.detail ? h("span", { class: "faint mono" }, ` ${why.detail}`) : null) : null,
	field(t("ssh.user"), user), field(t("ssh.way"), way), withPassword, withKey,
	h("p", { class: "faint" }, t("ssh.memory")),
	h("div", { class: "bar" }, h("button", { class: "btn primary", type: "submit" }, t("ssh.submit"))));
	replace(byId("ssh"), form);
	(user.value ? password : user).focus();
}

/**
 * Asks what the server asks.
 * @param {Challenge} challenge
 * @param {(answers: string[]) => void} tell
 */
function askQuestions(challenge, tell) {
	const inputs = challenge.questions.map((q) => h("input", { type: q.echo ? "text" : "password", autocomplete: "off", autocapitalize: "none", spellcheck: "false" }));
	replace(byId("ssh"), h("form", {
		class: "card narrow",
		onsubmit: (/** @type {Event} */ e) => {
			e.preventDefault();
			tell(inputs.map((i) => i.value));
			replace(byId("ssh"), h("p", { class: "notice", role: "status" }, t("ssh.signing_in")));
		},
	},
	h("h2", null, t("ssh.asks")),
	challenge.name ? h("p", null, challenge.name) : null,
	challenge.instruction ? h("p", { class: "soft" }, challenge.instruction) : null,
	...challenge.questions.map((q, i) => field(q.text, inputs[i])),
	h("div", { class: "bar" }, h("button", { class: "btn primary", type: "submit" }, t("ssh.answer")))));
	inputs[0]?.focus();
}

/**
 * @param {string} label
 * @param {HTMLElement} input
 * @param {string} [hint]
 */
const field = (label, input, hint) => h("label", { class: "field" }, h("span", null, label), input, hint ? h("small", null, hint) : null);
