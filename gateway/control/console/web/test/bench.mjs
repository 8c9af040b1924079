// Measures the list of devices while the fleet changes.

import { signIn } from "./pages.mjs";
import { until } from "./browser.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor();
	await context.addInitScript(() => {
		/** @type {Record<string, number[]>} */
		const seen = { "devices.batch": [], "devices.filter": [] };
		Reflect.set(window, "seen", seen);
		new PerformanceObserver((list) => {
			for (const entry of list.getEntries()) seen[entry.name]?.push(entry.duration);
		}).observe({ entryTypes: ["measure"] });
	});
	const page = await context.newPage();
	await signIn(run, page);

	const first = [];
	for (let i = 0; i < 5; i++) first.push(await firstList(run, page));
	run.log(`first lists: ${first.map((ms) => ms.toFixed(0)).join(", ")} ms`);

	await run.ask("change");
	const batches = () => page.evaluate(() => /** @type {Record<string, number[]>} */ (Reflect.get(window, "seen"))["devices.batch"]);
	await until("changes arrive", async () => (await batches()).length > 3);

	const heap = await context.newCDPSession(page);
	await heap.send("HeapProfiler.enable");
	const used = async () => {
		await heap.send("HeapProfiler.collectGarbage");
		return (await heap.send("Runtime.getHeapUsage")).usedSize / (1 << 20);
	};
	const began = Date.now();
	const minute = async (/** @type {number} */ n) => page.waitForTimeout(Math.max(0, began + n * run.args.minute - Date.now()));

	// The longest task, by the browser's own trace.
	await run.browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
	const from = (await batches()).length;
	await page.waitForTimeout(run.args.minute / 2);
	const cost = (await batches()).slice(from);
	const tasks = longestTasks(JSON.parse((await run.browser.stopTracing()).toString()));

	const filters = [];
	for (const text of ["booth-01", "booth-0123", "nothing such", "", "beijing", "3.1", ""]) filters.push(await filter(page, text));

	await minute(2);
	const early = await used();
	await minute(10);
	const late = await used();
	return {
		batches: cost.length,
		scriptP95: quantile(cost, 0.95),
		scriptMost: Math.max(...cost),
		longest: tasks[0] ?? 0,
		filter: Math.max(...filters),
		first: quantile(first, 0.5),
		early,
		late,
	};
}

/**
 * Goes to the list anew, and returns after how many ms all of it is there.
 * @param {import("./browser.mjs").Run} run
 * @param {import("./browser.mjs").Page} page
 */
async function firstList(run, page) {
	await page.goto("about:blank");
	const began = Date.now();
	await page.goto(run.args.url);
	await page.waitForFunction((all) => document.getElementById("shown")?.textContent?.replace(/\D/g, "") === all && document.querySelector("#rows .row"),
		String(run.args.devices), { polling: "raf" });
	return Date.now() - began;
}

/**
 * Filters by a text, and returns how long the page took over it, in ms.
 * @param {import("./browser.mjs").Page} page
 * @param {string} text
 */
async function filter(page, text) {
	await page.locator("#search").fill(text);
	/** @type {number | undefined} */
	let took;
	await until("the filter is measured", async () => {
		took = await page.evaluate(() => /** @type {Record<string, number[]>} */ (Reflect.get(window, "seen"))["devices.filter"].pop());
		return took !== undefined;
	});
	return took ?? 0;
}

/**
 * Durations of the page's tasks in ms, the longest first.
 * @param {{traceEvents: {name: string, ph: string, dur?: number, pid: number, tid: number, args?: any}[]}} trace
 */
function longestTasks(trace) {
	const events = trace.traceEvents;
	const main = new Set(events.filter((e) => e.name === "thread_name" && e.args?.name === "CrRendererMain").map((e) => `${e.pid}/${e.tid}`));
	return events.filter((e) => /RunTask$/.test(e.name) && main.has(`${e.pid}/${e.tid}`)).map((e) => (e.dur ?? 0) / 1000).sort((a, b) => b - a);
}

/**
 * @param {number[]} values
 * @param {number} q
 */
function quantile(values, q) {
	const sorted = [...values].sort((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}
