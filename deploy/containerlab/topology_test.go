package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// A file is what the tests look at in a topology file.
type file struct {
	Name     string
	Topology struct {
		Nodes map[string]struct {
			Image, Cmd  string
			NetworkMode string `json:"network-mode"`
			Binds       []string
			Exec        []string
			Env         map[string]string
		}
		Links []struct{ Endpoints []string }
	}
}

func readTopology(t *testing.T, name string) (f file) {
	t.Helper()
	text, err := os.ReadFile(name + ".clab.yml")
	if err == nil {
		err = yaml.Unmarshal(text, &f)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// apiAddress is that of a topology's API server.
func apiAddress(t *testing.T, name string) string {
	_, address, _ := strings.Cut(readTopology(t, name).Topology.Nodes["api"].Cmd, " ")
	return address
}

// A topology has a plan, and what it refers to.
func TestTopologiesAreWhole(t *testing.T) {
	images := []string{routerImage, nodeImage, apiImage, holdfastImage}
	for _, name := range topologies {
		f := readTopology(t, name)
		if f.Name != name {
			t.Errorf("%s is called %s", name, f.Name)
		}
		for node, n := range f.Topology.Nodes {
			if !slices.Contains(images, n.Image) {
				t.Errorf("%s, %s: nobody makes image %q", name, node, n.Image)
			}
			for _, bind := range n.Binds {
				source, _, _ := strings.Cut(bind, ":")
				if _, err := os.Stat(source); err != nil && !strings.HasPrefix(source, "keys") {
					t.Errorf("%s, %s: %v", name, node, err)
				}
			}
			if host := n.Env["KUBERNETES_SERVICE_HOST"]; host != "" && host != apiAddress(t, name) {
				t.Errorf("%s, %s: looks for the API at %s, which is at %s", name, node, host, apiAddress(t, name))
			}
			if n.NetworkMode == "" {
				t.Errorf("%s, %s: is in docker's own network, whose default route hides what is missing", name, node)
			}
		}
		for _, l := range f.Topology.Links {
			for _, end := range l.Endpoints {
				node, _, _ := strings.Cut(end, ":")
				if _, ok := f.Topology.Nodes[node]; !ok {
					t.Errorf("%s: a link to %s, which is not there", name, end)
				}
			}
		}
		for _, p := range planOf(&topology{name: name}).points {
			if _, ok := f.Topology.Nodes[p.name]; !ok {
				t.Errorf("%s: the plan has %s, the topology does not", name, p.name)
			}
		}
	}
	files, err := filepath.Glob("*.clab.yml")
	if err != nil || len(files) != len(topologies) {
		t.Errorf("topologies %v, files %v, %v", topologies, files, err)
	}
}

var address = regexp.MustCompile(`ip addr add ([0-9.]+|[0-9a-f:]+)/`)

// What the plan takes for next hops are addresses of that node.
func TestPlannedNextHopsAreTheNodes(t *testing.T) {
	for _, name := range topologies {
		f := readTopology(t, name)
		for _, p := range planOf(&topology{name: name}).points {
			for node, hops := range p.hops {
				var has []string
				for _, command := range f.Topology.Nodes[node].Exec {
					if m := address.FindStringSubmatch(command); m != nil {
						has = append(has, m[1])
					}
				}
				for _, hop := range hops {
					if !slices.Contains(has, hop) && !strings.HasPrefix(hop, onLink("")) {
						t.Errorf("%s, %s: %s is planned as a next hop, and has only %v", name, node, hop, has)
					}
				}
			}
		}
	}
}
