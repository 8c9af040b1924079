// A shell on the device, in xterm.js.

import { byId, say } from "./dom.js";
import { t } from "./i18n.js";
import { Link, showDevice } from "./ssh.js";

/** A terminal is dark in both themes: programs choose their colours for that. */
const colours = { background: "#10161a", foreground: "#e8eef1", cursor: "#2dd4bf", cursorAccent: "#10161a", selectionBackground: "#3b5a66" };

/**
 * @param {HTMLElement} box
 * @param {typeof import("/console/engines/xterm/xterm.js")} xterm
 * @param {typeof import("/console/engines/xterm/addon-fit.js")} addon
 */
function start(box, xterm, addon) {
	const reader = byId("reader", HTMLInputElement);
	const term = new xterm.Terminal({
		fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"), fontSize: 14, scrollback: 10000, theme: colours,
		cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches, screenReaderMode: reader.checked,
		linkHandler: { activate() {} }, // what a device prints opens nothing
	});
	const fit = new addon.FitAddon();
	term.loadAddon(fit);

	/** @type {Link | null} */
	let link = null;
	const encoder = new TextEncoder();
	const connect = () => {
		let began = false;
		link = new Link({ cols: clamp(term.cols), rows: clamp(term.rows) }, {
			ready: (is) => {
				began = true;
				if (box.hidden) {
					box.hidden = byId("keys").hidden = false;
					term.open(box);
				}
				fit.fit();
				if (is.windows) term.options.windowsPty = { backend: "conpty" };
				byId("utf8").hidden = !is.windows;
				say(byId("host"), t("ssh.host_key", { key: is.host_key, how: t(`ssh.by_${is.host_key_by}`) }));
				byId("host").hidden = false;
				link?.tell({ resize: { cols: clamp(term.cols), rows: clamp(term.rows) } });
				term.focus();
			},
			output: (data, shown) => term.write(data, shown),
			exit: (exit) => term.write(`\r\n\x1b[0m${exit.lost ? t("terminal.exit_unknown") : exit.signal ? t("terminal.exit_signal", { signal: plain(exit.signal) }) : t("terminal.exit", { status: exit.status })}\r\n`),
			over: () => { if (began) term.options.disableStdin = true; },
		});
		term.options.disableStdin = false;
	};
	term.onData((text) => link?.type(encoder.encode(text)));
	term.onBinary((text) => link?.type(Uint8Array.from(text, (c) => c.charCodeAt(0) & 255)));
	term.onResize(({ cols, rows }) => link?.tell({ resize: { cols: clamp(cols), rows: clamp(rows) } }));
	term.attachCustomKeyEventHandler((e) => {
		if (e.key === "Escape" && e.shiftKey) { // Tab belongs to the shell: this is the way out
			if (e.type === "keyup") reader.focus();
			return false;
		}
		if (e.type !== "keydown") return true;
		if (e.ctrlKey && e.shiftKey && e.code === "KeyC" && term.hasSelection()) {
			navigator.clipboard.writeText(term.getSelection()).catch(() => {});
			e.preventDefault();
			return false;
		}
		return true;
	});
	new ResizeObserver(() => fit.fit()).observe(box);
	reader.addEventListener("change", () => (term.options.screenReaderMode = reader.checked));
	byId("again").addEventListener("click", () => {
		byId("ssh").replaceChildren();
		term.reset();
		connect();
	});
	byId("utf8").addEventListener("click", () => {
		link?.type(encoder.encode("chcp 65001\r"));
		term.focus();
	});
	connect();
}

/** The console takes sizes up to this. @param {number} n */
const clamp = (n) => Math.min(Math.max(n, 1), 1000);

/** What the device says, without what a terminal would obey. @param {string} text */
const plain = (text) => text.replace(/[^\x20-\x7e]/g, "?");

const box = document.getElementById("terminal");
if (box) start(box, await import("/console/engines/xterm/xterm.js"), await import("/console/engines/xterm/addon-fit.js"));
showDevice().then((session) => {
	const native = document.getElementById("native");
	if (native && session) say(native, `boothctl ssh ${session.device}`);
});
