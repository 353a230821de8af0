package cluster

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Inside is what a binary does when its first argument is `inside`: a part of
// a lab that this package started it for. It returns the exit code.
func Inside(args []string, log *slog.Logger) int {
	code, err := inside(args, log)
	if err != nil {
		log.Error("a part of the lab ends", "error", err)
		return 1
	}
	return code
}

func inside(args []string, log *slog.Logger) (int, error) {
	switch {
	case len(args) == 3 && args[0] == "lab":
		var o Options
		if err := json.Unmarshal([]byte(args[2]), &o); err != nil {
			return 0, fmt.Errorf("reading the options: %w", err)
		}
		return 0, supervise(args[1], o, log)
	case len(args) == 2 && args[0] == "node":
		return boot(args[1])
	case len(args) == 2 && args[0] == "runtime":
		return 0, runNode(args[1], log)
	default:
		return 0, fmt.Errorf("arguments %q: this command is for the lab itself", args)
	}
}
