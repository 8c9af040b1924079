// Measures the list of devices while they change: how long script runs for each batch of
// changes and for each filter, the longest task of all, and what the heap grows by.

import { signIn } from "./pages.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor();
	const page = await context.newPage();
	const heap = await context.newCDPSession(page);
	await page.addInitScript(() => {
		/** @type {any} */
		const seen = { "devices.batch": [], "devices.filter": [], tasks: [] };
		Reflect.set(window, "seen", seen);
		new PerformanceObserver((list) => {
			for (const e of list.getEntries()) seen[e.name]?.push(e.duration);
		}).observe({ entryTypes: ["measure"] });
		new PerformanceObserver((list) => {
			for (const e of list.getEntries()) seen.tasks.push({ at: e.startTime, took: e.duration });
		}).observe({ entryTypes: ["longtask"] });
	});
	await signIn(run, page);
	const loaded = async () => {
		await page.waitForFunction((n) => (document.getElementById("shown")?.textContent ?? "").replace(/\D/g, "") === String(n), run.args.devices, { polling: 20 });
		return page.evaluate(() => performance.now());
	};
	await loaded();
	/** @type {number[]} */
	const firsts = [];
	for (let i = 0; i < 3; i++) {
		await page.reload();
		firsts.push(await loaded());
	}
	const loading = await page.evaluate(() => Reflect.get(window, "seen").tasks);
	/** Bytes of the heap once it is swept. */
	const used = async () => {
		const from = await page.evaluate(() => performance.now());
		for (let i = 0; i < 3; i++) await heap.send("HeapProfiler.collectGarbage");
		const { usedSize } = await heap.send("Runtime.getHeapUsage");
		// The sweep is ours, not the page's.
		await page.evaluate(async (from) => {
			await new Promise((resolve) => setTimeout(resolve, 200));
			const seen = Reflect.get(window, "seen");
			seen.tasks = seen.tasks.filter((/** @type {any} */ t) => t.at + t.took < from);
		}, from);
		return usedSize;
	};
	await page.waitForTimeout(2000);
	await page.evaluate(() => {
		const seen = Reflect.get(window, "seen");
		for (const name of Object.keys(seen)) seen[name].length = 0;
	});
	await run.ask("begin");
	const began = Date.now();
	let early = 0;
	for (let n = 0; Date.now() - began < run.args.seconds * 1000; n++) {
		if (!early && Date.now() - began >= run.args.seconds * 200) early = await used();
		await page.locator("#search").fill(["booth-00", "booth-0012", "mall-7 3.1", "", "1", ""][n % 6]);
		await page.locator("#grid").evaluate((e, n) => (e.scrollTop = (n * 7919) % (e.scrollHeight - e.clientHeight)), n);
		if (n % 4 === 3) await page.locator(`#head button >> nth=${(n >> 2) % 3}`).click();
		await page.waitForTimeout(2000);
	}
	const late = await used();
	const seen = await page.evaluate(() => Reflect.get(window, "seen"));
	await run.shot(page, "list");
	/** @param {number[]} list @param {number} part */
	const at = (list, part) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * part))] ?? 0;
	return {
		first: at(firsts, 0.5), loading: Math.max(0, ...loading.map((/** @type {any} */ t) => t.took)),
		batches: seen["devices.batch"].length, batch: at(seen["devices.batch"], 0.95), batchMost: at(seen["devices.batch"], 1),
		filters: seen["devices.filter"].length, filter: at(seen["devices.filter"], 1), filterMedian: at(seen["devices.filter"], 0.5),
		task: Math.max(0, ...seen.tasks.map((/** @type {any} */ t) => t.took)), tasks: seen.tasks.length, early, late,
	};
}
