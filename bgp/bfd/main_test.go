package bfd

import (
	"testing"

	"holdfast.dev/holdfast/deploy/world"
)

func TestMain(m *testing.M) { world.Main(m.Run) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
