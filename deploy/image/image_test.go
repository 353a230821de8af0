package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast.dev/holdfast/deploy/image"
)

func written(t interface{ Fatal(...any) }, i image.Image) []byte {
	var out bytes.Buffer
	n, err := i.WriteTo(&out)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(out.Len()) {
		t.Fatal("wrote", out.Len(), "bytes and reported", n)
	}
	return out.Bytes()
}

// entries reads a tar; it checks that nothing in it tells when, where and by
// whom it was made.
func entries(t *testing.T, archive []byte) (names []string, content map[string][]byte) {
	content = map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, content
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %v, owner %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
		names = append(names, h.Name)
		if content[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// Invariant 1.
func TestAlwaysTheSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SliceOfDistinct(rapid.StringMatching(`(/[a-z]{1,3}){1,3}`), rapid.ID).Draw(t, "paths")
		i := image.Image{Name: "lab.local/x:v1", Entrypoint: []string{"/x"}, Labels: map[string]string{"b": "2", "a": "1"}}
		for _, p := range paths {
			i.Files = append(i.Files, image.File{Path: p, Content: []byte(p)})
		}
		first := written(t, i)
		i.Files = rapid.Permutation(i.Files).Draw(t, "order")
		if !bytes.Equal(first, written(t, i)) {
			t.Fatal("another order of files, other bytes")
		}
	})
}

// Invariant 2, and every digest is that of the blob it names.
func TestLayout(t *testing.T) {
	archive := written(t, image.Image{
		Name: "lab.local/x:v1", Entrypoint: []string{"/usr/bin/x", "run"}, User: "65532", Arch: "arm64",
		Files: []image.File{{Path: "/usr/bin/x", Content: []byte("binary")}, {Path: "/etc/x", Mode: 0o644, Content: []byte("conf")}},
	})
	names, content := entries(t, archive)
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %v", names)
	}
	for name, b := range content {
		if hex, isBlob := strings.CutPrefix(name, "blobs/sha256/"); isBlob && hex != fmt.Sprintf("%x", sha256.Sum256(b)) {
			t.Errorf("%s holds something else", name)
		}
	}
	var docker []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(content["manifest.json"], &docker); err != nil || len(docker) != 1 || len(docker[0].Layers) != 1 {
		t.Fatalf("manifest.json: %v: %s", err, content["manifest.json"])
	}
	layer, files := entries(t, content[docker[0].Layers[0]])
	if want := []string{"etc/", "etc/x", "usr/", "usr/bin/", "usr/bin/x"}; !slices.Equal(layer, want) {
		t.Errorf("layer holds %v, want %v", slices.Sorted(maps.Keys(files)), want)
	}
	var conf struct {
		Architecture string
		Config       struct {
			Entrypoint []string
			User       string
		}
	}
	if err := json.Unmarshal(content[docker[0].Config], &conf); err != nil {
		t.Fatal(err)
	}
	if conf.Architecture != "arm64" || conf.Config.User != "65532" || len(conf.Config.Entrypoint) != 2 {
		t.Errorf("configuration: %+v", conf)
	}
}

func TestRefuses(t *testing.T) {
	good := image.Image{Name: "lab.local/x:v1", Entrypoint: []string{"/x"}}
	for want, spoil := range map[string]func(*image.Image){
		"no tag":        func(i *image.Image) { i.Name = "localhost:5000/x" },
		"no entrypoint": func(i *image.Image) { i.Entrypoint = nil },
		"absolute":      func(i *image.Image) { i.Files = []image.File{{Path: "x"}} },
		"clean":         func(i *image.Image) { i.Files = []image.File{{Path: "/a/../x"}} },
		"twice":         func(i *image.Image) { i.Files = []image.File{{Path: "/x"}, {Path: "/x"}} },
	} {
		i := good
		spoil(&i)
		if _, err := i.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
