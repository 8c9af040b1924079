// A desktop of xrdp, which speaks TLS alone: what is typed has its effect on the device.

import { until } from "./browser.mjs";
import { closeSession, connect, inNewTab, openDesktop, signIn, typeKeys } from "./pages.mjs";

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const page = await run.page();
	await signIn(run, page);
	await connect(run, page);
	const desktop = await inNewTab(page, "Desktop");
	await openDesktop(desktop, run.args.desktop);
	// It says when it is connected, not when its shell is.
	await until("what was typed", async () => {
		await typeKeys(desktop, "touch by-xrdp\n");
		await desktop.waitForTimeout(1000);
		return run.ask("exists", "by-xrdp");
	});
	await run.shot(desktop, "xrdp");
	await desktop.close();
	await closeSession(page);
}
