package router

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"holdfast.dev/holdfast/deploy/world"
)

// What must be installed, by Debian package.
const (
	frrPackage  = "frr"
	birdPackage = "bird2"
	frrPrograms = "/usr/lib/frr"
)

// missing names the package without which the programs are not there.
func missing(pkg string, programs ...string) error {
	for _, p := range programs {
		if !filepath.IsAbs(p) {
			if _, err := exec.LookPath(p); err == nil {
				continue
			}
		} else if _, err := os.Stat(p); err == nil {
			continue
		}
		return fmt.Errorf("%s is not installed (package %s); on Debian or Ubuntu: apt-get install --no-install-recommends %s", p, pkg, pkg)
	}
	return nil
}

// Missing says in a few words what this machine lacks to run both routers, or
// nothing if it lacks nothing.
func Missing() string {
	var lacking []string
	for _, err := range []error{
		missing(frrPackage, filepath.Join(frrPrograms, "bgpd"), "vtysh"),
		missing(birdPackage, "bird", "birdc"),
	} {
		if err != nil {
			lacking = append(lacking, err.Error())
		}
	}
	return strings.Join(lacking, "; ")
}

// A test is what [Require] needs of a *testing.T, B or F.
type test interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Require skips a test that cannot have a world or routers here, and says what
// is missing.
func Require(t test) {
	t.Helper()
	world.Require(t)
	if lacking := Missing(); lacking != "" {
		t.Skipf("needs routers: %s", lacking)
	}
}

// answers reports whether somebody accepts connections on a Unix socket.
func answers(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return c.Close()
}
