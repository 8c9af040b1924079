// Shows that nothing that a page must not do goes unseen.

import { until } from "./browser.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const page = await run.page();
	await page.goto(run.args.url);
	await run.shot(page, "page");
	/** @type {string[]} */
	const missed = [];
	for (const fault of run.args.faults) {
		await page.goto(run.args.url + fault.path);
		await until(fault.path, () => run.faults.some((seen) => seen.includes(fault.seen))).catch(() => missed.push(fault.path));
	}
	const doubled = await run.ask("double", 21);
	run.expect(/./);
	run.faults.length = 0;
	return { missed, doubled };
}
