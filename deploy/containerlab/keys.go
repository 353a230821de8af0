package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// apiAddresses are those of the API server in the topologies.
var apiAddresses = []net.IP{
	net.IPv4(127, 0, 0, 1), net.IPv4(172, 30, 31, 2), net.IPv4(172, 30, 32, 2), net.IPv4(172, 30, 33, 2),
}

// writeKeys makes the keys of the topologies' API servers in a directory that
// is not there yet: certificates, an administrator's kubeconfig, and what a pod
// of holdfast would find in /var/run/secrets/kubernetes.io/serviceaccount.
func writeKeys(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "keys-")
	if err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	defer os.RemoveAll(part)
	files, err := keyFiles()
	if err != nil {
		return fmt.Errorf("making keys: %w", err)
	}
	for name, content := range files {
		file := filepath.Join(part, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
			return fmt.Errorf("making keys: %w", err)
		}
	}
	return errors.Join(os.Chmod(part, 0o755), os.Rename(part, dir))
}

// keyFiles are the files by their names.
func keyFiles() (map[string][]byte, error) {
	caKey, err := newKey()
	if err != nil {
		return nil, err
	}
	ca := certificate("lab-ca")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	serverKey, err := newKey()
	if err != nil {
		return nil, err
	}
	server := certificate("kube-apiserver")
	server.IPAddresses, server.ExtKeyUsage = apiAddresses, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, ca, serverKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	accounts, err := newKey()
	if err != nil {
		return nil, err
	}
	admin, holdfast := rand.Text(), rand.Text()
	caPEM := encode("CERTIFICATE", caDER)
	files := map[string][]byte{
		"ca.crt":                caPEM,
		"apiserver.crt":         encode("CERTIFICATE", serverDER),
		"serviceaccount/ca.crt": caPEM,
		"serviceaccount/token":  []byte(holdfast),
		"kubeconfig":            fmt.Appendf(nil, kubeconfig, admin),
		// The rights are those of deploy/rbac.yaml.
		"tokens.csv": fmt.Appendf(nil, "%s,admin,admin,system:masters\n%s,system:serviceaccount:holdfast-system:holdfast,holdfast,\"system:serviceaccounts,system:authenticated\"\n", admin, holdfast),
	}
	for name, key := range map[string]*ecdsa.PrivateKey{"apiserver.key": serverKey, "serviceaccounts.key": accounts} {
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return nil, err
		}
		files[name] = encode("EC PRIVATE KEY", der)
	}
	public, err := x509.MarshalPKIXPublicKey(accounts.Public())
	files["serviceaccounts.pub"] = encode("PUBLIC KEY", public)
	return files, err
}

// kubeconfig is the administrator's, in the container of the API server.
const kubeconfig = `apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.crt}
contexts:
- name: lab
  context: {cluster: lab, user: admin}
users:
- name: admin
  user: {token: %s}
`

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// certificate is valid for ten years, from an hour ago, whatever a clock says.
func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
