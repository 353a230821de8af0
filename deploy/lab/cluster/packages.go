package cluster

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed packages.txt
var packageList string

// MissingPackages are the Debian packages that a lab needs and that are not
// installed, judged by the programs in them.
func MissingPackages() (missing []string) {
	for line := range strings.Lines(packageList) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] == "#" {
			continue
		}
		for _, program := range f[1:] {
			if !installed(program) {
				missing = append(missing, f[0])
				break
			}
		}
	}
	return missing
}

// installed looks for a program by its name, or by one of several paths.
func installed(program string) bool {
	candidates := strings.Split(program, "|")
	if !filepath.IsAbs(program) {
		candidates = nil
		for _, dir := range filepath.SplitList(strings.TrimPrefix(searchPath, "PATH=")) {
			candidates = append(candidates, filepath.Join(dir, program))
		}
	}
	for _, c := range candidates {
		if _, err := os.Stat(c); err == nil {
			return true
		}
	}
	return false
}

// requirePackages says what to install.
func requirePackages() error {
	if missing := MissingPackages(); len(missing) > 0 {
		names := strings.Join(missing, " ")
		return fmt.Errorf("not installed: %s\n  on Debian or Ubuntu: apt-get install --no-install-recommends %s", names, names)
	}
	return nil
}

// InstallPackages installs what is missing, as root on Debian or Ubuntu;
// elsewhere it says what is missing.
func InstallPackages(progress io.Writer) error {
	missing := MissingPackages()
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return requirePackages()
	}
	fmt.Fprintln(progress, "installing", strings.Join(missing, " "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...)} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return requirePackages()
}
