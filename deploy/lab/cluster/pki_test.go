package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	o := Options{Nodes: 2}
	if err := writePKI(dir, o); err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	for file, group := range map[string]string{"admin": "system:masters", "node2": "system:nodes", "scheduler": ""} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, file+".crt"), filepath.Join(dir, file+".key"))
		if err != nil {
			t.Fatal(err)
		}
		use := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := pair.Leaf.Verify(use); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if got := append(pair.Leaf.Subject.Organization, "")[0]; got != group {
			t.Errorf("%s is in group %q, want %q", file, got, group)
		}
		if _, err := os.Stat(filepath.Join(dir, file+".kubeconfig")); err != nil {
			t.Error(err)
		}
	}
	server, err := tls.LoadX509KeyPair(filepath.Join(dir, "apiserver.crt"), filepath.Join(dir, "apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"172.30.0.2", "fd30::2", serviceAPI, "kubernetes.default.svc"} {
		if _, err := server.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("API server as %s: %v", name, err)
		}
	}
}
