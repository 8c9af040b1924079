// Every page in both languages and both themes, on a desk and on a phone: no serious
// fault of accessibility, and nothing wider than the screen.

import { accessible } from "./axe.mjs";
import { signIn } from "./pages.mjs";

/** @type {import("./browser.mjs").Look[]} */
const looks = [
	{ language: "en", theme: "light" },
	{ language: "zh-CN", theme: "dark" },
	{ language: "en", theme: "dark", phone: true },
	{ language: "zh-CN", theme: "light", phone: true },
];

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	for (const look of looks) {
		const context = await run.visitor(look);
		const page = await context.newPage();
		const name = `${look.language}-${look.theme}${look.phone ? "-phone" : ""}`;
		const see = async (/** @type {string} */ what) => {
			await page.waitForLoadState("load");
			await page.waitForFunction(() => ![...document.querySelectorAll(".skeleton")].some((e) => e.checkVisibility()));
			await run.shot(page, `${what}-${name}`);
			await accessible(run, page, `${what} (${name})`);
			await run.fits(page, `${what} (${name})`);
			const main = await page.locator("main").boundingBox();
			if (look.phone && main && main.width < 0.8 * 390) run.faults.push(`${what} (${name}) has ${main.width} px of a phone`);
			const language = await page.locator("html").getAttribute("lang");
			if (language !== look.language) run.faults.push(`${what} (${name}) is in ${language}`);
		};
		await page.goto(run.args.url + "signin");
		await see("signin");
		await signIn(run, page);
		for (const [what, path] of Object.entries(run.args.pages)) {
			if (what === "lost") run.expect(/status of 404/);
			await page.goto(run.args.url + path);
			await see(what);
		}
		await context.close();
	}
}
