// Why there is no desktop.

/** An engine could not show a desktop; code is a stable word. */
export class NoDesktop extends Error {
  /** @param {string} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}
