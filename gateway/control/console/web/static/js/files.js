// The device's files: a folder as a table, and what is on its way there.

import { get, post, remove as del } from "./api.js";
import { ask, field } from "./dialog.js";
import { byId, h, replace, say } from "./dom.js";
import { bytes, count, exactly } from "./format.js";
import { joined, t } from "./i18n.js";
import { held, Link, showDevice } from "./ssh.js";
import { complain, explain, toast } from "./toast.js";
import { Upload } from "./upload.js";

/**
 * @typedef {{name: string, ref?: string, kind: "file" | "folder" | "link" | "other", size: number, changed?: string, mode: string}} Entry
 * @typedef {{path: string, ref?: string, home: string, total: number, hidden: number, offset: number, entries: Entry[], largest: number}} Folder
 */

const address = `${held}/files`;
const rows = byId("rows");
const all = byId("all", HTMLInputElement);

// Paths are kept as an address has them, so that names that are no text stay whole.

/** @param {Entry} e */
const refOf = (e) => e.ref ?? encodeURIComponent(e.name);
/** @param {string} path */
const encode = (path) => path.split("/").map(encodeURIComponent).join("/");
/** @param {string} folder @param {string} name */
const join = (folder, name) => (folder.endsWith("/") ? folder + name : `${folder}/${name}`);

/** What is shown of a path. @param {string} ref */
function text(ref) {
	try {
		return decodeURIComponent(ref);
	} catch {
		return ref;
	}
}

let here = ""; // the folder's path
let asked = 0; // folders so far
let home = "/";
let largest = 0;
/** @type {Entry[]} */
let entries = [];
let total = 0;
/** @type {Set<Entry>} */
const picked = new Set();

// The folder

/**
 * Shows a folder; "" is the user's own.
 * @param {string} path
 */
async function go(path) {
	const mine = ++asked;
	rows.setAttribute("aria-busy", "true");
	try {
		/** @type {Folder} */
		const folder = await get(`${address}?path=${path}`);
		if (mine !== asked) return; // he went on meanwhile
		here = folder.ref ?? encode(folder.path);
		home = encode(folder.home);
		({ entries, total, largest } = folder);
		picked.clear();
		history.replaceState(null, "", `#${here}`);
		show(folder.hidden);
	} catch (e) {
		complain(e);
	} finally {
		rows.removeAttribute("aria-busy");
	}
}

/** Shows the next part of a folder that is too long for one answer. */
async function more() {
	try {
		/** @type {Folder} */
		const folder = await get(`${address}?path=${here}&offset=${entries.length}`);
		entries = entries.concat(folder.entries);
		total = folder.total;
		show(folder.hidden);
	} catch (e) {
		complain(e);
	}
}

/** @param {number} hidden */
function show(hidden) {
	crumbs();
	const at = document.activeElement;
	const ref = at?.closest("#rows tr")?.getAttribute("data-ref");
	replace(rows, ...entries.map(row));
	if (at && ref) focus(ref, at.localName);
	byId("empty").hidden = total > 0;
	byId("more").hidden = entries.length >= total;
	say(byId("count"), t("files.count", { n: count(total) }) + (hidden ? ` · ${t("files.hidden", { n: count(hidden) })}` : ""));
	choose();
}

/**
 * Who goes through the rows by keys stays where he was.
 * @param {string} ref of the row
 * @param {string} name of its element
 */
function focus(ref, name) {
	const e = rows.children[entries.findIndex((e) => refOf(e) === ref)]?.querySelector(name);
	if (e instanceof HTMLElement) e.focus();
}

function crumbs() {
	const parts = here.split("/").filter(Boolean);
	/** @type {(Node | string)[]} */
	const list = [crumb("/", "/")];
	parts.forEach((part, i) => {
		if (i) list.push(h("span", { class: "faint", "aria-hidden": "true" }, "/"));
		list.push(crumb("/" + parts.slice(0, i + 1).join("/"), text(part), i === parts.length - 1));
	});
	list.push(h("button", { class: "btn small quiet", type: "button", onclick: () => go(home) }, t("files.home")));
	replace(byId("crumbs"), ...list);
}

