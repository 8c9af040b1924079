// The words of the page's language, by key. Modules that import this one wait until
// they are here.

/** @type {Record<string, string>} */
const words = await (await fetch(document.documentElement.dataset.dictionary ?? "")).json();

/** The language of the page, for Intl. */
export const language = document.documentElement.lang;

/**
 * The words of a key, with {name} replaced by params.name.
 * @param {string} key
 * @param {Record<string, string | number>} [params]
 * @returns {string}
 */
export function t(key, params) {
	const text = words[key];
	if (text === undefined) return key;
	if (!params) return text;
	return text.replace(/\{(\w+)\}/g, (all, name) => (name in params ? String(params[name]) : all));
}

/**
 * The words of a key, if there are any: for codes that others make up.
 * @param {string} key
 * @returns {string}
 */
export function known(key) {
	return words[key] ?? "";
}
