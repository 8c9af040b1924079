// A control that is started anew while somebody has a session open: he stays signed in,
// the page says what is gone, and one click has it back.

import { accessible } from "./axe.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor();
	const page = await context.newPage();
	await page.goto(run.args.url);
	await page.getByLabel("Name").fill("admin");
	await page.getByLabel("Password").fill(run.args.password);
	await page.getByRole("button", { name: "Sign in", exact: true }).click();
	await page.getByRole("row", { name: "kiosk-1" }).getByRole("button", { name: "Connect" }).click();
	await page.waitForURL(/\/console\/sessions\/\w+$/);
	await page.getByRole("link", { name: "Terminal" }).waitFor();

	// What is on its way is cut; until control is back nothing is answered, and then the session is not held.
	run.expect(/net::ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_RESET|CONNECTION_CLOSED|EMPTY_RESPONSE)|status of 503 |status of 404 .*\/console\/held\/\w+\/events$/);
	for (const [how, button] of [["restart", "Connect again"], ["replace", "Join"]]) {
		await run.ask(String(how));
		await page.locator(".notice", { hasText: "The console was started anew, or another control took over." }).waitFor();
		const back = page.getByRole("button", { name: button }).first();
		await back.waitFor();
		await run.shot(page, `${how}-gone`);
		await accessible(run, page, `${how}-gone`);
		await back.click();
		await page.getByRole("link", { name: "Terminal" }).waitFor();
		if (await page.locator(".notice", { hasText: "The console was started anew" }).count()) throw new Error("it is still said");
	}
	await run.shot(page, "back");
}
