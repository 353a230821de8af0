package speaker

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// booting is how long after a node's boot kube-proxy may not have programmed it yet.
const booting = 3 * time.Minute

// booted tells whether this node was booted a short while ago: then it serves nothing
// yet, whatever it served before. Where that cannot be read, it was not.
func booted() bool {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return false
	}
	up, ok := uptime(string(text))
	return ok && up < booting
}

// uptime reads what proc_uptime(5) describes.
func uptime(text string) (time.Duration, bool) {
	first, _, _ := strings.Cut(text, " ")
	seconds, err := strconv.ParseFloat(first, 64)
	return time.Duration(seconds * float64(time.Second)), err == nil
}
