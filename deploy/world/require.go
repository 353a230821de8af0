package world

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities without which no world is made or used.
var needed = []struct {
	bit  uint
	name string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{unix.CAP_NET_RAW, "CAP_NET_RAW"},
}

// Missing says in a few words what this process lacks to make a world, or
// nothing if it lacks nothing.
func Missing() string {
	if os.Geteuid() != 0 {
		return "root (network and mount namespaces of its own need it)"
	}
	effective, err := effectiveCapabilities()
	if err != nil {
		return fmt.Sprintf("knowledge of its capabilities (%v)", err)
	}
	var lacking []string
	for _, c := range needed {
		if effective&(1<<c.bit) == 0 {
			lacking = append(lacking, c.name)
		}
	}
	if len(lacking) > 0 {
		return strings.Join(lacking, " and ")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "the command ip (package iproute2)"
	}
	return ""
}

func effectiveCapabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	return 0, fmt.Errorf("/proc/self/status: no CapEff line")
}

// A Test is what helpers of tests need of a *testing.T, B or F.
type Test interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Log(args ...any)
	Failed() bool
	Cleanup(func())
}

// Require skips a test that cannot have a world here, and says what is
// missing. It fails the test if the package's TestMain does not call [Main].
func Require(t Test) {
	t.Helper()
	if missing := Missing(); missing != "" {
		t.Skipf("needs namespaces of its own; missing here: %s", missing)
	}
	if !Inside() {
		t.Fatalf("not in a world: call world.Main(m.Run) in TestMain")
	}
}
