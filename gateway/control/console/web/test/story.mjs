// The plan's story in a browser.

import { signIn } from "./pages.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const page = await run.page();
	await signIn(run, page);
	await page.locator("#rows .row").first().waitFor();
	await run.shot(page, "1-devices");
	await page.locator("#search").fill(run.args.device);
	const row = page.locator(`#rows .row[data-id="${run.args.device}"]`);
	await row.waitFor();
	await run.shot(page, "2-found");
}
