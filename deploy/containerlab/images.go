package main

import (
	"archive/tar"
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The images of the topologies, by the names that they have there.
const (
	routerImage   = "holdfast/router:dev" // FRR and BIRD, from the packages of this machine
	nodeImage     = "holdfast/node:dev"   // a machine of the cluster: a server, and what one looks around with
	apiImage      = "holdfast/api:dev"    // etcd, kube-apiserver, kubectl
	holdfastImage = "holdfast:dev"        // the product, as it is shipped
)

var (
	//go:embed router.sh
	routerScript []byte
	//go:embed api.sh
	apiScript []byte
)

// frrDir is where the packages of Debian and Ubuntu have FRR's daemons.
const frrDir = "/usr/lib/frr/"

var (
	// tools are in every image of a machine.
	tools = []string{"sh", "bash", "cat", "ls", "mkdir", "touch", "test", "sleep", "grep", "sed", "ip", "ss"}
	// welcome are in them too if this machine has them.
	welcome = []string{"ping", "tcpdump", "ps"}
	// routing are the programs of routers.
	routing = []string{frrDir + "zebra", frrDir + "staticd", frrDir + "bgpd", frrDir + "bfdd", "vtysh", "bird", "birdc"}
)

// loadImages gives all images to the docker daemon.
func loadImages(ctx context.Context, p parts) error {
	if err := importImage(ctx, routerImage, routerFiles, "CMD", "router"); err != nil {
		return err
	}
	if err := importImage(ctx, nodeImage, nodeFiles(p.Echo), "CMD", "echo-server", "-tcp", "80"); err != nil {
		return err
	}
	if err := importImage(ctx, apiImage, apiFiles(p.Kubernetes), "CMD", "api"); err != nil {
		return err
	}
	return loadHoldfast(ctx, p.Holdfast)
}

// loadHoldfast loads the archive of the real image under the name that it has
// in the topologies.
func loadHoldfast(ctx context.Context, archive string) error {
	said, err := docker(ctx, nil, "load", "--quiet", "--input", archive)
	if err != nil {
		return fmt.Errorf("image %s: %w", holdfastImage, err)
	}
	_, name, _ := strings.Cut(strings.TrimSpace(said), ": ") // Loaded image: NAME
	if _, err := docker(ctx, nil, "tag", name, holdfastImage); err != nil {
		return fmt.Errorf("image %s: %w", holdfastImage, err)
	}
	return nil
}

// importImage makes an image of the files that fill adds, with one command.
func importImage(ctx context.Context, name string, fill func(*layer) error, change ...string) error {
	quoted := make([]string, len(change)-1)
	for i, word := range change[1:] {
		quoted[i] = fmt.Sprintf("%q", word)
	}
	pr, pw := io.Pipe()
	filled := make(chan error, 1)
	go func() {
		l := &layer{tar: tar.NewWriter(pw), seen: map[string]bool{}}
		err := fill(l)
		err = errors.Join(err, l.tar.Close())
		pw.CloseWithError(err)
		filled <- err
	}()
	_, err := docker(ctx, pr, "import", "--change", change[0]+" ["+strings.Join(quoted, ",")+"]",
		"--change", "ENV PATH=/usr/bin:/usr/sbin KUBECONFIG=/keys/kubeconfig", "-", name)
	pr.CloseWithError(errors.New("docker import ended"))
	if err := errors.Join(<-filled, err); err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	return nil
}

// routerFiles are those of a router. vtysh asks PAM who one is: everybody may.
func routerFiles(l *layer) error {
	if err := l.machine(append(routing, tools...)...); err != nil {
		return err
	}
	modules, err := filepath.Glob("/usr/lib/*/security/pam_permit.so")
	if err != nil || len(modules) == 0 {
		return errors.New("pam_permit.so is nowhere below /usr/lib")
	}
	return errors.Join(
		l.withLibraries(modules[0]),
		l.text("/etc/passwd", "root:x:0:0::/root:/bin/sh\nfrr:x:100:100::/run/frr:/bin/false\nbird:x:102:102::/run:/bin/false\n"),
		l.text("/etc/group", "root:x:0:\nfrr:x:100:\nfrrvty:x:101:frr\nbird:x:102:\n"),
		l.text("/etc/pam.d/frr", "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n"),
		l.text("/etc/frr/vtysh.conf", ""),
		l.directory("/run/bird", 0o755), l.directory("/run/frr", 0o777), l.directory("/var/tmp/frr", 0o777),
		l.program("/usr/bin/router", routerScript),
	)
}

func nodeFiles(echo string) func(*layer) error {
	return func(l *layer) error {
		return errors.Join(l.machine(tools...), l.file(echo, "/usr/bin/echo-server"))
	}
}

func apiFiles(kubernetes string) func(*layer) error {
	return func(l *layer) error {
		err := errors.Join(l.machine(tools...), l.file(kubernetes, "/usr/bin/kubernetes"), l.program("/usr/bin/api", apiScript))
		for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
			err = errors.Join(err, l.link("/usr/bin/"+name, "kubernetes"))
		}
		return err
	}
}

