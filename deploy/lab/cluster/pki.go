package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A pki is the certificate authority of one lab, and the directory in which
// its certificates are.
type pki struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A bearer is somebody who gets a certificate.
type bearer struct {
	file   string // name of its files
	common string // whom it is for Kubernetes
	group  string
	hosts  []string // for a server: the names and addresses it answers to
}

// servers and clients of the control plane; each node's kubelet comes on top.
var bearers = []bearer{
	{file: "apiserver", common: "kube-apiserver", hosts: []string{"localhost", "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "127.0.0.1", serviceAPI, cpStation.v4().String(), cpStation.v6().String()}},
	{file: "apiserver-kubelet", common: "kube-apiserver-kubelet-client", group: "system:masters"},
	{file: "admin", common: "admin", group: "system:masters"},
	{file: "controller-manager", common: "system:kube-controller-manager"},
	{file: "scheduler", common: "system:kube-scheduler"},
	{file: "proxy", common: "system:kube-proxy"},
}

// writePKI makes every key, certificate and kubeconfig of a lab.
func writePKI(dir string, o Options) error {
	p, err := newPKI(dir)
	if err != nil {
		return fmt.Errorf("making the certificate authority: %w", err)
	}
	all := bearers
	for _, n := range o.nodes() {
		all = append(all[:len(all):len(all)], bearer{file: n.name, common: "system:node:" + n.name, group: "system:nodes"})
	}
	for _, b := range all {
		if err := p.issue(b); err != nil {
			return fmt.Errorf("issuing the certificate of %s: %w", b.file, err)
		}
		if err := writeKubeconfig(dir, b.file); err != nil {
			return fmt.Errorf("writing the kubeconfig of %s: %w", b.file, err)
		}
	}
	return p.writeServiceAccountKeys()
}

func newPKI(dir string) (*pki, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	form := certificate(bearer{common: "lab-ca"})
	form.IsCA, form.BasicConstraintsValid = true, true
	form.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	form.ExtKeyUsage = nil
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	p := &pki{dir, cert, key}
	return p, p.write("ca", der, key)
}

// issue makes the key and certificate of one bearer.
func (p *pki) issue(b bearer) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate(b), p.cert, key.Public(), p.key)
	if err != nil {
		return err
	}
	return p.write(b.file, der, key)
}

// certificate is valid from an hour ago, whatever a clock says, for a year.
func certificate(b bearer) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	c := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: b.common},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if b.group != "" {
		c.Subject.Organization = []string{b.group}
	}
	for _, h := range b.hosts {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(h); ip != nil { // x509 wants its kind
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	return c
}

func (p *pki) write(name string, der []byte, key *ecdsa.PrivateKey) error {
	if err := writePEM(filepath.Join(p.dir, name+".crt"), "CERTIFICATE", der, 0o644); err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(p.dir, name+".key"), "EC PRIVATE KEY", private, 0o600)
}

// writeServiceAccountKeys makes the pair that signs the tokens of pods.
func (p *pki) writeServiceAccountKeys() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key of service accounts: %w", err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(p.dir, "sa.key"), "EC PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return writePEM(filepath.Join(p.dir, "sa.pub"), "PUBLIC KEY", public, 0o644)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// writeKubeconfig writes the configuration of a client of the API server, with
// everything in one file.
func writeKubeconfig(dir, name string) error {
	var parts [3][]byte
	for i, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		var err error
		if parts[i], err = os.ReadFile(filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	text := fmt.Sprintf(kubeconfig, apiAddress(), b64(parts[0]), b64(parts[1]), b64(parts[2]))
	return os.WriteFile(filepath.Join(dir, name+".kubeconfig"), []byte(text), 0o600)
}