/** @param {string} path @param {string} name @param {boolean} [last] */
function crumb(path, name, last) {
	return h("button", { class: "btn small quiet", type: "button", "aria-current": last ? "page" : null, onclick: () => go(path) }, h("bdi", null, name));
}

/** @param {Entry} e */
function row(e) {
	const label = { file: "", folder: t("files.folder"), link: t("files.link"), other: t("files.other") }[e.kind];
	const check = h("input", {
		type: "checkbox", "aria-label": t("files.pick", { name: e.name }),
		onchange: () => {
			if (check.checked) picked.add(e);
			else picked.delete(e);
			choose();
		},
	});
	const tr = h("tr", { "data-kind": e.kind, "data-ref": refOf(e) },
		h("td", null, check),
		h("td", { class: "name" },
			e.kind === "other" ? h("bdi", null, e.name) : h("button", { class: "link", type: "button", onclick: () => open(e) }, h("bdi", null, e.name)),
			label ? h("span", { class: "badge" }, label) : null),
		h("td", { class: "num" }, e.kind === "file" ? h("span", { title: count(e.size) }, bytes(e.size)) : ""),
		h("td", { class: "wide-only num" }, e.changed ? exactly(Date.parse(e.changed)) : ""),
		h("td", { class: "wide-only mono" }, e.mode));
	tr.addEventListener("keydown", (k) => keys(k, e));
	return tr;
}

/** Opens a folder, or gets a file; what a link leads to, the device knows. @param {Entry} e */
async function open(e) {
	if (e.kind === "folder") return go(join(here, refOf(e)));
	if (e.kind === "file") return fetchFile(e);
	try {
		await get(`${address}?path=${join(here, refOf(e))}&limit=1`);
		return go(join(here, refOf(e)));
	} catch (problem) {
		if (/** @type {any} */ (problem).code === "not_a_folder") return fetchFile(e);
		return complain(problem);
	}
}

/** Lets the browser get a file: it shows how far it is, and can go on after a break. @param {Entry} e */
function fetchFile(e) {
	const a = h("a", { href: `${address}/content?path=${join(here, refOf(e))}`, download: e.name });
	document.body.append(a);
	a.click();
	a.remove();
}

/** Enables what can be done with what is chosen. */
function choose() {
	const files = [...picked].filter((e) => e.kind === "file" || e.kind === "link");
	const only = files.length === picked.size && picked.size > 0;
	button("download").disabled = !only;
	button("sum").disabled = !only || picked.size > 1;
	button("rename").disabled = picked.size !== 1;
	button("remove").disabled = picked.size === 0;
	all.checked = picked.size > 0 && picked.size === entries.length;
	all.indeterminate = picked.size > 0 && picked.size < entries.length;
	[...rows.children].forEach((tr, i) => {
		const is = picked.has(entries[i]);
		tr.classList.toggle("picked", is);
		const check = tr.querySelector("input");
		if (check) check.checked = is;
	});
}

/** @param {string} id */
const button = (id) => byId(id, HTMLButtonElement);

/** @param {KeyboardEvent} k @param {Entry} e */
function keys(k, e) {
	if (k.target instanceof HTMLInputElement && k.key === " ") return;
	const tr = /** @type {HTMLElement} */ (k.currentTarget);
	const move = (/** @type {Element | null} */ to) => /** @type {HTMLElement | null | undefined} */ (to?.querySelector("button, input"))?.focus();
	if (k.key === "ArrowDown") move(tr.nextElementSibling);
	else if (k.key === "ArrowUp") move(tr.previousElementSibling);
	else if (k.key === "Delete") removePicked(picked.size ? [...picked] : [e]);
	else if (k.key === "F2") renameEntry(e);
	else if (k.key === "Backspace") go(here.slice(0, here.lastIndexOf("/")) || "/");
	else return;
	k.preventDefault();
}

// Changes

/**
 * Does something that changes the folder, and shows it anew.
 * @param {() => Promise<unknown>} change
 */
async function change(change) {
	try {
		await change();
	} catch (e) {
		complain(e);
	}
	await go(here);
}

