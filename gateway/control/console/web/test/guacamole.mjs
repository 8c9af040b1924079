// A device's desktop in the page, drawn by a guacd: its picture, keys and mouse there and
// back, another size, and how it ends.

import { until } from "./browser.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor({ language: "zh-CN", theme: "dark" });
	await context.addCookies([{ name: "boothwire", value: run.args.cookie, url: run.args.url }]);
	const page = await context.newPage();
	await page.goto(`${run.args.url}/console/sessions/${run.args.session}/desktop`);
	/** @param {string} name */
	const stage = (name) => page.locator(`body[data-stage="${name}"]`).waitFor();
	await stage("form");
	await page.locator("[name=username]").fill("kiosk");
	await page.locator("[name=password]").fill("a 密码");
	await page.locator("summary").click();
	await page.locator("[name=size]").selectOption("1024x768");
	await page.locator("[name=drive]").check();
	await page.locator("[name=drive_user]").fill("service");
	await page.locator("[name=drive_password]").fill("hush");
	await run.shot(page, "1-form");
	await page.locator("#signin [type=submit]").click();
	await stage("shown");
	const colour = () => page.locator(".guacamole canvas").first().evaluate((c) => {
		const canvas = /** @type {HTMLCanvasElement} */ (c);
		return [canvas.width, canvas.height, .../** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).getImageData(10, 10, 1, 1).data].join();
	});
	await until("what guacd draws is shown", async () => (await colour()) === "1024,768,16,34,46,255");
	await run.shot(page, "2-desktop");
	await page.locator(".guacamole").click({ position: { x: 50, y: 50 } });
	await page.keyboard.press("a");
	for (const opcode of ["mouse", "key", "sync"]) await until(`guacd hears ${opcode}`, async () => (await run.ask("heard")).includes(opcode));
	const dataTransfer = await page.evaluateHandle(() => {
		const dropped = new DataTransfer();
		dropped.items.add(new File(["a file, 文件"], "读我.txt", { type: "text/plain" }));
		return dropped;
	});
	const told = page.locator(".toast.ok").waitFor(); // it goes by itself
	await page.locator(".guacamole").dispatchEvent("drop", { dataTransfer });
	await until("a file arrives", async () => (await run.ask("file")) === "a file, 文件");
	await told;
	await page.locator("#cad").click();
	await page.locator("#fit").click();
	await page.setViewportSize({ width: 1100, height: 700 });
	await page.locator("#resize").click();
	await until("it is drawn at the new size", async () => !(await colour().catch(() => "1024")).startsWith("1024"));
	await run.ask("leave");
	await stage("ended");
	await run.shot(page, "3-left");
	return { why: await page.locator("#why").textContent() };
}
