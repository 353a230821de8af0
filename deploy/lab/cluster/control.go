package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A request is what a command outside asks of the supervisor.
type request struct {
	Verb string
	Node string // or router
	Text string // what a router is told
}

// A response is its answer.
type response struct {
	Error  string
	Status *Status
	Text   string        // what a router answered
	Router *RouterStatus // of the one that was asked for
}

// A Status is what a lab is doing. Readiness of nodes is Kubernetes' word, not
// the supervisor's: ask its API.
type Status struct {
	Nodes   []NodeStatus
	Routers []string // names
	API     bool     // the API server runs
}

// A NodeStatus is the state of one node.
type NodeStatus struct {
	Name    string
	Powered bool
	Pid     int    // its pid 1, as seen in the lab's world; 0 if it is off
	Plugged bool   // its cable
	Cut     string // from the API server: "", "all" or "pods"
}

// listen serves requests in the background.
func (s *supervisor) listen() error {
	l, err := net.Listen("unix", filepath.Join(stateInside, controlFile))
	if err != nil {
		return fmt.Errorf("listening for commands: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				s.log.Error("no commands are taken any more", "error", err)
				return
			}
			go s.answer(c)
		}
	}()
	return nil
}

func (s *supervisor) answer(c net.Conn) {
	defer c.Close()
	var q request
	if err := json.NewDecoder(c).Decode(&q); err != nil {
		s.log.Warn("command not understood", "error", err)
		return
	}
	var r response
	var err error
	if strings.HasPrefix(q.Verb, routerVerbs) {
		err = s.obeyRouter(q, &r)
	} else {
		r.Status, err = s.obey(q)
	}
	s.log.Info("command", "verb", q.Verb, "node", q.Node, "error", err)
	if err != nil {
		r.Error = err.Error()
	}
	if err := json.NewEncoder(c).Encode(r); err != nil {
		s.log.Warn("answer not delivered", "error", err)
	}
}

// obey does what is asked, one thing at a time.
func (s *supervisor) obey(q request) (*Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch q.Verb {
	case "status":
		return s.status(), nil
	case "api-stop":
		s.apiserver.stop()
		s.scheduler.stop()
		s.controllers.stop()
		return nil, nil
	case "api-start":
		return nil, s.apiserver.start()
	case "controllers-start":
		return nil, errors.Join(s.controllers.start(), s.scheduler.start())
	}
	for _, m := range s.machines {
		if m.name == q.Node {
			return nil, s.obeyNode(q.Verb, m)
		}
	}
	return nil, fmt.Errorf("%q is no node of this lab", q.Node)
}

func (s *supervisor) obeyNode(verb string, m *machine) error {
	switch verb {
	case "power-on":
		return s.powerOn(m)
	case "power-off":
		return s.powerOff(m)
	case "cable-pull", "cable-plug":
		return s.setCable(m, verb == "cable-pull")
	case "api-cut":
		return s.setCut(m, cutAll)
	case "api-cut-pods":
		return s.setCut(m, cutPods)
	case "api-join":
		return s.setCut(m, cutNothing)
	default:
		return fmt.Errorf("a lab does not know how to %q", verb)
	}
}

func (s *supervisor) status() *Status {
	st := &Status{API: s.apiserver.running(), Routers: s.options.routerNames()}
	for _, m := range s.machines {
		n := NodeStatus{Name: m.name, Powered: m.powered(), Plugged: !m.pulled, Cut: string(m.cut)}
		if n.Powered {
			n.Pid = m.cmd.Process.Pid
		}
		st.Nodes = append(st.Nodes, n)
	}
	return st
}

// ask sends one request to the supervisor.
func (l *Lab) ask(q request) (*response, error) {
	dir, err := os.Open(l.state)
	if err != nil {
		return nil, ErrNotRunning
	}
	defer dir.Close()
	// The path of a socket has at most 107 bytes; this one is short whatever
	// the directory is called.
	c, err := net.DialTimeout("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), controlFile), 10*time.Second)
	if err != nil {
		return nil, fmt.Errorf("talking to the lab: %w", err)
	}
	defer c.Close()
	if err := json.NewEncoder(c).Encode(q); err != nil {
		return nil, fmt.Errorf("talking to the lab: %w", err)
	}
	var r response
	if err := json.NewDecoder(c).Decode(&r); err != nil {
		return nil, fmt.Errorf("waiting for the lab's answer: %w", err)
	}
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return &r, nil
}

func (l *Lab) order(verb, node string) error {
	_, err := l.ask(request{Verb: verb, Node: node})
	return err
}

// Status asks the lab what it is doing.
func (l *Lab) Status() (*Status, error) {
	r, err := l.ask(request{Verb: "status"})
	if err != nil {
		return nil, err
	}
	return r.Status, nil
}

// PowerOff takes a node's power away: its cable goes dark first, then every
// process dies, and all but its disk is gone. It is an error if it is off.
func (l *Lab) PowerOff(node string) error { return l.order("power-off", node) }

// PowerOn boots a node and does not wait for it. It is an error if it is on.
func (l *Lab) PowerOn(node string) error { return l.order("power-on", node) }

// CablePull takes the carrier from a node's eth0, until CablePlug.
func (l *Lab) CablePull(node string) error { return l.order("cable-pull", node) }

// CablePlug undoes CablePull.
func (l *Lab) CablePlug(node string) error { return l.order("cable-plug", node) }

// APICut drops every packet between a node and the API server, those of
// established connections too, until APIJoin. The node's kubelet is cut off as
// well, so that Kubernetes calls the node unready after 8 s.
func (l *Lab) APICut(node string) error { return l.order("api-cut", node) }

// APICutPods cuts only those off that use the API server's Service, as pods
// do, holdfast among them; the kubelet is not.
func (l *Lab) APICutPods(node string) error { return l.order("api-cut-pods", node) }

// APIJoin undoes APICut and APICutPods.
func (l *Lab) APIJoin(node string) error { return l.order("api-join", node) }

// APIStop kills the API server; etcd stays. Its connections end, and new ones
// are refused. Controllers and scheduler end too, as those do that lose the
// lease by which they were elected.
func (l *Lab) APIStop() error { return l.order("api-stop", "") }

// APIStart starts the API server if it does not run, and when it is ready
// controllers and scheduler.
func (l *Lab) APIStart(ctx context.Context) error {
	if err := l.order("api-start", ""); err != nil {
		return err
	}
	err := until(ctx, time.Minute, func(ctx context.Context) error { return apiReady(ctx, l.REST()) })
	if err != nil {
		return fmt.Errorf("waiting for the API server: %w", err)
	}
	return l.order("controllers-start", "")
}

// Restore undoes every outage: the API server runs, all nodes are powered,
// plugged, joined, and Ready; the routers run as they did at first.
func (l *Lab) Restore(ctx context.Context) error {
	status, err := l.Status()
	if err != nil {
		return err
	}
	if err := l.APIStart(ctx); err != nil {
		return err
	}
	for _, n := range status.Nodes {
		var errs []error
		if !n.Plugged {
			errs = append(errs, l.CablePlug(n.Name))
		}
		if n.Cut != "" {
			errs = append(errs, l.APIJoin(n.Name))
		}
		if !n.Powered {
			errs = append(errs, l.PowerOn(n.Name))
		}
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("restoring %s: %w", n.Name, err)
		}
	}
	for _, name := range status.Routers {
		if err := l.order(routerRestore, name); err != nil {
			return fmt.Errorf("restoring router %s: %w", name, err)
		}
	}
	return l.WaitNodes(ctx)
}
