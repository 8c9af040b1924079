// Two engineers and an approver at one session: connect, ladder, ways in, more time,
// somebody else, removal, end; and how it looks when a booth says no.

import { until } from "./browser.mjs";
import { accessible } from "./axe.mjs";

/** @typedef {import("playwright-core").Page} Page */

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	/**
	 * Keeps a picture, and finds what keeps somebody out and what does not fit.
	 * @param {Page} page
	 * @param {string} name
	 */
	const see = async (page, name) => {
		await run.shot(page, name);
		await accessible(run, page, name);
		await run.fits(page, name);
	};
	/**
	 * A page of somebody who is signed in.
	 * @param {string} who
	 * @param {import("./browser.mjs").Look} [look]
	 */
	const as = async (who, look) => {
		const context = await run.visitor(look);
		await context.addCookies([{ name: "boothwire", value: run.args.logins[who], url: run.args.url }]);
		return context.newPage();
	};
	/** @param {Page} page @param {string} device */
	const connect = async (page, device) => {
		await page.goto(run.args.url);
		await page.getByRole("row", { name: device }).getByRole("button", { name: "Connect" }).click();
	};

	/** @param {Page} page @param {string} text */
	const notice = (page, text) => page.locator(".notice", { hasText: text });

	// One click, and the reason that the deployment wants.
	const ann = await as("ann");
	await connect(ann, "kiosk-1");
	const dialog = ann.getByRole("dialog", { name: "Connect to kiosk-1" });
	await dialog.getByLabel("Reason").fill("cannot print");
	await dialog.getByText("Time, services and way").click();
	await see(ann, "dialog");
	await dialog.getByRole("button", { name: "Connect" }).click();
	await ann.waitForURL(/\/console\/sessions\/\w+$/);
	const address = ann.url();
	await ann.getByRole("listitem", { name: /^Reachable from here, done/ }).waitFor();
	await ann.getByRole("link", { name: "Desktop" }).waitFor();
	await ann.getByRole("link", { name: "Files" }).waitFor();
	await ann.getByText("With your own programs").click();
	const line = ann.getByText(/^boothctl ssh --reason "cannot print" USER@kiosk-1$/);
	await line.waitFor();
	await see(ann, "connected");
	const [file] = await Promise.all([ann.waitForEvent("download"), ann.getByRole("link", { name: "Download the .rdp file" }).click()]);
	if (file.suggestedFilename() !== "kiosk-1.rdp") throw new Error(`the file is ${file.suggestedFilename()}`);

	// More time.
	await ann.getByRole("button", { name: "Extend" }).click();
	await ann.getByRole("dialog").getByLabel("From now on").selectOption("7200");
	await ann.getByRole("dialog").getByRole("button", { name: "Extend" }).click();
	await until("more time", async () => (await ann.getByRole("timer").textContent())?.startsWith("1:59"));

	// Somebody else, who is told apart and removed.
	const bob = await as("bob", { phone: true, theme: "dark" });
	await bob.goto(address);
	await notice(bob, "This console holds no end of this session for you").waitFor();
	await run.shot(bob, "not-held");
	await bob.getByRole("button", { name: "Join" }).click();
	await bob.getByRole("dialog").getByLabel("Reason").fill("helps");
	await bob.getByRole("dialog").getByRole("button", { name: "Connect" }).click();
	await bob.getByRole("link", { name: "Terminal" }).waitFor();
	await notice(bob, "Somebody else is in this session: ann.").waitFor();
	await notice(ann, "Somebody else is in this session: bob.").waitFor();
	await see(bob, "joined-phone-dark");
	const boss = await as("boss");
	await boss.goto(run.args.url + "sessions");
	await boss.getByRole("row", { name: /kiosk-1/ }).waitFor();
	await see(boss, "sessions");
	await boss.getByRole("button", { name: "Remove bob from the session with kiosk-1" }).click();
	await run.shot(boss, "sessions-kick");
	await boss.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
	await notice(bob, "Somebody else removed you from the session.").waitFor();
	await run.shot(bob, "removed-phone-dark");
	await until("she is alone again", async () => (await notice(ann, "Somebody else is in this session").count()) === 0);

	// The end: asked first, and what came of it.
	await ann.getByRole("button", { name: "Close" }).click();
	await ann.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
	await ann.getByRole("button", { name: "Close" }).click();
	await ann.getByRole("dialog").getByRole("button", { name: "Close" }).click();
	await notice(ann, "You closed the session.").waitFor();
	await until("control's last word", async () => (await ann.locator("#facts").textContent())?.includes("Closed"));
	await see(ann, "closed");

	// A booth that says no: the stage, the code, its words and what to do.
	const cat = await as("cat", { language: "zh-CN" });
	await cat.goto(run.args.url + "devices/kiosk-2");
	await cat.getByRole("button", { name: "按选项连接" }).click();
	await cat.getByRole("dialog").getByLabel("文件共享（SMB，445）").uncheck();
	await cat.getByRole("dialog").getByLabel("持续时间").selectOption("900");
	await cat.getByRole("dialog").getByLabel("事由").fill("看看");
	await cat.getByRole("dialog").getByRole("button", { name: "连接" }).click();
	await cat.waitForURL(/\/console\/sessions\/\w+$/);
	await run.ask("refuse");
	await notice(cat, "自助机软件拒绝了连接。").waitFor();
	await notice(cat, "a customer is paying").waitFor();
	await cat.getByRole("listitem", { name: /，失败，.*refused_by_host/ }).waitFor();
	await cat.getByRole("status").filter({ hasText: /^失败。自助机软件拒绝了连接。$/ }).waitFor({ state: "attached" });
	await see(cat, "refused-zh");

	// The list on a phone, and one that looks but may not touch.
	const eve = await as("eve", { phone: true });
	await eve.goto(run.args.url + "sessions?all");
	await eve.getByRole("cell", { name: "kiosk-1" }).waitFor();
	if (await eve.getByRole("button", { name: /Remove|Close the session/ }).count()) throw new Error("a viewer may remove somebody");
	await see(eve, "sessions-phone");
	run.check();
}
