// Steps that scenarios share.

import { until } from "./browser.mjs";

/** @typedef {import("./browser.mjs").Run} Run */
/** @typedef {import("./browser.mjs").Page} Page */

/**
 * Signs in as the local administrator.
 * @param {Run} run
 * @param {Page} page
 */
export async function signIn(run, page) {
	await page.goto(run.args.url);
	await page.locator("input[name=name]").fill(run.args.admin.name);
	await page.locator("input[name=password]").fill(run.args.admin.password);
	await page.locator("form[action='/console/signin'] button[type=submit]").click();
	await page.waitForURL(run.args.url);
}

/**
 * Loads a page anew in another language.
 * @param {Page} page
 * @param {"en" | "zh-CN"} language
 */
export async function speak(page, language) {
	await page.context().addCookies([{ name: "boothwire-language", value: language, url: new URL("/console/", page.url()).href }]);
	await page.reload();
	if ((await page.locator("html").getAttribute("lang")) !== language) throw new Error(`the page is not in ${language}`);
}

/**
 * Finds the real device among all.
 * @param {Run} run
 * @param {Page} page with the list
 */
export async function find(run, page) {
	await page.locator("#search").fill(run.args.device);
	const row = page.locator(`#rows .row[data-id="${run.args.device}"]`);
	await row.waitFor();
	return row;
}

/**
 * Connects to the real device by one click, and waits until it is reached.
 * @param {Run} run
 * @param {Page} page with the list
 * @returns {Promise<string>} the session's id
 */
export async function connect(run, page) {
	const row = await find(run, page);
	await row.getByRole("button", { name: "Connect" }).click();
	await page.waitForURL(/\/console\/sessions\/[^/]+$/);
	await page.getByRole("link", { name: "Terminal" }).and(page.locator("[href]")).waitFor();
	return page.url().split("/").pop() ?? "";
}

/**
 * Opens one of a session's ways in, which shows itself in a tab of its own.
 * @param {Page} page of a session
 * @param {string} name
 */
export async function inNewTab(page, name) {
	const opened = page.context().waitForEvent("page");
	await page.getByRole("link", { name, exact: true }).click();
	const tab = await opened;
	await tab.waitForLoadState();
	return tab;
}

/**
 * Signs in to the device's SSH server with the engineer's key, unless another page of the
 * session has.
 * @param {Run} run
 * @param {Page} page a terminal's, or of files
 */
export async function sshSignIn(run, page) {
	const form = page.locator("#ssh form");
	await form.or(page.locator("#state", { hasText: "Signed in" })).waitFor();
	if (!(await form.count())) return;
	await form.locator("[name=user]").fill("root");
	await form.locator("[name=way]").selectOption("key");
	await form.locator("[name=key]").fill(run.args.sshKey);
	await form.getByRole("button", { name: "Sign in" }).click();
	await page.locator("#state", { hasText: "Signed in" }).waitFor();
}

/**
 * Closes a session, and waits until control says that nothing is left.
 * @param {Page} page of the session
 */
export async function closeSession(page) {
	await page.locator("#actions").getByRole("button", { name: "Close" }).click();
	await page.locator("dialog").getByRole("button", { name: "Close" }).click();
	await page.locator("#state", { hasText: /^closed$/i }).waitFor();
	await until("control's last word", async () => (await page.locator("#facts").textContent())?.includes("Closed"));
}

/**
 * Signs in at the device, on the page of its desktop, and waits for its picture.
 * @param {Page} page
 * @param {{user: string, password: string}} account
 */
export async function openDesktop(page, account) {
	await page.locator("#signin input[name=username]").fill(account.user);
	await page.locator("#signin input[name=password]").fill(account.password || "none");
	await page.locator("#signin button[type=submit]").click();
	await page.locator("body[data-stage=shown], body[data-stage=ended]").waitFor();
	if (await page.locator("body[data-stage=ended]").count()) throw new Error(`the desktop ended: ${await page.locator("#why").textContent()}`);
	await page.locator("#screen canvas").first().click();
}

/**
 * Types what needs no Shift, one key after the other as a person does: a desktop in the
 * browser hears keys, not text.
 * @param {Page} page
 * @param {string} text
 */
export async function typeKeys(page, text) {
	for (const c of text) await page.keyboard.press(c === "\n" ? "Enter" : c === " " ? "Space" : c, { delay: 15 });
}
