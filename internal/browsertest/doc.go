// Package browsertest plays scenarios in a real Chromium for Go tests. A scenario is an
// ES module under gateway/control/console/web/test; a node process drives Chromium with
// playwright-core, asks the test what only the test can see, and fails on every error of
// a page, every refusal by its policy and every request to another origin.
//
// It needs node, chromium and the npm packages that make assets fetches. Without them
// a test is skipped with the reason, or failed where CI is set.
package browsertest
