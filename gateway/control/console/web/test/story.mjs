// The plan's story: a booth cannot print, an engineer finds it among ten thousand, repairs
// it by its desktop while its customer goes on, and leaves it silent.

import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { accessible, accessibleInThemes } from "./axe.mjs";
import { until } from "./browser.mjs";
import { closeSession, connect, find, inNewTab, openDesktop, signIn, sshSignIn, typeKeys } from "./pages.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor();
	const page = await context.newPage();
	await signIn(run, page);
	await page.locator("#rows .row").first().waitFor();
	await run.shot(page, "1-devices");
	await find(run, page);
	await run.shot(page, "2-found");

	const session = await connect(run, page);
	await run.shot(page, "3-connected");
	await accessible(run, page, "session");

	const desktop = await inNewTab(page, "Desktop");
	await openDesktop(desktop, run.args.desktop);
	if ((await run.ask("printer")) !== "stuck") throw new Error("the printer is not stuck");
	const pictures = await run.ask("customer");
	await typeKeys(desktop, "cat state\n");
	await desktop.waitForTimeout(500); // for the picture's sake
	await run.shot(desktop, "4-stuck");
	await accessibleInThemes(run, desktop, "desktop");
	await desktop.locator("#screen canvas").first().click();
	await typeKeys(desktop, "rm job-0017\n");
	await until("the printer is ready", async () => (await run.ask("printer")) === "ready");
	await run.ask("picture", path.join(run.shots, "customer.png"));
	await until("the customer's screen goes on", async () => (await run.ask("customer")) > pictures + 5);
	await typeKeys(desktop, "cat state\n");
	await desktop.waitForTimeout(500);
	await run.shot(desktop, "5-repaired");
	await desktop.close();

	await byTerminal(run, page);
	await byFiles(run, page);

	await closeSession(page);
	await run.shot(page, "8-closed");
	await checks(run, page);
	await until("what it carried is written down", async () => { // when the device has said it
		await page.goto(`${run.args.url}audit?session=${session}`);
		await page.locator("#loading").waitFor({ state: "hidden" });
		return page.getByRole("row", { name: /[1-9]\d{6,} bytes from the device/ }).count();
	});
	await run.shot(page, "9-audit");
	await strip(run);
	return { session };
}

/**
 * Reads on the device's page what the device found of its host.
 * @param {import("./browser.mjs").Run} run
 * @param {import("./browser.mjs").Page} page
 */
async function checks(run, page) {
	await page.goto(`${run.args.url}devices/${run.args.device}`);
	for (const text of ["GoodSSH service It listens. 127.0.0.1:22", "GoodRDP service It listens. 127.0.0.1:3389", "WarningSMB service Nothing listens there. 127.0.0.1:445Start the service"]) {
		await page.locator("#checks li", { hasText: text }).waitFor();
	}
	await run.shot(page, "device");
}

/**
 * Writes a file by a shell on the device.
 * @param {import("./browser.mjs").Run} run
 * @param {import("./browser.mjs").Page} page of the session
 */
async function byTerminal(run, page) {
	const terminal = await inNewTab(page, "Terminal");
	await accessible(run, terminal, "terminal, before the sign-in");
	await sshSignIn(run, terminal);
	await until("a prompt", async () => (await terminal.locator("#terminal").innerText()).includes("#"));
	await terminal.keyboard.type(`cd ${run.args.folder}; echo "你好 $((6*7))" | tee answer\n`);
	await until("the answer", () => run.ask("exists", "answer"));
	await until("the answer is shown", async () => (await terminal.locator("#terminal").innerText()).includes("你好 42"));
	await terminal.keyboard.type("ls -l --color; cat spool/state\n");
	await terminal.waitForTimeout(500); // for the picture's sake
	await run.shot(terminal, "6-terminal");
	await accessible(run, terminal, "terminal");
	await terminal.close();
}

/**
 * Takes a file to the device and another one back, each with its checksum.
 * @param {import("./browser.mjs").Run} run
 * @param {import("./browser.mjs").Page} page of the session
 */
async function byFiles(run, page) {
	const files = await page.context().newPage();
	await files.goto(`${page.url()}/files#${run.args.folder}`);
	await sshSignIn(run, files);
	await files.locator("#files").waitFor();
	const bytes = randomBytes(6 << 20);
	const sum = createHash("sha256").update(bytes).digest("hex");
	await files.locator("#picked").setInputFiles({ name: "照片 1.raw", mimeType: "application/octet-stream", buffer: bytes });
	await files.getByRole("button", { name: "照片 1.raw" }).waitFor();
	if ((await run.ask("sum", "照片 1.raw")) !== sum) throw new Error("the upload's checksum is another one");
	await run.shot(files, "7-files");
	await accessible(run, files, "files");
	const download = files.waitForEvent("download");
	await files.getByRole("button", { name: "booth.log" }).click();
	const got = createHash("sha256").update(await readFile(await (await download).path())).digest("hex");
	if (got !== (await run.ask("sum", "booth.log"))) throw new Error("the download's checksum is another one");
	await files.close();
}

/**
 * Puts the story's pictures beside each other, into one.
 * @param {import("./browser.mjs").Run} run
 */
async function strip(run) {
	/** @type {[string, string][]} */
	const panels = [
		["2-found", "1 · Found among ten thousand"],
		["3-connected", "2 · One click: connected"],
		["4-stuck", "3 · Its desktop: the printer is stuck"],
		["customer", "4 · Its customer goes on meanwhile"],
		["5-repaired", "5 · Repaired"],
		["9-audit", "6 · Closed, silent, and written down"],
	];
	const figures = await Promise.all(panels.map(async ([name, words]) => {
		const picture = (await readFile(path.join(run.shots, `${name}.png`))).toString("base64");
		return `<figure><img src="data:image/png;base64,${picture}"><figcaption>${words}</figcaption></figure>`;
	}));
	const page = await run.browser.newPage({ viewport: { width: 1500, height: 690 } });
	await page.setContent(`<style>
		body { margin: 0; padding: 12px; display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; background: #fff; font: 600 17px "DejaVu Sans" }
		figure { margin: 0; height: 326px } img { width: 100%; height: 276px; object-fit: cover; object-position: top left; border: 1px solid #ccd5d9; border-radius: 6px }
		figcaption { padding-top: 4px; color: #1b2a30 }
	</style>${figures.join("")}`);
	await page.screenshot({ path: path.join(run.shots, "strip.png") });
	await page.close();
}
