package demo

import (
	"strings"
	"testing"

	"holdfast.dev/holdfast/deploy/lab/script"
)

func TestStepsParse(t *testing.T) {
	for _, s := range steps {
		if _, err := script.Parse(s.title, []byte(s.do+"\n"+s.claims)); err != nil {
			t.Error(err)
		}
		if s.metallb == "" {
			t.Errorf("%s: what MetalLB does there is not said", s.title)
		}
	}
}

func TestPicture(t *testing.T) {
	got := picture("node2", "node2", "node3")
	for _, line := range strings.Split(got, "\n") {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if !strings.Contains(got, "ANSWERS") || !strings.Contains(got, "leads") {
		t.Error(got)
	}
	if got := picture("node1", "node2", "node3"); !strings.Contains(got, "ANSWERS v4") || !strings.Contains(got, "ANSWERS v6") {
		t.Error(got)
	}
}
