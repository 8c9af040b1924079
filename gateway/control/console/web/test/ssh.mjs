// Terminal and Files of a device, against a real SSH server.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { accessible, accessibleInThemes } from "./axe.mjs";
import { until } from "./browser.mjs";

/** @typedef {import("./browser.mjs").Page} Page */

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	/** @param {import("./browser.mjs").Look} [look] */
	const visitor = async (look) => {
		const context = await run.visitor(look);
		await context.addCookies([{ name: "boothwire", value: run.args.cookie, url: run.args.url }]);
		return context;
	};
	const at = (/** @type {string} */ what) => `${run.args.url}/console/sessions/${run.args.session}/${what}`;
	const context = await visitor();
	await context.grantPermissions(["clipboard-read", "clipboard-write"]);
	const page = await context.newPage();
	const chinese = await (await visitor({ language: "zh-CN" })).newPage();
	await chinese.goto(at("terminal"));
	await chinese.locator("[name=user]").waitFor();
	await accessibleInThemes(run, chinese, "sign-in in Chinese");
	await chinese.close();
	await terminal(run, page, at("terminal"));
	const mbit = await files(run, page, at("files"));
	for (const look of /** @type {import("./browser.mjs").Look[]} */ ([{ language: "zh-CN", theme: "dark" }, { language: "en", theme: "light", phone: true }])) {
		const other = await (await visitor(look)).newPage();
		const name = `${look.language}-${look.theme}${look.phone ? "-phone" : ""}`;
		await other.goto(at("terminal"));
		await other.locator("#state.ok").waitFor();
		await see(run, other, `terminal-${name}`, accessibleInThemes);
		await other.goto(`${at("files")}#${encodeURI(run.args.folder)}`);
		await other.locator("#rows tr").first().waitFor();
		await see(run, other, `files-${name}`, accessibleInThemes);
		await other.close();
	}
	return { upload_mbit: mbit };
}

/**
 * @param {import("./browser.mjs").Run} run
 * @param {Page} page
 * @param {string} name
 * @param {typeof accessible} [check]
 */
async function see(run, page, name, check = accessible) {
	await run.shot(page, name);
	await check(run, page, name);
	await run.fits(page, name);
}

/** @param {import("./browser.mjs").Run} run @param {Page} page @param {string} url */
async function terminal(run, page, url) {
	const printed = (/** @type {string} */ text) => until(`the terminal shows ${text}`, async () => (await page.locator(".xterm-rows").innerText()).replaceAll("\u00a0", " ").includes(text));
	const state = (/** @type {string} */ kind) => page.locator(`#state.${kind}`).waitFor();
	const type = async (/** @type {string} */ text) => {
		await page.locator(".xterm-helper-textarea").focus();
		await page.keyboard.insertText(text);
		await page.keyboard.press("Enter");
	};
	await page.goto(url);
	await page.locator("[name=user]").fill(run.args.user);
	await page.locator("[name=way]").selectOption("key");
	await page.locator("[name=key]").fill("no key");
	await see(run, page, "1-sign-in", accessibleInThemes);
	await page.locator("#ssh [type=submit]").click();
	await page.locator("#ssh .notice.bad").waitFor();
	await page.locator("[name=way]").selectOption("password");
	await page.locator("[name=password]").fill("wrong");
	await page.locator("#ssh [type=submit]").click();
	await page.locator("#ssh .notice.bad").waitFor();
	await page.locator("[name=way]").selectOption("key");
	await page.locator("[name=key]").fill(run.args.key);
	await page.locator("#ssh [type=submit]").click();
	await state("ok");
	await type(`cd '${run.args.folder}' && printf '\\033[32m%s\\033[0m\\n' "打印机 $((6*7))" && echo $LANG`);
	await printed("打印机 42");
	await printed("C.UTF-8");
	await type("tput cols lines | tee size");
	await until("it knows its size", () => run.ask("exists", "size"));
	await page.setViewportSize({ width: 900, height: 600 });
	await type("stty size");
	await page.waitForTimeout(200);
	await type("for i in $(seq 5000); do echo line $i; done; echo the-$((1+1))nd-end");
	await printed("the-2nd-end");
	await type("cat /dev/zero | tr '\\0' 'y'");
	await page.waitForTimeout(500);
	await page.locator(".xterm-helper-textarea").focus();
	await page.keyboard.press("Control+c");
	await page.waitForTimeout(300);
	await type("");
	await type("clear; echo calm-$((2+2))");
	await printed("calm-4");
	await page.setViewportSize({ width: 1366, height: 768 });
	await type("clear; ls -l --color=always");
	await printed("log.txt");
	await see(run, page, "2-terminal");
	await page.locator(".xterm-helper-textarea").focus();
	await page.keyboard.press("Shift+Escape");
	if (!(await page.locator("#reader").evaluate((e) => e === document.activeElement))) throw new Error("there is no way out of the terminal");
	await type("exit 3");
	await printed("status 3");
	await page.locator("#again").click();
	await state("ok"); // without signing in: the connection is still there
	await type("rm size; echo back-$((3+3))");
	await printed("back-6");
}

