package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every API server of the topologies is believed by whoever has the CA, and
// holdfast's token is one that it knows.
func TestKeysFit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := writeKeys(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	pair, err := tls.X509KeyPair(read("apiserver.crt"), read("apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read("serviceaccount/ca.crt"))
	for _, name := range topologies {
		address := apiAddress(t, name)
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: address}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	tokens := string(read("tokens.csv"))
	if !strings.Contains(tokens, string(read("serviceaccount/token"))+",system:serviceaccount:holdfast-system:holdfast,") {
		t.Errorf("holdfast's token is not in %q", tokens)
	}
	before := read("ca.crt")
	if err := writeKeys(dir); err != nil || string(read("ca.crt")) != string(before) {
		t.Errorf("keys that are there were made anew: %v", err)
	}
}