// A layer is a file system that is being written.
type layer struct {
	tar  *tar.Writer
	seen map[string]bool
}

// machine adds what every machine has, and programs with their libraries.
func (l *layer) machine(programs ...string) error {
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := l.link("/"+d, "usr/"+d); err != nil {
			return err
		}
	}
	for _, d := range []string{"/proc", "/sys", "/dev", "/root", "/tmp", "/run", "/var"} {
		if err := l.directory(d, 0o755); err != nil {
			return err
		}
	}
	if err := l.link("/var/run", "/run"); err != nil {
		return err
	}
	var files []string
	for _, name := range append(programs, welcome...) {
		file, err := exec.LookPath(name)
		switch {
		case err == nil:
			files = append(files, file)
		case !slices.Contains(welcome, name):
			return err
		}
	}
	return l.withLibraries(files...)
}

var library = regexp.MustCompile(`/\S+\.so\S*`)

// withLibraries adds files and the libraries that they are linked to.
func (l *layer) withLibraries(files ...string) error {
	out, err := output(exec.Command("ldd", files...))
	if err != nil {
		return err
	}
	for _, f := range append(files, library.FindAllString(out, -1)...) {
		to := f
		if !strings.HasPrefix(to, "/usr/") {
			to = "/usr" + to // /lib and /bin are links
		}
		if err := l.file(f, to); err != nil {
			return err
		}
	}
	return nil
}

func (l *layer) file(from, to string) error {
	content, err := os.Open(from)
	if err != nil {
		return err
	}
	defer content.Close()
	info, err := content.Stat()
	if err != nil {
		return err
	}
	return l.add(&tar.Header{Typeflag: tar.TypeReg, Name: to, Mode: int64(info.Mode().Perm()), Size: info.Size()}, bufio.NewReader(content))
}

func (l *layer) text(to, content string) error {
	return l.add(&tar.Header{Typeflag: tar.TypeReg, Name: to, Mode: 0o644, Size: int64(len(content))}, strings.NewReader(content))
}

func (l *layer) program(to string, content []byte) error {
	return l.add(&tar.Header{Typeflag: tar.TypeReg, Name: to, Mode: 0o755, Size: int64(len(content))}, strings.NewReader(string(content)))
}

func (l *layer) link(from, to string) error {
	return l.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: from, Linkname: to}, nil)
}

func (l *layer) directory(name string, mode int64) error {
	return l.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

// add writes one entry after the directories that it is in, unless it is
// there already.
func (l *layer) add(h *tar.Header, content io.Reader) error {
	if l.seen[h.Name] {
		return nil
	}
	if dir := path.Dir(h.Name); dir != "/" {
		if err := l.directory(dir, 0o755); err != nil {
			return err
		}
	}
	l.seen[h.Name] = true
	h.Name = strings.TrimPrefix(h.Name, "/")
	if err := l.tar.WriteHeader(h); err != nil || content == nil {
		return err
	}
	_, err := io.Copy(l.tar, content)
	return err
}
