package controller

import (
	"fmt"
	"unicode/utf8"
)

// What is told is bounded, in bytes, since users' text is part of it, and is kept in
// the API's storage and in logs many times over.
const (
	sentenceLimit  = 1024     // one sentence, as in an Event
	conditionLimit = 4 * 1024 // all sentences of a condition
	lineLimit      = 4 * 1024 // one attribute in a line of the log
)

// cut shortens a text to a number of bytes, 32 at least, and says how much is missing.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len("…, 1234567890 bytes more")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s…, %d bytes more", text[:end], len(text)-end)
}
