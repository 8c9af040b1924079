// A device's desktop, whichever engine draws it.

import { drawIron } from "./iron.js";
import { drawGuacamole } from "./guacamole.js";
import { NoDesktop } from "./nodesktop.js";

/**
 * What a person typed, which stays in this page's memory, and what he sees it on.
 * @typedef {object} Wish
 * @property {string} session
 * @property {string} username
 * @property {string} password
 * @property {string} domain
 * @property {{width: number, height: number}} size
 * @property {boolean} unicode the keyboard sends characters, not keys
 * @property {{username: string, password: string} | null} drive an account for the device's files
 */

/**
 * Why a desktop ended, or never came: a stable word. "closed" is an end in good order.
 * @typedef {{code: string}} End
 */

/**
 * @typedef {object} RemoteDesktop
 * @property {Promise<End>} ended
 * @property {() => void} close
 * @property {() => void} ctrlAltDel
 * @property {() => void} metaKey the Windows key
 * @property {(fit: boolean) => void} fit fits the picture into its place, or shows its own size
 * @property {() => void} focus
 */

/** @type {Record<string, (place: HTMLElement, wish: Wish) => Promise<RemoteDesktop>>} */
const engines = { iron: drawIron, guacd: drawGuacamole };

/**
 * Shows a desktop in a place; fails with a Problem or an error that has a code.
 * @param {string} engine
 * @param {HTMLElement} place
 * @param {Wish} wish
 * @returns {Promise<RemoteDesktop>}
 */
export function openDesktop(engine, place, wish) {
  const draw = engines[engine];
  if (!draw) throw new NoDesktop("no_engine");
  return draw(place, wish);
}
