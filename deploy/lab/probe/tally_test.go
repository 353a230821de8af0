package probe

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Invariant 4, against the definition written down plainly.
func TestAlwaysOneSilencePerRowOfLosses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		outcomes := rapid.SliceOf(rapid.SampledFrom([]outcome{answered, answered, refused, stalled, silent})).Draw(t, "outcomes")
		start := time.Unix(1000, 0)
		sums := newTally(Target{}, start, time.Millisecond)
		for n, o := range outcomes {
			sums.add(time.Duration(n)*time.Millisecond, o, time.Millisecond, "")
		}
		got := sums.finish()
		var lost, refusals int
		var rows [][2]int // first lost, first answered after
		for n, o := range outcomes {
			if o == answered {
				continue
			}
			lost++
			if o == refused {
				refusals++
			}
			if n == 0 || outcomes[n-1] == answered {
				rows = append(rows, [2]int{n, n})
			}
			rows[len(rows)-1][1] = n + 1
		}
		if got.Sent != len(outcomes) || got.Lost != lost || got.Refused != refusals || got.Answered != len(outcomes)-lost {
			t.Fatalf("%+v of %d requests, %d lost, %d refused", got, len(outcomes), lost, refusals)
		}
		if len(got.Silences) != len(rows) {
			t.Fatalf("%d silences, want %d", len(got.Silences), len(rows))
		}
		for i, row := range rows {
			s := got.Silences[i]
			first, next := time.Duration(row[0])*time.Millisecond, time.Duration(row[1])*time.Millisecond
			if !s.Start.Equal(start.Add(first)) || s.Length != next-first || s.Requests != row[1]-row[0] {
				t.Fatalf("silence %+v, want requests %v", s, row)
			}
		}
	})
}

func TestAlwaysBoundsQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "d"))
		var h histogram
		h.add(d)
		if top := bucketTop(bucketOf(d)); top <= d || float64(top) > float64(d)*1.0626+2000 {
			t.Fatalf("%s is in the bucket up to %s", d, top)
		}
		if q := h.quantile(0.5); q != d {
			t.Fatalf("the median of %s is %s", d, q)
		}
	})
}

func TestAlwaysReadsItsOwnPayload(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seq, name := rapid.Uint64().Draw(t, "seq"), rapid.String().Draw(t, "name")
		got, rest, ok := parsePayload(append(payload(nil, seq), name...))
		if !ok || got != seq || string(rest) != name {
			t.Fatalf("%d %q came back as %d %q %v", seq, name, got, rest, ok)
		}
	})
}

func FuzzParsePayload(f *testing.F) {
	f.Add([]byte("0000000000000001\nweb"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if seq, rest, ok := parsePayload(b); ok && len(rest) != len(b)-payloadSize {
			t.Fatal(seq, rest)
		}
	})
}

func FuzzParseTarget(f *testing.F) {
	f.Add("tcp:192.0.2.1:80")
	f.Add("udp:[2001:db8::1]:53")
	f.Fuzz(func(t *testing.T, s string) {
		target, err := ParseTarget(s)
		if err != nil {
			return
		}
		if again, err := ParseTarget(target.String()); err != nil || again != target {
			t.Fatalf("%q became %s, which becomes %s, %v", s, target, again, err)
		}
	})
}
