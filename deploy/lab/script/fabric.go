package script

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

func init() {
	add("faults", map[string]verb{
		"fabric": {"", "lose PERCENT | split NAME... | whole", "lose: so many of all frames between stations, by chance. split: nothing passes between\nthese stations (nodes, routers, client, client2, cp) and the others", (*run).fabric},
		"busy":   {"", "on|off", "keeps every processor of this machine busy, with four processes each", (*run).busy},
	})
}

func (r *run) fabric(_ context.Context, args []string) error {
	switch kind := first(args); {
	case kind == "whole" && len(args) == 1:
		return setFabric(r.lab, "")
	case kind == "lose" && len(args) == 2:
		percent, err := number(args[1])
		if err != nil {
			return err
		}
		return setFabric(r.lab, fmt.Sprintf("numgen random mod 100 < %d drop", percent))
	case kind == "split" && len(args) > 1:
		var side []string
		for _, name := range args[1:] {
			if !slices.Contains(slices.Concat([]string{"cp", "client", "client2"}, r.lab.Nodes(), r.lab.Routers()), name) {
				return fmt.Errorf("%q is no station of this lab", name)
			}
			if name == "client2" {
				name = "trunk0" // what leads to the second bridge
			} else {
				name = "v-" + name
			}
			side = append(side, fmt.Sprintf("%q", name))
		}
		set := "{ " + strings.Join(side, ", ") + " }"
		return setFabric(r.lab, fmt.Sprintf("iifname %[1]s oifname != %[1]s drop\niifname != %[1]s oifname %[1]s drop", set))
	}
	return fmt.Errorf("want lose PERCENT, split NAME... or whole")
}

// setFabric gives the fabric's first bridge rules for what it forwards; none: all of it.
func setFabric(lab Lab, rules string) error {
	text := "table bridge lab\ndelete table bridge lab\n"
	if rules != "" {
		text += "table bridge lab {\nchain forward {\ntype filter hook forward priority 0;\n" + rules + "\n}\n}\n"
	}
	cmd := lab.Exec("fab", "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("changing what the fabric forwards: %w: %s", err, out)
	}
	return nil
}

// hogs is how many processes keep each processor busy.
const hogs = 4

func (r *run) busy(_ context.Context, args []string) error {
	switch strings.Join(args, " ") {
	case "on":
		for range hogs * runtime.NumCPU() {
			cmd := exec.Command("sh", "-c", "while :; do :; done")
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			if err := cmd.Start(); err != nil {
				return fmt.Errorf("keeping the processors busy: %w", err)
			}
			r.hogs = append(r.hogs, cmd)
		}
		return nil
	case "off":
		return r.idle()
	}
	return fmt.Errorf("want on or off")
}

// idle ends what keeps the processors busy.
func (r *run) idle() error {
	for _, cmd := range r.hogs {
		if err := cmd.Process.Kill(); err != nil {
			return fmt.Errorf("leaving the processors alone: %w", err)
		}
		_ = cmd.Wait() // it was killed
	}
	r.hogs = nil
	return nil
}
