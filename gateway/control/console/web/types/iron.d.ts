export * from "@devolutions/iron-remote-desktop";

declare global {
	interface HTMLElementTagNameMap {
		"iron-remote-desktop": HTMLElement & { module: unknown };
	}
}
