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

// Require skips a test that cannot have a world or routers here, and says what
// is missing.
func Require(t world.Test) {
	t.Helper()
	world.Require(t)
	if lacking := Missing(); lacking != "" {
		t.Skipf("needs routers: %s", lacking)
	}
}

// Started returns what takes the result of [StartFRR] or [StartBIRD]: it fails the
// test if there is no router, and kills the router when the test ends, with its log if
// the test failed.
func Started(t world.Test) func(*Router, error) *Router {
	return func(r *Router, err error) *Router {
		t.Helper()
		if err != nil {
			t.Fatalf("%v", err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(r.Log())
			}
			if err := r.Kill(); err != nil {
				t.Errorf("%v", err)
			}
		})
		return r
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
