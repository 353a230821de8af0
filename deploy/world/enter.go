package world

import (
	"fmt"
	"os/exec"
	"strconv"
)

// Enter is argv to be run in the namespaces of a process of another world: its
// mounts, network, host name, IPC and process ids. It starts in directory dir
// as it is there, and is killed when the process that started it ends. By its
// pid namespace it dies with that world.
func Enter(pid int, dir string, argv ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{
		"--target", strconv.Itoa(pid), "--mount", "--net", "--uts", "--ipc", "--pid", "--",
		"setpriv", "--pdeathsig", "KILL", "--", "env", "--chdir=" + dir}, argv...)...)
}

// EnterNetwork is argv to be run in one network namespace of another world and
// otherwise where the caller is. Signals to the command reach argv itself.
func EnterNetwork(file string, argv ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + file, "--"}, argv...)...)
}

// NetworkFile is the file of a named network namespace in the world of pid,
// as seen from outside; for [Within] and [EnterNetwork].
func NetworkFile(pid int, ns string) string {
	return fmt.Sprintf("/proc/%d/root/run/netns/%s", pid, ns)
}
