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
 * Puts texts behind each other as the page's language does; empty ones are left out.
 * @param {"list" | "clauses" | "sentences"} how
 * @param {(string | null | undefined | false)[]} texts
 * @returns {string}
 */
export function joined(how, texts) {
	const all = /** @type {string[]} */ (texts.filter(Boolean));
	return all.length ? all.reduce((a, b) => t(`join.${how}`, { a, b })) : "";
}

/**
 * The words of a key, if there are any: for codes that others make up.
 * @param {string} key
 * @returns {string}
 */
export function known(key) {
	return words[key] ?? "";
}
