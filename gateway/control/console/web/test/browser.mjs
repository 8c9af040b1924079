// What scenarios are made of: pages that let no fault pass, screenshots, and questions to
// the Go test.

import path from "node:path";

/** @typedef {import("playwright-core").Page} Page */

/**
 * @typedef {object} Look how a page is seen
 * @property {"en" | "zh-CN"} [language]
 * @property {"light" | "dark"} [theme]
 * @property {boolean} [phone]
 */

/** A Run is one scenario: a browser, its pages, and what went wrong on them. */
export class Run {
	/**
	 * @param {import("playwright-core").Browser} browser
	 * @param {{args: any, shots: string}} brief
	 * @param {(name: string, data?: unknown) => Promise<any>} ask
	 * @param {(text: string) => void} log
	 */
	constructor(browser, brief, ask, log) {
		this.browser = browser;
		this.args = brief.args;
		this.shots = brief.shots;
		this.ask = ask;
		this.log = log;
		/** @type {string[]} what no page may do: errors, refusals by its policy, other origins */
		this.faults = [];
		/** @type {string[]} what pages warned of, such as why an engine ended */
		this.warnings = [];
		/** @type {RegExp[]} */
		this.expected = [];
		/** @type {Page[]} */
		this.pages = [];
	}

	/**
	 * A browser of somebody: cookies, language and theme of its own.
	 * @param {Look} [look]
	 */
	async visitor(look = {}) {
		const context = await this.browser.newContext({
			ignoreHTTPSErrors: true,
			acceptDownloads: true,
			locale: look.language ?? "en",
			colorScheme: look.theme ?? "light",
			viewport: look.phone ? { width: 390, height: 844 } : { width: 1366, height: 768 },
			hasTouch: !!look.phone,
			isMobile: !!look.phone,
			deviceScaleFactor: look.phone ? 2 : 1,
			reducedMotion: "reduce",
		});
		context.setDefaultTimeout(60_000);
		await context.addInitScript(() => {
			document.addEventListener("securitypolicyviolation", (e) => {
				console.error(`refused by the page's policy: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber}`);
			});
		});
		context.on("page", (page) => this.watch(page));
		return context;
	}

	/**
	 * A page of a new visitor.
	 * @param {Look} [look]
	 */
	async page(look) {
		return (await this.visitor(look)).newPage();
	}

	/** @param {Page} page */
	watch(page) {
		this.pages.push(page);
		/** @param {string} what */
		const fault = (what) => {
			if (!this.expected.some((ok) => ok.test(what))) this.faults.push(`${page.url()}: ${what}`);
		};
		page.on("pageerror", (error) => fault(`error: ${error.stack ?? error.message}`));
		page.on("console", (message) => {
			if (message.type() === "error") fault(`console: ${message.text()} ${message.location().url}`);
			if (message.type() === "warning") this.warnings.push(message.text());
		});
		page.on("request", (request) => {
			const { protocol, host } = new URL(request.url());
			const own = new URL(this.args.url).host;
			if (/^(https?|wss?):$/.test(protocol) && host !== own) fault(`asks another origin: ${request.url()}`);
		});
		page.on("crash", () => fault("crashed"));
	}

	/**
	 * From now on a fault that matches is what the scenario wants to see.
	 * @param {RegExp} fault
	 */
	expect(fault) {
		this.expected.push(fault);
	}

	/** Throws what went wrong on any page so far. */
	check() {
		if (this.faults.length) throw new Error(`${this.faults.length} faults:\n${this.faults.join("\n")}`);
	}

	/**
	 * Counts as a fault what is wider than the screen. A phone's window grows with its page,
	 * so what it was opened with counts.
	 * @param {Page} page
	 * @param {string} name
	 */
	async fits(page, name) {
		const wide = (await page.evaluate(() => document.documentElement.scrollWidth)) - (page.viewportSize()?.width ?? 0);
		if (wide > 0) this.faults.push(`${name} is ${wide} px wider than the screen`);
	}

	/**
	 * Keeps a picture of the page.
	 * @param {Page} page
	 * @param {string} name
	 */
	async shot(page, name) {
		await page.screenshot({ path: path.join(this.shots, `${name}.png`), animations: "disabled", caret: "hide" });
	}

	/**
	 * Keeps a picture of every page that is open.
	 * @param {string} name
	 */
	async snapshots(name) {
		let n = 0;
		for (const page of this.pages) {
			if (page.isClosed()) continue;
			await this.shot(page, `${name}-${++n}`).catch(() => {});
			this.log(`${name}-${n}.png is ${page.url()}`);
		}
	}
}

/**
 * Waits until a check passes.
 * @param {string} what
 * @param {() => unknown} check
 */
export async function until(what, check) {
	for (const end = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
		if (await check()) return;
		if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
	}
}
