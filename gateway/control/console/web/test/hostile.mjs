// What devices, nodes and users may say, each field in turn as hostile as text can be: it
// is shown as the text that it is, on every page.

import { signIn } from "./pages.mjs";

/** Texts that would be more than text in HTML, in an attribute, in a script or in an address. */
const hostile = (/** @type {string} */ field) => `${field}"'><img src=x onerror=hacked=1><svg onload=hacked=1></script><script>hacked=1</script>`;

/** Fields that others than this page's user fill. */
const fields = new Set([
	"key", "group", "state", "version", "caps", "boot", "foreign", "ssh_host_key", "rdp_certificate", "nat", "trouble", "stage", "code", "why", "path", "path_why", "address",
	"reason", "ticket", "user", "node", "who", "what", "detail", "name", "identity", "endpoints", "region", "proof", "by", "check",
]);

/**
 * The same answer, with every such field hostile.
 * @param {any} value
 * @param {string} [field]
 * @returns {any}
 */
function poison(value, field = "") {
	if (typeof value === "string") return fields.has(field) ? hostile(field) : value;
	if (Array.isArray(value)) return value.map((v) => poison(v, field));
	if (value === null || typeof value !== "object") return value;
	const whole = "ladder" in value ? { reason: "r", ticket: "t", why: "w", path_why: "p", ...value } : value;
	return Object.fromEntries(Object.entries(whole).map(([k, v]) => [k, poison(v, k)]));
}

/** @param {import("./browser.mjs").Run} run */
export default async function (run) {
	const context = await run.visitor();
	const page = await context.newPage();
	await signIn(run, page);
	const base = run.args.url + "api/v1";
	const device = await (await context.request.get(`${base}/devices/${run.args.device}`)).json();
	const said = { ...device, group: "g", version: "v", caps: ["c"], foreign: "f", nat: "n", trouble: ["t"], why: "w", boot: "b", ssh_host_key: "s", rdp_certificate: "r", preflight: [{ check: "c", state: "s", code: "c", detail: "d" }] };

	await page.route(/\/api\/v1\/(?!.*\/events)/, async (route) => {
		const answer = await route.fetch();
		if (!answer.headers()["content-type"]?.includes("json")) return route.fulfill({ response: answer });
		const body = await answer.json();
		return route.fulfill({ response: answer, json: poison(/\/devices\/[^/]+$/.test(new URL(route.request().url()).pathname) ? said : body) });
	});
	await page.route(/\/devices\/events/, (route) => route.fulfill({
		contentType: "text/event-stream",
		body: `id: 1\nevent: devices\ndata: ${JSON.stringify({ devices: [poison(said)], gone: [], reset: true })}\n\n`,
	}));
	await page.route(/\/sessions\/[^/]+\/events/, async (route) => {
		const { pathname } = new URL(route.request().url());
		const session = await (await context.request.get(new URL(pathname.replace("/events", ""), run.args.url).href)).json();
		return route.fulfill({ contentType: "text/event-stream", body: `event: session\ndata: ${JSON.stringify(poison(session))}\n\n` });
	});

	const shown = new Set();
	for (const [name, path] of Object.entries(run.args.pages)) {
		await page.goto(run.args.url + path);
		if (name === "sessions") await page.locator("#all").click(); // not only those that are open
		await page.waitForFunction(() => document.documentElement.innerHTML.includes("onerror=hacked=1"));
		await page.waitForTimeout(500); // whatever is shown a little later
		const { done, text } = await page.evaluate(() => ({
			done: Reflect.get(window, "hacked") === 1 || document.querySelector("img[src=x], svg[onload], body script:not([src]), a[href^='javascript:' i]") !== null,
			text: document.documentElement.innerHTML,
		}));
		if (done) run.faults.push(`${name}: a hostile text became more than text`);
		for (const field of fields) if (text.includes(`${field}"'&gt;`) || text.includes(`${field}&quot;'`)) shown.add(field);
		await run.shot(page, `hostile-${name}`);
	}
	await page.unrouteAll({ behavior: "wait" }); // a page that looks now and then may be asking just now
	run.log(`shown as text: ${[...shown].sort().join(", ")}`);
	for (const field of ["version", "group", "reason", "ticket", "detail", "check"]) if (!shown.has(field)) run.faults.push(`no page shows ${field}: the test sees nothing of it`);
}
