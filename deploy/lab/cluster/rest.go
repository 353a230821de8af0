package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/deploy/world"
)

// REST is the administrator's access to the API server, for client-go in any
// process that is root: its connections are opened in the lab's network.
func (l *Lab) REST() *rest.Config {
	return restConfig(filepath.Join(l.state, pkiDir), l.NetworkFile(controlPlane))
}

// restConfig dials in the network namespace of a file.
func restConfig(pki, network string) *rest.Config {
	return &rest.Config{
		Host: "https://" + apiAddress(),
		TLSClientConfig: rest.TLSClientConfig{
			CAFile:   filepath.Join(pki, "ca.crt"),
			CertFile: filepath.Join(pki, "admin.crt"),
			KeyFile:  filepath.Join(pki, "admin.key"),
		},
		QPS: -1,
		Dial: func(ctx context.Context, proto, address string) (c net.Conn, err error) {
			err = world.Within(network, func() error {
				c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, proto, address)
				return err
			})
			return c, err
		},
	}
}

// A final error is one after which there is no use in waiting on.
type final struct{ error }

// until calls ask every 50 ms until it has no error, or a final one; when the
// time is up it returns the last one.
func until(ctx context.Context, most time.Duration, ask func(context.Context) error) error {
	end := time.Now().Add(most)
	for {
		err := ask(ctx)
		if err == nil || errors.As(err, &final{}) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %s: %w", most, err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// apiReady asks the API server whether it is ready. Each call is a new
// connection: an old one may belong to a server that was killed.
func apiReady(ctx context.Context, cfg *rest.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	tls, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: cfg.Dial, TLSClientConfig: tls, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.Host+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server is not ready: %s", answer.Status)
	}
	return nil
}

// leaseAge is how old the lease of a node that lives may be: it is renewed
// every 2 s. Of a node that died just now Kubernetes says Ready for 8 s more.
const leaseAge = 4 * time.Second

// nodesReady says which of the nodes is not Ready, or not alive.
func nodesReady(ctx context.Context, api kubernetes.Interface, want []string) error {
	list, err := api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	leases, err := api.CoordinationV1().Leases(corev1.NamespaceNodeLease).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing the leases of nodes: %w", err)
	}
	ready, alive := map[string]bool{}, map[string]bool{}
	for _, n := range list.Items {
		for _, c := range n.Status.Conditions {
			ready[n.Name] = ready[n.Name] || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}
	}
	for _, l := range leases.Items {
		alive[l.Name] = l.Spec.RenewTime != nil && time.Since(l.Spec.RenewTime.Time) < leaseAge
	}
	var not []string
	for _, name := range want {
		if !ready[name] || !alive[name] {
			not = append(not, name)
		}
	}
	if len(not) > 0 {
		return fmt.Errorf("not Ready: %s", strings.Join(not, ", "))
	}
	return nil
}

// WaitNodes waits up to a minute until all nodes are Ready.
func (l *Lab) WaitNodes(ctx context.Context) error {
	api, err := kubernetes.NewForConfig(l.REST())
	if err != nil {
		return err
	}
	err = until(ctx, time.Minute, func(ctx context.Context) error { return nodesReady(ctx, api, l.Nodes()) })
	if err != nil {
		return fmt.Errorf("waiting for the nodes: %w", err)
	}
	return nil
}

// lastLines are the end of a log, for an error message.
func lastLines(file string, n int) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
