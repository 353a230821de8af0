package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "holdfast.dev/holdfast"

// mayImport is the house: what each package may import beside the standard
// library. A path that ends in / stands for all below it. Two walls carry it:
// only controller knows Kubernetes, only layer2 and bgp touch the wire.
var mayImport = map[string][]string{
	"allocator":              nil,
	"allocator/peering":      {module + "/allocator"},
	"bgp":                    {module + "/bgp/bfd", "golang.org/x/", "github.com/osrg/gobgp/v3/pkg/packet/bgp"},
	"bgp/bfd":                {"golang.org/x/"},
	"layer2":                 {"golang.org/x/", "github.com/mdlayher/", "github.com/vishvananda/netlink"},
	"speaker":                {module + "/allocator", module + "/allocator/peering", module + "/bgp", module + "/bgp/bfd", module + "/layer2", "github.com/hashicorp/memberlist"},
	"controller":             {module + "/allocator", module + "/allocator/", module + "/controller/", "k8s.io/"},
	"controller/lease":       {"k8s.io/"},
	"controller/api/v1beta1": {module + "/controller/api/v1beta2", "k8s.io/"},
	"controller/api/v1beta2": {"k8s.io/"},
	"cmd/holdfast":           {""},
	"deploy/image":           nil,
	"deploy/image/ociimage":  {module + "/deploy/image"},
	"deploy/router":          {module + "/deploy/world"},
	"deploy/world":           {"golang.org/x/sys/", "github.com/vishvananda/"},
}

// The allocator is pure: of the standard library it may have what neither reads
// nor changes the world. net/netip and time are data; of time the clock is not.
var (
	impure = []string{"bufio", "context", "crypto/", "database/", "embed", "expvar", "flag", "io", "io/", "log", "log/",
		"math/rand", "math/rand/", "mime/", "net", "net/", "os", "os/", "plugin", "runtime", "runtime/",
		"sync", "sync/", "syscall", "testing", "testing/", "unsafe"}
	pure  = []string{"crypto/sha256", "net/netip"} // among these
	clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}
)

func covers(rules []string, path string) bool {
	return slices.ContainsFunc(rules, func(r string) bool {
		return r == path || r == "" || strings.HasSuffix(r, "/") && strings.HasPrefix(path, r)
	})
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// checkImports tells which imports of a package the house does not allow.
func checkImports(pkg string, imports []string) error {
	rules, known := mayImport[pkg]
	if !known {
		return fmt.Errorf("%s is not in the house: give it a row in mayImport, or another place", pkg)
	}
	var all []error
	for _, path := range imports {
		switch {
		case standard(path) && strings.HasPrefix(pkg, "allocator") && !slices.Contains(pure, path) && covers(impure, path):
			all = append(all, fmt.Errorf("%s imports %s: it is a pure function of what it is given", pkg, path))
		case !standard(path) && !covers(rules, path):
			all = append(all, fmt.Errorf("%s imports %s, and may import only %v beside the standard library", pkg, path, rules))
		}
	}
	return errors.Join(all...)
}

// checkClock tells where a file asks what time it is, or waits.
func checkClock(name string, src any) error {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, 0)
	if err != nil {
		return err
	}
	var all []error
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, s.Sel.Name) {
				all = append(all, fmt.Errorf("%s: time.%s: the time is given to the allocator, as data", set.Position(n.Pos()), s.Sel.Name))
			}
		}
		return true
	})
	return errors.Join(all...)
}

type listed struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func packages(t *testing.T) (all []listed) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestAlwaysInItsLayer(t *testing.T) {
	rooms := maps.Clone(mayImport)
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		delete(rooms, name)
		if err := checkImports(name, p.Imports); err != nil {
			t.Error(err)
		}
		if strings.HasPrefix(name, "allocator") {
			for _, file := range p.GoFiles {
				if err := checkClock(filepath.Join(p.Dir, file), nil); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for name := range rooms {
		t.Errorf("mayImport speaks of %s, which is not there", name)
	}
}

// What the checks are for, they see.
func TestLayersAreSeenThrough(t *testing.T) {
	for pkg, path := range map[string]string{
		"allocator": "sync/atomic", "layer2": "k8s.io/api/core/v1", "speaker": module + "/controller",
		"controller": module + "/speaker", "controller/lease": module + "/controller", "util": "fmt",
	} {
		if checkImports(pkg, []string{path}) == nil {
			t.Errorf("%s may import %s", pkg, path)
		}
	}
	for _, path := range []string{"net", "net/http", "os", "io", "log/slog", "context", "math/rand/v2", "crypto/rand", module + "/layer2", "k8s.io/api"} {
		if checkImports("allocator", []string{path}) == nil {
			t.Errorf("allocator may import %s", path)
		}
	}
	if err := checkImports("allocator", []string{"net/netip", "time", "slices", "fmt"}); err != nil {
		t.Error(err)
	}
	if checkClock("x.go", "package x\nimport \"time\"\nvar t = time.Now()") == nil {
		t.Error("time.Now is not seen")
	}
	if err := checkClock("x.go", "package x\nimport \"time\"\nvar t = time.UnixMilli(0)"); err != nil {
		t.Error(err)
	}
}
