// Steps that scenarios share.

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
