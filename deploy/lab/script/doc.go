// Package script runs scenarios: txtar files whose comment is a list of commands, one a
// line, against a lab, each on a clean state.
//
// It decides whether a scenario holds. A command that cannot be carried out ends the
// scenario; a claim that does not hold is noted with its line, and the scenario goes on,
// so that one run shows everything that is wrong.
//
// Invariants:
//
//  1. Whatever the scenario before did or broke, a scenario begins with the same state:
//     no object of a former one, all nodes powered, plugged, joined and Ready, the API
//     server up, holdfast healthy with the flags that the scenario needs.
//  2. A claim over a time looks at everything since the last mark.
//  3. The verbs that `lab help script` tells are the verbs that run: one table.
//  4. Every error names the file and the line.
//
// What a lab is, and how it is brought up, is left to package cluster.
package script
