// One click to a device: asks for what the deployment wants to know first, opens a
// session that this console holds, and goes to its page.

import { get, post } from "./api.js";
import { ask, field } from "./dialog.js";
import { t } from "./i18n.js";
import { complain } from "./toast.js";

/** @typedef {{require_reason?: boolean, require_ticket?: boolean}} Policy */

/** @type {Promise<Policy> | null} */
let policy = null;

/**
 * Connects to a device.
 * @param {string} device
 * @param {HTMLButtonElement} [button] that was pressed, busy meanwhile
 */
export async function connect(device, button) {
	if (button) button.disabled = true;
	try {
		policy ??= get("/console/policy");
		const wanted = await policy;
		/** @type {Record<string, string>} */
		const request = { device };
		if (wanted.require_reason || wanted.require_ticket) {
			const said = await ask({
				title: t("connect.title", { device }), yes: t("connect.submit"),
				fields: [
					wanted.require_reason ? field(t("connect.reason"), "reason", { required: true, maxlength: 1000, autocomplete: "off" }) : null,
					wanted.require_ticket ? field(t("connect.ticket"), "ticket", { required: true, maxlength: 100, autocomplete: "off" }) : null,
				],
			});
			if (!said) return;
			for (const [name, value] of said) request[name] = String(value);
		}
		const { session } = await post("/console/connect", request);
		location.assign(`/console/sessions/${encodeURIComponent(session)}`);
	} catch (e) {
		policy = null;
		complain(e);
	} finally {
		if (button) button.disabled = false;
	}
}
