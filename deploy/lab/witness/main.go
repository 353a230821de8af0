package witness

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `usage: lab witness [-interface eth0]

Writes every announcement of an address (gratuitous ARP, neighbour advertisement,
answer) that reaches the interface as a line of JSON. Each line of stdin is an address
to ask for. Runs until interrupted or until stdin ends.

flags:
`

// Main is the command: it hears in the network namespace that it runs in.
func Main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("witness", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	name := flags.String("interface", "eth0", "the interface to hear")
	if err := flags.Parse(args); err == flag.ErrHelp {
		return 0
	} else if err != nil || flags.NArg() > 0 {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	wire, err := OpenWire(*name)
	if err == nil {
		go func() {
			defer stop()
			for in := bufio.NewScanner(os.Stdin); in.Scan(); {
				if err := ask(wire, in.Text()); err != nil {
					fmt.Fprintln(stderr, "lab witness:", err)
				}
			}
		}()
		out := json.NewEncoder(stdout)
		err = wire.Hear(ctx, func(a Announcement) { _ = out.Encode(a) }) // nobody reads: stdin ends too
	}
	if err != nil {
		fmt.Fprintln(stderr, "lab witness:", err)
		return 1
	}
	return 0
}

func ask(w *Wire, line string) error {
	addr, err := netip.ParseAddr(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	return w.Ask(addr)
}
