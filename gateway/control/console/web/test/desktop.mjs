// A device's desktop in the page, against a real RDP server: signing in, typing, wrong
// passwords, another size, and how it ends.

import { accessibleInThemes } from "./axe.mjs";
import { until } from "./browser.mjs";
import { speak } from "./pages.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor();
	await context.addCookies([{ name: "boothwire", value: run.args.cookie, url: run.args.url }]);
	const page = await context.newPage();
	await page.goto(`${run.args.url}/console/sessions/${run.args.session}/desktop`);

	/** @param {string} name */
	const stage = (name) => page.locator(`body[data-stage="${name}"]`).waitFor();
	/** @param {string} password */
	const signIn = async (password) => {
		await page.locator("[name=username]").fill(run.args.user);
		await page.locator("[name=password]").fill(password);
		await page.locator("#signin [type=submit]").click();
	};
	/** @param {string} text lower case, digits, spaces, slashes and Enter */
	const type = async (text) => {
		await page.locator("iron-remote-desktop canvas").click({ position: { x: 200, y: 200 } });
		for (const key of text) await page.keyboard.press(key === "\n" ? "Enter" : key === " " ? "Space" : key, { delay: 20 });
	};

	await stage("form");
	await run.shot(page, "1-form");
	await page.locator("summary").click();
	await accessibleInThemes(run, page, "the desktop's form");
	await signIn(run.args.wrong);
	await stage("ended");
	run.log(`a wrong password: ${await page.locator("#why").textContent()}`);
	await run.shot(page, "2-wrong-password");
	await accessibleInThemes(run, page, "the desktop's end");
	await page.locator("#change").click();
	await stage("form");
	await speak(page, "zh-CN");
	await stage("form");
	await page.locator("summary").click();
	await accessibleInThemes(run, page, "the desktop's form in Chinese");
	const began = Date.now();
	await signIn(run.args.password);
	await stage("shown");
	const shown = Date.now() - began;
	await type("touch by-browser\n");
	await until("what was typed has its effect", () => run.ask("exists", "by-browser"));
	await run.shot(page, "3-desktop");
	await accessibleInThemes(run, page, "the desktop in Chinese");

	await page.setViewportSize({ width: 1100, height: 700 });
	await page.locator("#resize").click();
	await stage("shown");
	await type("touch again\n");
	await until("it goes on after connecting anew", () => run.ask("exists", "again"));
	await page.locator("#fit").click();
	await page.locator("#cad").click();
	await page.locator("#fit").click();

	await run.ask("leave");
	await stage("ended");
	await run.shot(page, "4-left");
	await accessibleInThemes(run, page, "the desktop's end in Chinese");
	return { shown_ms: shown, why: await page.locator("#why").textContent() };
}
