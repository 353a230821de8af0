// Package image writes a container image as one tar: static binaries and the
// configuration to run them, on nothing. No Docker and no base image is
// needed to make it.
//
// The tar is an OCI image layout that also carries the index of `docker save`:
// `ctr images import`, `skopeo copy oci-archive:` and `docker load` all take
// it.
//
// Invariants:
//
//  1. The same image gives the same bytes, on every machine and day: entries
//     are sorted, times are the epoch, owners are root.
//  2. The layer holds the files named and their parent directories, no more.
package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A File is one regular file of an image.
type File struct {
	Path    string // absolute, in the image
	Mode    int64  // permission bits; 0 means 0755
	Content []byte
}

// An Image is what the tar says.
type Image struct {
	Name       string            // full reference with a tag, such as lab.local/echo:v1
	Files      []File            // order does not matter
	Entrypoint []string          // the command, without a shell
	User       string            // uid or uid:gid; empty means root
	Env        []string          // NAME=VALUE
	Labels     map[string]string // org.opencontainers.image.… and the like
	Arch       string            // GOARCH; empty means this program's
}

// WriteTo writes the tar. It refuses an image without a tagged name, without
// an entrypoint, or with a path that is not absolute or occurs twice.
func (i Image) WriteTo(w io.Writer) (int64, error) {
	if err := i.check(); err != nil {
		return 0, fmt.Errorf("image %s: %w", i.Name, err)
	}
	layer, err := i.layer()
	if err != nil {
		return 0, fmt.Errorf("image %s: writing its layer: %w", i.Name, err)
	}
	out := counter{w: w}
	if err := writeArchive(&out, i.archive(layer)); err != nil {
		return out.n, fmt.Errorf("image %s: %w", i.Name, err)
	}
	return out.n, nil
}

func (i Image) check() error {
	if slash := strings.LastIndex(i.Name, "/"); !strings.Contains(i.Name[slash+1:], ":") {
		return errors.New("its name has no tag: add one, such as :v1")
	}
	if len(i.Entrypoint) == 0 {
		return errors.New("it has no entrypoint")
	}
	seen := map[string]bool{}
	for _, f := range i.Files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" {
			return fmt.Errorf("file %q: the path must be absolute and clean", f.Path)
		}
		if seen[f.Path] {
			return fmt.Errorf("file %s: named twice", f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

// layer is the file system, as an uncompressed tar.
func (i Image) layer() ([]byte, error) {
	var headers []*tar.Header
	content := map[string][]byte{}
	made := map[string]bool{"/": true}
	for _, f := range i.Files {
		for dir := path.Dir(f.Path); !made[dir]; dir = path.Dir(dir) {
			made[dir] = true
			headers = append(headers, &tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755})
		}
		headers = append(headers, &tar.Header{Typeflag: tar.TypeReg, Name: f.Path[1:],
			Mode: cmp.Or(f.Mode, 0o755), Size: int64(len(f.Content))})
		content[f.Path[1:]] = f.Content
	}
	slices.SortFunc(headers, func(a, b *tar.Header) int { return strings.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		h.ModTime = time.Unix(0, 0)
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(content[h.Name]); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}

// A descriptor points at a blob, as in the OCI image specification.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    *platform         `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type execution struct {
	User       string            `json:"User,omitempty"`
	Env        []string          `json:"Env,omitempty"`
	Entrypoint []string          `json:"Entrypoint"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type rootfs struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type config struct {
	platform
	Config execution `json:"config"`
	RootFS rootfs    `json:"rootfs"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// A saved image is one entry of the index of `docker save`.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

const (
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
)

// archive is every file of the layout by its name.
func (i Image) archive(layer []byte) map[string][]byte {
	files := map[string][]byte{}
	blob := func(mediaType string, b []byte) descriptor {
		d := descriptor{MediaType: mediaType, Digest: digest(b), Size: len(b)}
		files[blobName(d)] = b
		return d
	}
	p := platform{cmp.Or(i.Arch, runtime.GOARCH), "linux"}
	l := blob(typeLayer, layer)
	c := blob(typeConfig, encode(config{
		platform: p,
		Config:   execution{i.User, i.Env, i.Entrypoint, i.Labels},
		RootFS:   rootfs{"layers", []string{l.Digest}},
	}))
	m := blob(typeManifest, encode(manifest{2, typeManifest, c, []descriptor{l}}))
	m.Platform = &p
	m.Annotations = map[string]string{
		"io.containerd.image.name":          i.Name,
		"org.opencontainers.image.ref.name": i.Name,
	}
	files["index.json"] = encode(index{2, typeIndex, []descriptor{m}})
	files["oci-layout"] = encode(map[string]string{"imageLayoutVersion": "1.0.0"})
	files["manifest.json"] = encode([]saved{{blobName(c), []string{i.Name}, []string{blobName(l)}}})
	return files
}

func digest(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func blobName(d descriptor) string { return "blobs/" + strings.Replace(d.Digest, ":", "/", 1) }

// encode is the JSON of values that always have one.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
