// Elements are made here, and text becomes text: no string is ever read as markup.

/**
 * @typedef {Node | string | number | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean | null | undefined | ((e: any) => void)>} Attributes
 */

const svgSpace = "http://www.w3.org/2000/svg";

/**
 * An element: h("button", {class: "btn", onclick: f}, "text"). Names that begin with
 * "on" are listeners, false and null leave an attribute out.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Attributes | null} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(name, attributes, ...children) {
	const e = document.createElement(name);
	fill(e, attributes, children);
	return e;
}

/**
 * An element of SVG, likewise.
 * @param {string} name
 * @param {Attributes | null} [attributes]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(name, attributes, ...children) {
	const e = /** @type {SVGElement} */ (document.createElementNS(svgSpace, name));
	fill(e, attributes, children);
	return e;
}

/**
 * @param {Element} e
 * @param {Attributes | null | undefined} attributes
 * @param {Child[]} children
 */
function fill(e, attributes, children) {
	for (const [name, value] of Object.entries(attributes ?? {})) {
		if (typeof value === "function") e.addEventListener(name.slice(2), value);
		else if (value !== null && value !== undefined && value !== false) e.setAttribute(name, value === true ? "" : String(value));
	}
	put(e, ...children);
}

/**
 * Appends children, text as text.
 * @param {Element} e
 * @param {...Child} children
 */
export function put(e, ...children) {
	for (const c of children) {
		if (c instanceof Node) e.append(c);
		else if (c !== null && c !== undefined && c !== false) e.append(String(c));
	}
}

/**
 * Makes children all that e has.
 * @param {Element} e
 * @param {...Child} children
 */
export function replace(e, ...children) {
	e.replaceChildren();
	put(e, ...children);
}

/**
 * Sets the text of a node, if it is another.
 * @param {Node} node
 * @param {string} text
 */
export function say(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

/**
 * The element with an id, which the page's template has.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function byId(id, kind) {
	const e = document.getElementById(id);
	if (!e || (kind && !(e instanceof kind))) throw new Error(`the page has no ${id}`);
	return /** @type {T} */ (e);
}

/**
 * What the frame says of the page: its user's name and role, and the id of what the page
 * is about.
 */
export const page = {
	user: document.body.dataset.user ?? "",
	role: document.body.dataset.role ?? "",
	id: document.body.dataset.id ?? "",
	everywhere: document.body.dataset.everywhere === "true",
};

const roles = ["viewer", "operator", "approver", "admin"];

/**
 * Whether the page's user has a role, or one that includes it.
 * @param {"viewer" | "operator" | "approver" | "admin"} role
 */
export function may(role) {
	return roles.indexOf(page.role) >= roles.indexOf(role);
}
