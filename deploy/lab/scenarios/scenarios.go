// Package scenarios holds the scenarios that come with the lab. Each is a txtar file
// that a person can read; `lab help script` tells the verbs.
package scenarios

import "embed"

// Files are the scenarios, NAME.txtar.
//
//go:embed *.txtar
var Files embed.FS
