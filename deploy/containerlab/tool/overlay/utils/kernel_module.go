// Package utils: this file stands in for containerlab's own of the same name
// when the tool is built.
//
// Containerlab stops on a kernel without /proc/modules. Such a kernel has no
// loadable modules: what it can do is built in, and nothing is to be loaded.
// In all else this file does what the original promises to its callers.
package utils

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const loadedModules = "/proc/modules"

// IsKernelModuleLoaded tells whether there is no need to load a module.
func IsKernelModuleLoaded(name string) (bool, error) {
	list, err := os.Open(loadedModules)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("looking for kernel module %s: %w", name, err)
	}
	defer list.Close()
	scan := bufio.NewScanner(list)
	for scan.Scan() {
		if strings.HasPrefix(scan.Text(), name+" ") {
			return true, nil
		}
	}
	return false, scan.Err()
}

// ModInitFunc loads the module that is in a file. A packed one is left to the
// kernel to unpack.
func ModInitFunc(file, parameters string, _ int) error {
	module, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("loading a kernel module: %w", err)
	}
	defer module.Close()
	var flags int
	if !strings.HasSuffix(file, ".ko") {
		flags |= unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(module.Fd()), parameters, flags); err != nil {
		return fmt.Errorf("loading kernel module %s: %w", file, err)
	}
	return nil
}

// KernelVersion is the version in a release such as 6.1.0-18-amd64.
type KernelVersion struct {
	Major, Minor, Revision int
	Remainder              string
}

// GetKernelVersion reads the version of the kernel that runs.
func GetKernelVersion() (*KernelVersion, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return nil, fmt.Errorf("asking for the kernel's version: %w", err)
	}
	release, v := unix.ByteSliceToString(name.Release[:]), &KernelVersion{}
	// The remainder may be missing.
	if n, err := fmt.Sscanf(release, "%d.%d.%d%s", &v.Major, &v.Minor, &v.Revision, &v.Remainder); n < 3 {
		return nil, fmt.Errorf("the kernel's release %q does not begin with three numbers: %w", release, err)
	}
	return v, nil
}

func (v *KernelVersion) String() string {
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Revision)
}

// GreaterOrEqual tells whether v is not older than w.
func (v *KernelVersion) GreaterOrEqual(w *KernelVersion) bool {
	ours, theirs := []int{v.Major, v.Minor, v.Revision}, []int{w.Major, w.Minor, w.Revision}
	for i := range ours {
		if ours[i] != theirs[i] {
			return ours[i] > theirs[i]
		}
	}
	return true
}
