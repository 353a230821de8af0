// Echo is the workload behind the lab's Services: it says who answered, as
// cheaply as it can.
//
// A TCP connection gets one line, "NAME PEER", and then back what it sends. A
// UDP datagram comes back with NAME added. After SIGTERM it stays
// ready and goes on answering for the linger time, as a pod with a preStop sleep
// does, and ends then. A pod that turns unready at once is given up by kube-proxy
// at once, even where no other one serves yet.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("echo ends", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	var tcp, udp ports
	name := flag.String("name", defaultName(), "what to answer with (default $NAME, or the host name)")
	flag.Var(&tcp, "tcp", "TCP `ports`, such as 8080,9000-9010; may be repeated")
	flag.Var(&udp, "udp", "UDP `ports`, likewise")
	ready := flag.String("ready", ":8079", "`address` of the readiness check (HTTP)")
	linger := flag.Duration("linger", 5*time.Second, "how long to go on answering after SIGTERM")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("argument %q: only flags are taken", flag.Arg(0))
	}
	s, err := listen(*name, tcp, udp, *ready)
	if err != nil {
		return err
	}
	log.Info("answering", "name", *name, "tcp", tcp.String(), "udp", udp.String())
	ended := make(chan error, 1)
	go func() { ended <- s.serve() }()
	terminated, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	select {
	case err := <-ended:
		return err
	case <-terminated.Done():
	}
	log.Info("leaving", "linger", *linger)
	select {
	case err := <-ended:
		return err
	case <-time.After(*linger):
		return nil
	}
}

func defaultName() string {
	if n := os.Getenv("NAME"); n != "" {
		return n
	}
	n, err := os.Hostname()
	if err != nil {
		return "echo"
	}
	return n
}
