package cluster

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// kustomized returns what the kustomization of a directory below deploy/ lists, and the
// kinds of the objects in it.
func kustomized(t *testing.T, dir string) (files, kinds []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k struct{ Resources []string }
	if err := yaml.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	for _, file := range k.Resources {
		text, err := os.ReadFile(filepath.Join("../..", dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
			var o unstructured.Unstructured
			if documents.Decode(&o.Object) != nil {
				break
			}
			kinds = append(kinds, o.GetKind())
		}
	}
	return k.Resources, kinds
}

// Whoever deletes what was applied last takes away no pool: neither the definitions
// nor the namespace are in it.
func TestNeverRemovesPoolsWithHoldfast(t *testing.T) {
	_, kinds := kustomized(t, ".")
	for _, kind := range []string{"CustomResourceDefinition", "Namespace"} {
		if slices.Contains(kinds, kind) {
			t.Errorf("kubectl delete -k deploy/ deletes a %s", kind)
		}
	}
	if !slices.Contains(kinds, "DaemonSet") {
		t.Errorf("no DaemonSet in deploy/, but %v", kinds)
	}
}

// What is generated is also applied.
func TestAllCRDsAreApplied(t *testing.T) {
	files, kinds := kustomized(t, "crds")
	all, err := filepath.Glob("../../crds/metallb.io_*.yaml")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	for _, path := range all {
		if !slices.Contains(files, filepath.Base(path)) {
			t.Errorf("%s is in no kustomization", filepath.Base(path))
		}
	}
	if !slices.Contains(kinds, "Namespace") {
		t.Errorf("no namespace, but %s", strings.Join(kinds, ", "))
	}
}
