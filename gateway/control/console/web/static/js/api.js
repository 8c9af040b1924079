// Control's API, called as whoever is signed in. What it refuses is a Problem.

/**
 * @typedef {{status?: number, code?: string, title?: string, detail?: string, fields?: {field: string, text: string}[]}} ProblemDocument
 */

/** A refusal: code is a stable word, detail is for people. */
export class Problem extends Error {
	/** @param {ProblemDocument} document */
	constructor(document) {
		super(document.detail || document.title || document.code || "");
		this.status = document.status ?? 0;
		this.code = document.code ?? "";
		this.fields = document.fields ?? [];
	}
}

/** Where the API is. */
export const api = "/console/api/v1";

/**
 * Calls the console and returns what it answers; a path that begins with "/console/" is
 * the console's own, any other the API's.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body] sent as JSON
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function call(method, path, body, signal) {
	const url = path.startsWith("/console/") ? path : api + path;
	/** @type {RequestInit} */
	const request = { method, headers: { Accept: "application/json" }, signal, cache: "no-store" };
	if (body !== undefined) {
		request.body = JSON.stringify(body);
		request.headers = { Accept: "application/json", "Content-Type": "application/json" };
	}
	let answer;
	try {
		answer = await fetch(url, request);
	} catch (e) {
		if (signal?.aborted) throw e;
		throw new Problem({ code: "unreachable" });
	}
	if (answer.status === 401) signedOut();
	if (!answer.ok) throw new Problem(await problemOf(answer));
	if (answer.status === 204) return undefined;
	return answer.json();
}

/** @param {string} path @param {AbortSignal} [signal] */
export const get = (path, signal) => call("GET", path, undefined, signal);
/** @param {string} path @param {unknown} [body] */
export const post = (path, body) => call("POST", path, body ?? {});
/** @param {string} path */
export const remove = (path) => call("DELETE", path);

/**
 * @param {Response} answer
 * @returns {Promise<ProblemDocument>}
 */
async function problemOf(answer) {
	try {
		const document = await answer.json();
		return { ...document, status: answer.status };
	} catch {
		return { status: answer.status, code: "http", title: `${answer.status} ${answer.statusText}` };
	}
}

/**
 * All pages of a list, one after the other.
 * @param {string} path
 * @param {Record<string, string | number>} [query]
 * @param {AbortSignal} [signal]
 * @returns {AsyncGenerator<any[], void, void>}
 */
export async function* pages(path, query, signal) {
	let after = "";
	do {
		const q = new URLSearchParams();
		for (const [k, v] of Object.entries({ limit: 1000, ...query, after })) if (v !== "") q.set(k, String(v));
		const page = await get(`${path}?${q}`, signal);
		yield page.items;
		after = page.next ?? "";
	} while (after);
}

let leaving = false;

/** Goes to sign in, and comes back here afterwards. */
export function signedOut() {
	if (leaving) return;
	leaving = true;
	location.reload(); // the console knows by which way its user comes in
}

/**
 * @typedef {object} Follow
 * @property {Record<string, (data: any, id: string) => void>} [on] by name of event
 * @property {Record<string, (text: string) => void>} [raw] the same, for who parses himself
 * @property {(open: boolean) => void} [state] whether it is connected at the moment
 * @property {() => Promise<boolean>} [refused] after a refusal: whether there is something to follow yet
 */

/**
 * Follows a stream of events until the returned func is called; it connects again by
 * itself and goes on after the event that it had last.
 * @param {string} path as for call
 * @param {Follow} follow
 * @returns {() => void}
 */
export function stream(path, follow) {
	const url = path.startsWith("/console/") ? path : api + path;
	/** @type {EventSource | null} */
	let source = null;
	let timer = 0;
	let pause = 1000;
	let ended = false;
	const connect = () => {
		source = new EventSource(url);
		source.onopen = () => {
			pause = 1000;
			follow.state?.(true);
		};
		for (const [name, f] of Object.entries(follow.on ?? {})) {
			source.addEventListener(name, (e) => f(JSON.parse(e.data), e.lastEventId));
		}
		for (const [name, f] of Object.entries(follow.raw ?? {})) source.addEventListener(name, (e) => f(e.data));
		source.onerror = () => {
			follow.state?.(false);
			// The browser tries again by itself, except after a refusal.
			if (source?.readyState === EventSource.CLOSED && !ended) {
				timer = window.setTimeout(again, pause);
				pause = Math.min(pause * 2, 30000);
			}
		};
	};
	const again = async () => {
		// Whether it is the sign-in that is over, an EventSource does not tell.
		try {
			await get("/trust");
			if (!ended && follow.refused && !(await follow.refused())) ended = true;
		} catch (e) {
			if (e instanceof Problem && e.status === 401) return;
		}
		if (!ended) connect();
	};
	connect();
	return () => {
		ended = true;
		clearTimeout(timer);
		source?.close();
	};
}
