package main

import (
	"fmt"
	"strconv"
	"strings"
)

// ports is a flag: numbers and ranges, parted by commas.
type ports []uint16

// String is the list as one would write it, without ranges.
func (p *ports) String() string {
	var words []string
	for _, n := range *p {
		words = append(words, strconv.Itoa(int(n)))
	}
	return strings.Join(words, ",")
}

// Set adds what text says.
func (p *ports) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(word, "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || from == 0 || from > to {
			return fmt.Errorf("%q is neither a port nor a range of ports", word)
		}
		for n := from; n <= to; n++ {
			*p = append(*p, uint16(n))
		}
	}
	return nil
}
