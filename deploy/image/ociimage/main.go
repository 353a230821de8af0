// Ociimage writes a container image of static binaries as a tar, without
// Docker: `ociimage -o x.tar -name example.org/x:v1 -entrypoint /x /x=bin/x`.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"holdfast.dev/holdfast/deploy/image"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "ociimage:", err)
		os.Exit(1)
	}
}

func run() error {
	out := flag.String("o", "", "`file` to write")
	name := flag.String("name", "", "full `reference` of the image, with a tag")
	entrypoint := flag.String("entrypoint", "", "`command` to run, words parted by spaces")
	user := flag.String("user", "", "`uid` or uid:gid to run as (default root)")
	arch := flag.String("arch", "", "`GOARCH` of the binaries (default this machine's)")
	labels := map[string]string{}
	flag.Func("label", "`name=value`; may be repeated", func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want name=value")
		}
		labels[k] = v
		return nil
	})
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: ociimage [flags] PATH_IN_IMAGE=FILE...")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *out == "" || flag.NArg() == 0 {
		flag.Usage()
		return errors.New("-o and at least one file are needed")
	}
	i := image.Image{Name: *name, Entrypoint: strings.Fields(*entrypoint), User: *user, Arch: *arch, Labels: labels}
	for _, arg := range flag.Args() {
		inside, file, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("argument %q: want PATH_IN_IMAGE=FILE", arg)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading a file of the image: %w", err)
		}
		i.Files = append(i.Files, image.File{Path: inside, Content: content})
	}
	return i.WriteFile(filepath.Clean(*out))
}
