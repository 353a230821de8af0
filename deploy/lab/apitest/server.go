// Package apitest runs an etcd and a kube-apiserver on the loopback interface,
// with holdfast's own manifests applied, for tests of package controller that
// nothing but the real API can answer: what the API does with our writes, and
// whether the RBAC in deploy/ allows what is used and no more.
//
// It decides nothing, and leaves nodes, pods and traffic to the lab.
package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/deploy/lab/cluster"
)

// ServiceAccount is whom holdfast's copies are to the API.
const ServiceAccount = "system:serviceaccount:holdfast-system:holdfast"

// A Server is a running API, without controllers and nodes.
type Server struct {
	Admin *rest.Config // may do everything
	API   kubernetes.Interface
	URL   string
	Audit string // file: what ServiceAccount asked for, one JSON object a line

	objects  dynamic.Interface // of all kinds, for the administrator
	dir      string
	kstack   string
	api      []string // its command line
	stop     func()   // kills it
	etcd     []string // its command line
	stopEtcd func()   // kills it
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["` + ServiceAccount + `"]
- level: None
`

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	kstack, err := cluster.Kubernetes(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: t.TempDir(), kstack: kstack}
	s.Audit = filepath.Join(s.dir, "audit.log")
	s.file(t, "tokens.csv", "admin,admin,1,system:masters\n"+
		"copy,"+ServiceAccount+`,2,"system:serviceaccounts,system:serviceaccounts:holdfast-system"`+"\n")
	s.file(t, "audit.yaml", auditPolicy)
	ports := freePorts(t, 3)
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	s.etcd = []string{"etcd", "--data-dir=" + filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer}
	s.stopEtcd = s.daemon(t, s.etcd...)
	s.key(t)
	s.api = []string{"kube-apiserver", "--etcd-servers=" + client, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", ports[2]),
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112", "--cert-dir=" + s.dir,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + filepath.Join(s.dir, "sa.key"), "--service-account-key-file=" + filepath.Join(s.dir, "sa.key"),
		"--token-auth-file=" + filepath.Join(s.dir, "tokens.csv"), "--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount", "--allow-privileged=true",
		"--audit-policy-file=" + filepath.Join(s.dir, "audit.yaml"), "--audit-log-path=" + s.Audit}
	s.URL = fmt.Sprintf("https://127.0.0.1:%d", ports[2])
	s.Admin = &rest.Config{Host: s.URL, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: -1}
	if s.API, err = kubernetes.NewForConfig(s.Admin); err != nil {
		t.Fatal(err)
	}
	if s.objects, err = dynamic.NewForConfig(s.Admin); err != nil {
		t.Fatal(err)
	}
	s.StartAPI(t)
	s.file(t, "kubeconfig", fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":%q,"insecure-skip-tls-verify":true}}],
"users":[{"name":"u","user":{"token":"admin"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}]}`, s.URL))
	s.Kubectl(t, "apply", "-k", "../../crds")
	s.Kubectl(t, "apply", "-k", "../..")
	for _, crd := range s.get(t, "", "customresourcedefinitions") {
		kind, _, _ := strings.Cut(crd.GetName(), ".")
		eventually(t, kind+" served", func() bool {
			_, err := s.of(kind, "holdfast-system").List(t.Context(), metav1.ListOptions{})
			return err == nil
		})
	}
	return s
}

// StopAPI kills the API server; etcd stays.
func (s *Server) StopAPI(t testing.TB) { s.stop() }

// StartAPI starts the API server, and returns when it is ready.
func (s *Server) StartAPI(t testing.TB) {
	t.Helper()
	s.stop = s.daemon(t, s.api...)
	s.await(t)
}

// Backup keeps what etcd holds now, which etcd and the API server are stopped for;
// both are running again when it returns.
func (s *Server) Backup(t testing.TB) {
	t.Helper()
	s.whileStopped(t, func() error {
		return os.CopyFS(filepath.Join(s.dir, "backup"), os.DirFS(filepath.Join(s.dir, "etcd")))
	})
}

// Restore puts etcd back to what the last Backup kept, and starts it and the API
// server anew, as Kubernetes wants it: https://kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd/.
func (s *Server) Restore(t testing.TB) {
	t.Helper()
	s.whileStopped(t, func() error {
		if err := os.RemoveAll(filepath.Join(s.dir, "etcd")); err != nil {
			return err
		}
		return os.Rename(filepath.Join(s.dir, "backup"), filepath.Join(s.dir, "etcd"))
	})
}

func (s *Server) whileStopped(t testing.TB, do func() error) {
	t.Helper()
	s.StopAPI(t)
	s.stopEtcd()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	s.stopEtcd = s.daemon(t, s.etcd...)
	s.StartAPI(t)
}

// Copy returns the configuration of a client that is one of holdfast's copies.
func (s *Server) Copy() *rest.Config {
	c := rest.CopyConfig(s.Admin)
	c.BearerToken = "copy"
	return c
}

// Kubectl runs kubectl as administrator and returns what it prints.
func (s *Server) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.Try("", args...)
	if err != nil {
		t.Fatalf("kubectl %v: %v", args, err)
	}
	return out
}

// Try runs kubectl as administrator with that input.
func (s *Server) Try(input string, args ...string) (string, error) {
	cmd := exec.Command(s.kstack, append([]string{"kubectl", "--kubeconfig=" + filepath.Join(s.dir, "kubeconfig")}, args...)...)
	cmd.Stdin = bytes.NewBufferString(input)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, problems.String())
	}
	return out.String(), nil
}

func (s *Server) file(t testing.TB, name, content string) {
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) daemon(t testing.TB, args ...string) (stop func()) {
	log, err := os.Create(filepath.Join(s.dir, args[0]+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.kstack, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait(); log.Close() })
	t.Cleanup(stop)
	return stop
}

func (s *Server) await(t testing.TB) {
	transport, err := rest.HTTPClientFor(s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
		if answer, err := transport.Do(req); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		} else if errors.Is(err, context.DeadlineExceeded) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "kube-apiserver.log"))
			t.Fatalf("the API server does not get ready:\n%s", log)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func freePorts(t testing.TB, n int) (ports []int) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// eventually waits until what becomes true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not seen within 30 s: %s", what)
		}
	}
}
