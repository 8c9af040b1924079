// Package login knows who is signed in at a console: an account of its own, or users
// whom an OpenID provider knows. A login is a random cookie in a browser and a context
// in this process; what the login holds open ends with that context.
package login
