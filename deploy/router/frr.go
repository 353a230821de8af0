package router

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// frr is FRR: a name of its own for every instance (-N) gives it directories of
// its own below /etc/frr and /run/frr.
type frr struct {
	name, config string
	daemons      [][]string // name and flags; never zebra
}

// StartFRR starts FRR in a network namespace with an integrated configuration:
// zebra and the named daemons, or staticd, bfdd and bgpd if none is named. A
// daemon's name may be followed by flags ("bgpd --bgp_port 1179"). There must be
// no other FRR in the namespace, and none of this name in the world. The context
// bounds the start, which takes about 0.3 s.
func StartFRR(ctx context.Context, ns, name, config string, daemons ...string) (*Router, error) {
	if len(daemons) == 0 {
		daemons = []string{"staticd", "bfdd", "bgpd"}
	}
	f := &frr{name: name, config: config}
	programs := []string{filepath.Join(frrPrograms, "zebra"), "vtysh"}
	for _, d := range daemons {
		argv := strings.Fields(d)
		if len(argv) == 0 {
			return nil, fmt.Errorf("starting router %s: a daemon without a name", name)
		}
		if argv[0] == "zebra" {
			continue // always there
		}
		f.daemons = append(f.daemons, argv)
		programs = append(programs, filepath.Join(frrPrograms, argv[0]))
	}
	return start(ctx, ns, name, f, frrPackage, programs...)
}

func (f *frr) etc() string  { return filepath.Join("/etc/frr", f.name) }
func (f *frr) logs() string { return filepath.Join("/run/frr", f.name) }

func (f *frr) socket(daemon string) string { return filepath.Join(f.logs(), daemon+".vty") }

func (f *frr) write() error {
	owner, err := user.Lookup("frr")
	if err != nil {
		return fmt.Errorf("looking up the user that FRR's daemons become: %w", err)
	}
	uid, err1 := strconv.Atoi(owner.Uid)
	gid, err2 := strconv.Atoi(owner.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(f.etc(), 0o755), os.MkdirAll(f.logs(), 0o755)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(f.etc(), "vtysh.conf"), nil, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(f.etc(), "frr.conf"), []byte(f.config), 0o644); err != nil {
		return err
	}
	return errors.Join(os.Chown(f.logs(), uid, gid), os.Chown(filepath.Dir(f.logs()), uid, gid))
}

// inPrivate runs a daemon with a /var/tmp of its own: FRR leaves a directory
// there for every process.
var inPrivate = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o mode=1777 tmpfs /var/tmp && exec "$@"`, "sh"}

// zebra changes the next hops of an IPv6 route in one step only with this flag.
// Without, it deletes the route and adds it again, and what arrives in between, up to
// 0.9 ms, is lost.
var zebra = []string{"zebra", "--v6-rr-semantics"}

// stages start zebra first: a daemon that does not find it tries again only
// after ten seconds. It keeps by itself what a killed bgpd with graceful restart leaves.
func (f *frr) stages(bool) [][]program {
	run := func(d []string) program {
		daemon := []string{filepath.Join(frrPrograms, d[0]), "-N", f.name, "-P", "0", "--log", "stdout"}
		return program{d[0], slices.Concat(inPrivate, daemon, d[1:])}
	}
	var rest []program
	for _, d := range f.daemons {
		rest = append(rest, run(d))
	}
	return [][]program{{run(zebra)}, rest}
}

// load has vtysh hand every daemon its part. It tells of lines that nobody
// understands, and of those that are refused.
func (f *frr) load(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "vtysh", "-N", f.name, "-b").CombinedOutput()
	if text := bytes.TrimSpace(out); err != nil || bytes.Contains(text, []byte("%")) || bytes.Contains(text, []byte("line ")) {
		return fmt.Errorf("loading the configuration: %w: %s", orRefused(err), text)
	}
	return nil
}

func (f *frr) command(line string) []string { return []string{"vtysh", "-N", f.name, "-c", line} }

// answer takes an answer that begins with a percent sign for a refusal: vtysh
// does not always say so by its exit code.
func (f *frr) answer(out []byte) ([]byte, error) {
	if bytes.HasPrefix(bytes.TrimSpace(out), []byte("%")) {
		return out, errRefused
	}
	return out, nil
}

func (f *frr) configure(text string) error {
	argv := []string{"-N", f.name, "-c", "configure terminal"}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			argv = append(argv, "-c", line)
		}
	}
	out, err := exec.Command("vtysh", argv...).CombinedOutput()
	if err == nil {
		_, err = f.answer(out)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

var errRefused = errors.New("refused")

func orRefused(err error) error {
	if err == nil {
		return errRefused
	}
	return err
}