/** @param {import("./browser.mjs").Run} run @param {Page} page @param {string} url */
async function files(run, page, url) {
	const name = /** @type {string} */ (run.args.local.split("/").pop());
	const row = (/** @type {string} */ name) => page.locator("#rows tr", { has: page.getByText(name, { exact: true }) });
	const answer = async (/** @type {string} */ text) => {
		if (text) await page.locator("dialog [name=name]").fill(text);
		await page.locator("dialog [type=submit]").click();
	};
	await page.goto(`${url}#${encodeURI(run.args.folder)}`);
	await row("log.txt").waitFor();
	await row("<img src=x onerror=alert(1)>").waitFor();

	// Up, with a pause.
	const second = /[?&]offset=4194304$/;
	const held = new Promise((resolve) => page.route(second, () => resolve(undefined))); // never sent: the page gives it up
	await page.locator("#picked").setInputFiles(run.args.local);
	const line = page.locator("#list li");
	await held;
	await line.getByRole("button", { name: "Pause" }).click();
	await page.locator('#list li[data-state="paused"]').waitFor();
	await page.unroute(second);
	await run.shot(page, "3-paused");
	if (await run.ask("exists", name)) throw new Error("half a file has the name");
	const began = Date.now();
	await line.getByRole("button", { name: "Resume" }).click();
	await page.locator('#list li[data-state="done"]').waitFor();
	const mbit = (5 * 8 * 1.048576) / ((Date.now() - began) / 1000);
	if ((await run.ask("sum", name)) !== run.args.sum) throw new Error("the device has another file");
	await page.getByText(`SHA-256 ${run.args.sum}`).waitFor();
	await row(name).waitFor();
	await see(run, page, "4-files");

	// Down, and its sum.
	const coming = page.waitForEvent("download");
	await row(name).getByRole("button").click();
	const download = await coming;
	if (download.suggestedFilename() !== name) throw new Error(`it is kept as ${download.suggestedFilename()}`);
	const got = createHash("sha256").update(await readFile(/** @type {string} */ (await download.path()))).digest("hex");
	if (got !== run.args.sum) throw new Error("another file came down");
	await row(name).locator("input").check();
	await page.locator("#sum").click();
	await page.locator(".toast", { hasText: run.args.sum }).waitFor();

	// Over what is there, only when it is confirmed.
	await page.locator("#picked").setInputFiles({ name: "log.txt", mimeType: "text/plain", buffer: Buffer.from("new") });
	await page.locator("dialog").getByRole("button", { name: "Cancel" }).click();
	await page.locator("#picked").setInputFiles({ name: "log.txt", mimeType: "text/plain", buffer: Buffer.from("new") });
	await see(run, page, "5-replace");
	await answer("");
	await until("it is replaced", async () => (await run.ask("sum", "log.txt")) === createHash("sha256").update("new").digest("hex"));

	// Names.
	await page.locator("#mkdir").click();
	await answer("新建 1");
	await row("新建 1").waitFor();
	await row("log.txt").getByRole("button").focus();
	await page.keyboard.press("F2");
	await answer("log 2.txt");
	await row("log 2.txt").waitFor();
	await row("log 2.txt").getByRole("button").focus();
	await page.keyboard.press("Delete");
	await answer("");
	await row("log 2.txt").waitFor({ state: "detached" });
	if (await run.ask("exists", "log 2.txt")) throw new Error("it is still there");
	await row("新建 1").getByRole("button").click();
	await page.locator("#empty").waitFor();
	await page.locator("#crumbs button", { hasText: "照片" }).click();
	await row(name).waitFor();

	// Dropped on the page.
	const dropped = await page.evaluateHandle(() => {
		const data = new DataTransfer();
		data.items.add(new File(["dropped"], "dropped.txt"));
		return data;
	});
	await page.dispatchEvent("#drop", "drop", { dataTransfer: dropped });
	await row("dropped.txt").waitFor();
	return Math.round(mbit);
}
