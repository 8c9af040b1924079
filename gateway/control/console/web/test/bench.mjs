// Measures the list of devices while the fleet changes.

import { signIn } from "./pages.mjs";
import { until } from "./browser.mjs";

const pause = 2000; // ms between two things that are done to the list

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor();
	await context.addInitScript(observe);
	const page = await context.newPage();
	await signIn(run, page);

	const first = [];
	/** @type {Task[]} */
	const loading = [];
	for (let i = 0; i < 5; i++) {
		first.push(await firstList(run, page));
		loading.push(...(await seen(page)).tasks);
	}
	run.log(`first lists: ${first.map((ms) => ms.toFixed(0)).join(", ")} ms`);

	await run.ask("change");
	const before = (await seen(page)).batches.length;
	await until("changes arrive", async () => (await seen(page)).batches.length > before + 3);

	const heap = new Heap(page, await context.newCDPSession(page));
	const began = Date.now();
	let n = 0;
	const use = async (/** @type {number} */ minute) => {
		while (Date.now() < began + minute * run.args.minute) {
			await touch(page, n++);
			await page.waitForTimeout(pause);
		}
	};
	// Tasks of any length, by the browser's own trace; it would fill up in ten minutes.
	await run.browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
	await use(0.5);
	const traced = longestTask(JSON.parse((await run.browser.stopTracing()).toString()));
	await use(2);
	const early = await heap.used();
	await use(10);
	const late = await heap.used();
	await run.shot(page, "list");

	const { batches, filters, tasks } = await seen(page);
	const live = Math.max(traced, ...took(tasks.filter((t) => !heap.swept(t))));
	return {
		batches: batches.length,
		scriptP95: quantile(batches, 0.95),
		scriptMost: Math.max(...batches),
		longest: Math.max(live, ...took(loading)),
		longestLive: live,
		filters: filters.length,
		filter: Math.max(...filters),
		filterP50: quantile(filters, 0.5),
		first: quantile(first, 0.5),
		early,
		late,
	};
}

/**
 * @typedef {{at: number, took: number}} Task one of at least 50 ms, when it began and how long it took, in ms
 * @typedef {{batches: number[], filters: number[], tasks: Task[]}} Seen
 */

/** Notes in the page what it measures, and its long tasks. */
function observe() {
	/** @type {Seen} */
	const seen = { batches: [], filters: [], tasks: [] };
	Reflect.set(window, "seen", seen);
	new PerformanceObserver((list) => {
		for (const e of list.getEntries()) {
			if (e.name === "devices.batch") seen.batches.push(e.duration);
			if (e.name === "devices.filter") seen.filters.push(e.duration);
		}
	}).observe({ entryTypes: ["measure"] });
	new PerformanceObserver((list) => {
		for (const e of list.getEntries()) seen.tasks.push({ at: e.startTime, took: e.duration });
	}).observe({ entryTypes: ["longtask"] });
}

/**
 * What the page has seen since it was loaded.
 * @param {import("./browser.mjs").Page} page
 * @returns {Promise<Seen>}
 */
const seen = (page) => page.evaluate(() => Reflect.get(window, "seen"));

/** @param {Task[]} tasks */
const took = (tasks) => tasks.map((t) => t.took);

/**
 * Uses the list as somebody who looks for something: filters, goes elsewhere in it, now and
 * then sorts.
 * @param {import("./browser.mjs").Page} page
 * @param {number} n so many times before
 */
async function touch(page, n) {
	await page.locator("#search").fill(["booth-01", "booth-0123", "mall-7 3.1", "", "nothing such", ""][n % 6]);
	await page.locator("#grid").evaluate((e, n) => (e.scrollTop = (n * 7919) % Math.max(1, e.scrollHeight - e.clientHeight)), n);
	if (n % 4 === 3) await page.locator(`#head button >> nth=${(n >> 2) % 3}`).click();
}

/** The page's heap. Sweeping it takes a task, which is none of the page's own. */
class Heap {
	/**
	 * @param {import("./browser.mjs").Page} page
	 * @param {import("playwright-core").CDPSession} debug
	 */
	constructor(page, debug) {
		this.page = page;
		this.debug = debug;
		/** @type {[number, number][]} */
		this.sweeps = [];
	}

	/** What it holds with no filter set, once it is swept, in MiB. */
	async used() {
		await this.page.locator("#search").fill("");
		await this.page.waitForTimeout(pause);
		const now = () => this.page.evaluate(() => performance.now());
		const from = await now();
		for (let i = 0; i < 3; i++) await this.debug.send("HeapProfiler.collectGarbage");
		const { usedSize } = await this.debug.send("Runtime.getHeapUsage");
		this.sweeps.push([from, await now()]);
		return usedSize / (1 << 20);
	}

	/** @param {Task} t */
	swept(t) {
		return this.sweeps.some(([from, to]) => t.at < to && t.at + t.took > from);
	}
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
 * The duration of the page's longest task, in ms.
 * @param {{traceEvents: {name: string, ph: string, dur?: number, pid: number, tid: number, args?: any}[]}} trace
 */
function longestTask(trace) {
	const events = trace.traceEvents;
	const main = new Set(events.filter((e) => e.name === "thread_name" && e.args?.name === "CrRendererMain").map((e) => `${e.pid}/${e.tid}`));
	return Math.max(0, ...events.filter((e) => /RunTask$/.test(e.name) && main.has(`${e.pid}/${e.tid}`)).map((e) => (e.dur ?? 0) / 1000));
}

/**
 * @param {number[]} values
 * @param {number} q
 */
function quantile(values, q) {
	const sorted = [...values].sort((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}
