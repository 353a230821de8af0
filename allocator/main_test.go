package allocator_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain gives the properties more cases than rapid does by itself: they are
// cheap here. Flags on the command line win (-rapid.checks, -rapid.seed).
func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "300", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	flag.Parse()
	os.Exit(m.Run())
}
