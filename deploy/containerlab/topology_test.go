package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"

	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

// A file is what the tests look at in a topology file.
type file struct {
	Name     string
	Topology struct {
		Defaults struct {
			ImagePullPolicy string `json:"image-pull-policy"`
		}
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
		if f.Topology.Defaults.ImagePullPolicy != "never" {
			t.Errorf("%s: asks a registry for images that are not made, and may get somebody else's", name)
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
		for _, p := range plans[name](&topology{name: name}).points {
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
		for _, p := range plans[name](&topology{name: name}).points {
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

// The objects are of kinds and versions that there are, and have no field that
// these do not know. (What a field may hold, the API server says.)
func TestObjectsAreKnown(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1beta1.AddToScheme, v1beta2.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	for _, name := range topologies {
		text, err := os.ReadFile(filepath.Join(name, "objects.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for object := range strings.SplitSeq(string(text), "\n---\n") {
			if _, _, err := decoder.Decode([]byte(object), nil, nil); err != nil {
				t.Errorf("%s: %v\n%s", name, err, object)
			}
		}
	}
}