async function makeFolder() {
	const said = await ask({ title: t("files.mkdir"), yes: t("files.make"), fields: [field(t("files.name"), "name", { required: true, maxlength: 255, autocomplete: "off" })] });
	if (said) await change(() => post(`${address}/mkdir?path=${join(here, encodeURIComponent(String(said.get("name"))))}`));
}

/** @param {Entry} e */
async function renameEntry(e) {
	const said = await ask({
		title: t("files.rename_to", { name: e.name }), yes: t("files.rename"),
		fields: [field(t("files.name"), "name", { required: true, maxlength: 255, autocomplete: "off", value: e.name })],
	});
	const name = said && String(said.get("name"));
	if (!name || name === e.name) return;
	const there = entries.find((other) => other.name === name);
	if (there && !(await mayReplace(name))) return;
	await change(() => post(`${address}/rename?path=${join(here, refOf(e))}&to=${join(here, encodeURIComponent(name))}${there ? "&overwrite=1" : ""}`));
}

/** @param {string} name */
const mayReplace = (name) => ask({ title: t("files.replace", { name }), text: t("files.replace_text"), yes: t("files.replace_yes"), danger: true });

/** @param {Entry[]} list */
async function removePicked(list) {
	const names = joined("list", list.slice(0, 8).map((e) => e.name)) + (list.length > 8 ? " …" : "");
	if (!(await ask({ title: t("files.remove_title", { n: count(list.length) }), text: names, yes: t("files.remove"), danger: true }))) return;
	await change(async () => {
		for (const e of list) await del(`${address}?path=${join(here, refOf(e))}`);
	});
}

/** @param {Entry} e */
async function showSum(e) {
	const b = button("sum");
	b.disabled = true;
	try {
		const { sha256 } = await get(`${address}/sum?path=${join(here, refOf(e))}`);
		toast(`${e.name}: SHA-256 ${sha256}`, "ok");
	} catch (problem) {
		complain(problem);
	}
	choose();
}

// Transfers

/** Uploads that run at once; the console lets one connection have four transfers. */
const atOnce = 2;

/** @typedef {{upload: Upload, show: () => void, element: HTMLElement}} Line */
/** @type {Line[]} */
const lines = [];

/** @param {Iterable<File>} files */
async function uploadAll(files) {
	const folder = here;
	for (const file of files) {
		if (file.size > largest) {
			toast(t("files.too_large", { name: file.name, most: bytes(largest) }), "bad");
			continue;
		}
		const there = entries.some((e) => e.name === file.name);
		if (there && !(await mayReplace(file.name))) continue;
		add(new Upload(address, file, join(folder, encodeURIComponent(file.name)), there, () => line.show()));
		const line = lines[lines.length - 1];
	}
	next();
}

/** @param {Upload} upload */
function add(upload) {
	const bar = h("progress", { max: Math.max(upload.total, 1), value: 0, "aria-label": upload.file.name });
	const status = h("span", { class: "faint num" });
	const go = h("button", { class: "btn small", type: "button", onclick: () => toggle(upload) });
	const stop = h("button", { class: "btn small quiet", type: "button", onclick: () => cancel(line) }, t("files.cancel"));
	const element = h("li", null, h("bdi", { class: "name" }, upload.file.name), bar, status, go, stop);
	const line = {
		upload, element,
		show: () => {
			bar.value = upload.state === "done" ? bar.max : upload.sent;
			say(status, describe(upload));
			const over = upload.state === "done";
			go.hidden = stop.hidden = over;
			say(go, upload.state === "running" || upload.state === "comparing" || upload.state === "waiting" ? t("files.pause") : t("files.resume"));
			element.dataset.state = upload.state;
		},
	};
	lines.push(line);
	line.show();
	byId("list").append(element);
	byId("transfers").hidden = false;
	return line;
}

/** @param {Upload} u */
function describe(u) {
	switch (u.state) {
		case "done": return `SHA-256 ${u.sum}`;
		case "failed": {
			const { what, hint } = explain(u.error);
			return joined("sentences", [what, hint]);
		}
		case "running": return t("files.progress", { sent: bytes(u.sent), total: bytes(u.total), rate: bytes(u.rate) });
		case "comparing": return t("files.comparing");
		case "waiting": return t("files.waiting");
	}
	return t("files.paused");
}

