package peering

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// The defaults of BFDProfiles, as FRR has them.
const (
	defaultInterval   = 300 // ms
	defaultMultiplier = 3
	defaultMinimumTTL = 254
)

// bfd returns what the profile says, with the defaults filled in.
func (in *Profile) bfd() (*BFD, error) {
	if in.Problem != nil {
		return nil, in.Problem
	}
	if in.Echo {
		return nil, errors.New("spec.echoMode is true, and the echo function of BFD is not supported: " +
			"take it out, and set receiveInterval and transmitInterval as short as echoInterval would be")
	}
	for _, r := range []struct {
		field           string
		is, least, most int
	}{
		{"receiveInterval", in.Receive, 10, 60_000}, {"transmitInterval", in.Transmit, 10, 60_000},
		{"detectMultiplier", in.Multiplier, 2, 255}, {"minimumTtl", in.MinimumTTL, 1, 254},
	} {
		if r.is != 0 && (r.is < r.least || r.is > r.most) {
			return nil, fmt.Errorf("spec.%s is %d, and must be from %d to %d", r.field, r.is, r.least, r.most)
		}
	}
	return &BFD{
		Receive:    time.Duration(cmp.Or(in.Receive, defaultInterval)) * time.Millisecond,
		Transmit:   time.Duration(cmp.Or(in.Transmit, defaultInterval)) * time.Millisecond,
		Multiplier: cmp.Or(in.Multiplier, defaultMultiplier),
		Passive:    in.Passive,
		MinimumTTL: cmp.Or(in.MinimumTTL, defaultMinimumTTL),
	}, nil
}
