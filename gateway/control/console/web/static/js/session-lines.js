// What an engineer types on his own machine to reach a device with his own programs: the
// console's tunnel ends in the console, so each begins with boothctl's.

import { t } from "./i18n.js";

/** @typedef {import("./shapes.js").Session} Session */

/** @typedef {{label: string, text: string, lines: string[]}} Way */

/** What a shell takes as it is. */
const plain = /^[\w .:#@+-]{1,80}$/;

/**
 * The flags that boothctl needs where the deployment wants to know why; what a shell
 * would read otherwise than it looks is left for the engineer to write.
 * @param {Session} s
 */
function flags(s) {
	const safe = (/** @type {string} */ text) => (plain.test(text) ? text : "…");
	return (s.reason ? ` --reason "${safe(s.reason)}"` : "") + (s.ticket ? ` --ticket "${safe(s.ticket)}"` : "");
}

/**
 * The ways to the ports that a session may reach.
 * @param {Session} s
 * @param {string[]} ports
 * @returns {Way[]}
 */
export function ways(s, ports) {
	const forward = (/** @type {string} */ pair) => `boothctl forward${flags(s)} ${s.device} ${pair}`;
	/** @type {Way[]} */
	const list = [];
	if (ports.includes("tcp/3389")) {
		list.push({ label: t("lines.rdp"), text: t("lines.rdp_text"), lines: [forward("13389:3389"), "mstsc /v:127.0.0.1:13389"] });
	}
	if (ports.includes("tcp/22")) {
		list.push({ label: t("lines.ssh"), text: t("lines.ssh_text"), lines: [`boothctl ssh${flags(s)} ${t("lines.user")}@${s.device}`] });
		list.push({ label: t("lines.sftp"), text: t("lines.sftp_text"), lines: [forward("2222:22"), `sftp -P 2222 ${t("lines.user")}@127.0.0.1`] });
	}
	if (ports.includes("tcp/445")) {
		list.push({
			label: t("lines.smb"), text: t("lines.smb_text"),
			lines: [`sudo boothctl up --port 445${flags(s)} ${s.device}`, `smbclient -U ${t("lines.user")} -L //${s.address ?? "10.166.0.0"}`],
		});
	}
	return list;
}
