// Lays the browser engines, which npm has fetched, into engines/ as the console serves
// them: plain ES modules, gzipped copies beside, and the licence of each.

import { copyFile, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const here = new URL("./", import.meta.url);
const packages = new URL("node_modules/", here);
const engines = new URL("engines/", here);

/**
 * What each engine's folder is made of: the name of a file, and where npm has it.
 * @type {Record<string, {packages: string[], files: Record<string, string>}>}
 */
const layout = {
	iron: {
		packages: ["@devolutions/iron-remote-desktop", "@devolutions/iron-remote-desktop-rdp"],
		files: {
			"iron-remote-desktop.js": "@devolutions/iron-remote-desktop/iron-remote-desktop.js",
			"iron-remote-desktop-rdp.js": "@devolutions/iron-remote-desktop-rdp/iron-remote-desktop-rdp.js",
		},
	},
	xterm: {
		packages: ["@xterm/xterm", "@xterm/addon-fit"],
		files: {
			"xterm.js": "@xterm/xterm/lib/xterm.mjs",
			"xterm.css": "@xterm/xterm/css/xterm.css",
			"addon-fit.js": "@xterm/addon-fit/lib/addon-fit.mjs",
		},
	},
	guacamole: {
		packages: ["guacamole-common-js"],
		files: { "guacamole.js": "guacamole-common-js/dist/esm/guacamole-common.min.js" },
	},
};

for (const [name, engine] of Object.entries(layout)) {
	const folder = new URL(`${name}/`, engines);
	await rm(folder, { recursive: true, force: true });
	await mkdir(folder, { recursive: true });
	for (const [file, from] of Object.entries(engine.files)) await copyFile(new URL(from, packages), new URL(file, folder));
	if (name === "iron") await splitModule(new URL("iron-remote-desktop-rdp.js", folder), new URL("iron.wasm", folder));
	await writeFile(new URL("LICENSE.txt", folder), await notice(engine.packages));
	await compress(folder);
}

/**
 * Takes the WebAssembly out of the data: URL that IronRDP's package carries it in. A file
 * of its own is compiled as it arrives, and needs no data: in the page's policy.
 * @param {URL} script
 * @param {URL} wasm
 */
async function splitModule(script, wasm) {
	const text = await readFile(script, "utf8");
	const found = [...text.matchAll(/(["'`])data:application\/wasm;base64,([A-Za-z0-9+/=]+)\1/g)];
	if (found.length !== 1) throw new Error(`${script.pathname} holds ${found.length} modules, not one`);
	await writeFile(wasm, Buffer.from(found[0][2], "base64"));
	await writeFile(script, text.replace(found[0][0], 'new URL("./iron.wasm", import.meta.url).href'));
}

/**
 * Names each package and its licence, with the text: the package's own where it has one.
 * @param {string[]} names
 */
async function notice(names) {
	let all = "";
	for (const name of names) {
		const folder = new URL(`${name}/`, packages);
		const about = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
		const text = (await readdir(folder)).find((file) => /^licen[cs]e/i.test(file));
		all += `${name} ${about.version}, licence ${about.license}\n\n`;
		all += await readFile(text ? new URL(text, folder) : new URL("../../../../LICENSE", here), "utf8");
		all += "\n";
	}
	return all;
}

/** @param {URL} folder */
async function compress(folder) {
	for (const file of await readdir(folder)) {
		if (!/\.(js|css|wasm)$/.test(file)) continue;
		await writeFile(new URL(`${file}.gz`, folder), gzipSync(await readFile(new URL(file, folder)), { level: 9 }));
	}
}
