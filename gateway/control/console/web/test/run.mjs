// Plays one scenario in Chromium for a Go test (internal/browsertest): the first line of
// stdin says which, stdout carries one JSON object a line, stdin the answers to what the
// scenario asks.

import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { Run } from "./browser.mjs";

/** @param {object} message */
const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");

/** @type {Map<number, (answer: {data?: unknown, error?: string}) => void>} */
const waiting = new Map();
const lines = createInterface({ input: process.stdin });
const first = new Promise((resolve) => lines.once("line", resolve));
const brief = JSON.parse(String(await first));
lines.on("line", (line) => {
	const answer = JSON.parse(line);
	waiting.get(answer.id)?.(answer);
	waiting.delete(answer.id);
});

let asked = 0;
/**
 * Asks the Go test, which knows the machines.
 * @param {string} name
 * @param {unknown} [data]
 * @returns {Promise<any>}
 */
async function ask(name, data) {
	const id = ++asked;
	/** @type {Promise<{data?: unknown, error?: string}>} */
	const answered = new Promise((resolve) => waiting.set(id, resolve));
	say({ ask: name, id, data });
	const answer = await answered;
	if (answer.error) throw new Error(`${name}: ${answer.error}`);
	return answer.data;
}

await mkdir(brief.shots, { recursive: true });
const browser = await chromium.launch({
	executablePath: brief.chromium,
	args: ["--disable-dev-shm-usage", "--force-color-profile=srgb", ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), ...(brief.flags ?? [])],
});
const run = new Run(browser, brief, ask, (text) => say({ log: text }));
let failure = "";
try {
	const scenario = await import(new URL(brief.scenario, import.meta.url).href);
	const result = await scenario.default(run);
	run.check();
	say({ result: result ?? null });
} catch (error) {
	failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
	await run.snapshots("failed");
	for (const fault of run.faults) failure += `\n${fault}`;
	for (const warning of run.warnings) say({ log: `a page warned: ${warning}` });
}
if (failure) say({ failed: failure }); // before anything that its end may bring
await browser.close();
process.exit(0);