/** Starts what waits, as far as there is room. */
function next() {
	for (const { upload } of lines) {
		if (lines.filter((l) => l.upload.is("running") || l.upload.is("comparing")).length >= atOnce) return;
		if (upload.is("waiting")) upload.run().then(() => {
			next();
			if (upload.is("done")) go(here);
		});
	}
}

/** @param {Upload} upload */
function toggle(upload) {
	if (upload.is("paused") || upload.is("failed")) {
		upload.set("waiting");
		next();
	} else {
		upload.pause();
		next();
	}
}

/** @param {Line} line */
async function cancel(line) {
	line.element.remove();
	lines.splice(lines.indexOf(line), 1);
	byId("transfers").hidden = lines.length === 0;
	await change(() => line.upload.cancel());
	next();
}

// What the page has

button("upload").addEventListener("click", () => byId("picked").click());
byId("picked", HTMLInputElement).addEventListener("change", (e) => {
	const input = /** @type {HTMLInputElement} */ (e.currentTarget);
	uploadAll([...(input.files ?? [])]).catch(complain);
	input.value = "";
});
button("mkdir").addEventListener("click", makeFolder);
button("download").addEventListener("click", async () => {
	for (const e of picked) {
		fetchFile(e);
		await new Promise((resolve) => setTimeout(resolve, 500)); // browsers drop those that come at once
	}
});
button("rename").addEventListener("click", () => renameEntry([...picked][0]));
button("sum").addEventListener("click", () => showSum([...picked][0]));
button("remove").addEventListener("click", () => removePicked([...picked]));
button("reload").addEventListener("click", () => go(here));
button("more").addEventListener("click", more);
button("tidy").addEventListener("click", () => {
	for (const line of lines.filter((l) => l.upload.is("done"))) {
		line.element.remove();
		lines.splice(lines.indexOf(line), 1);
	}
	byId("transfers").hidden = lines.length === 0;
});
all.addEventListener("change", () => {
	for (const e of entries) {
		if (all.checked) picked.add(e);
		else picked.delete(e);
	}
	choose();
});

const drop = byId("drop");
for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (e) => {
	e.preventDefault();
	drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (e) => {
	e.preventDefault();
	drop.classList.remove("over");
	uploadAll([...(e.dataTransfer?.files ?? [])]).catch(complain);
});
addEventListener("beforeunload", (e) => {
	if (lines.some((l) => !l.upload.is("done"))) e.preventDefault();
});

for (const b of document.querySelectorAll("[data-copy]")) b.addEventListener("click", () => {
	const of = /** @type {HTMLElement} */ (b).dataset.copy ?? "";
	navigator.clipboard.writeText(byId(of).textContent ?? "").then(() => toast(t("files.copied"), "ok"), complain);
});

showDevice().then((session) => {
	if (!session) return;
	say(byId("smb-up"), `boothctl up ${session.device} --port 445`);
	say(byId("smb-mount"), `smbclient -L //${session.address ?? session.device} -U USER`);
});

/** @type {Set<Upload>} that go on when the connection is back */
const stopped = new Set();

/** The folder that the page's address names. */
function wanted() {
	const path = location.hash.slice(1);
	try {
		return encode(decodeURIComponent(path));
	} catch {
		return path; // no text, and encoded by this page
	}
}

/** Shows the folder where the user is, and with it what can be done there: before, a file would go nowhere. */
async function begin() {
	await go(here || wanted());
	if (!here && wanted()) await go(""); // the address names none
	byId("files").hidden = false;
}

function connect() {
	new Link({ files: true }, {
		ready: () => {
			for (const upload of stopped) if (upload.is("paused") || upload.is("failed")) upload.set("waiting");
			stopped.clear();
			next();
			begin();
		},
		over: () => {
			for (const { upload } of lines) {
				if (upload.is("done") || upload.is("paused")) continue;
				upload.pause();
				stopped.add(upload);
			}
		},
	});
}
byId("again").addEventListener("click", () => {
	byId("ssh").replaceChildren();
	connect();
});
connect();
