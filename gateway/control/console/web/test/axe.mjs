// Accessibility of a page, by axe-core.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const source = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * Counts as faults what axe-core calls serious or critical on a page as it is now.
 * @param {import("./browser.mjs").Run} run
 * @param {import("./browser.mjs").Page} page
 * @param {string} name of the page and how it looks
 */
export async function accessible(run, page, name) {
	await page.evaluate(source); // by the debugger, which no policy of the page concerns
	const { violations } = await page.evaluate(() => {
		/** @type {any} */
		const axe = Reflect.get(window, "axe");
		return axe.run(document, { resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] });
	});
	for (const v of violations) {
		if (v.impact !== "serious" && v.impact !== "critical") continue;
		for (const node of v.nodes) run.faults.push(`${name}: ${v.id} (${v.impact}): ${v.help}: ${node.html.slice(0, 300)} ${node.failureSummary}`);
	}
}

/**
 * The same in both themes, and leaves the page in that which it had.
 * @param {import("./browser.mjs").Run} run
 * @param {import("./browser.mjs").Page} page
 * @param {string} name
 */
export async function accessibleInThemes(run, page, name) {
	const dark = await page.evaluate(() => matchMedia("(prefers-color-scheme: dark)").matches);
	for (const colorScheme of /** @type {("light" | "dark")[]} */ (dark ? ["light", "dark"] : ["dark", "light"])) {
		await page.emulateMedia({ colorScheme });
		await accessible(run, page, `${name} (${colorScheme})`);
	}
}
