package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// writeArchive writes files as a tar, in the order of their names.
func writeArchive(out io.Writer, files map[string][]byte) error {
	w := tar.NewWriter(out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name])), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		if _, err := w.Write(files[name]); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return w.Close()
}

// A counter counts what it passes on.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// WriteFile writes the tar to a file. The file is complete or not there.
func (i Image) WriteFile(name string) error {
	part, err := os.CreateTemp(filepath.Dir(name), ".image-*")
	if err != nil {
		return fmt.Errorf("writing image %s: %w", i.Name, err)
	}
	_, err = i.WriteTo(part)
	if err := errors.Join(err, part.Chmod(0o644), part.Close()); err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return os.Rename(part.Name(), name)
}
