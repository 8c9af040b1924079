// What every page has: language, theme, and word to the console that somebody is here.

import { call } from "./api.js";

/**
 * @param {string} name
 * @param {string} value empty: forget it
 */
function keep(name, value) {
	const age = value ? 365 * 24 * 3600 : 0;
	document.cookie = `${name}=${value}; Path=/console/; SameSite=Lax; Max-Age=${age}${location.protocol === "https:" ? "; Secure" : ""}`;
}

const language = document.getElementById("language");
if (language instanceof HTMLSelectElement) {
	language.addEventListener("change", () => {
		keep("boothwire-language", language.value);
		location.reload();
	});
}

const theme = document.getElementById("theme");
if (theme instanceof HTMLSelectElement) {
	theme.addEventListener("change", () => {
		keep("boothwire-theme", theme.value);
		if (theme.value) document.documentElement.dataset.theme = theme.value;
		else delete document.documentElement.dataset.theme;
	});
}

// A login ends when nobody has been here for a while; pages that only follow something
// do not count.
const every = 60_000;
let said = performance.now();
function here() {
	if (performance.now() - said < every || !document.body.dataset.user) return;
	said = performance.now();
	call("POST", "/console/awake", {}).catch(() => {});
}
for (const name of ["pointerdown", "keydown", "wheel"]) addEventListener(name, here, { passive: true });
