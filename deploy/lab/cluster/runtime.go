package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	containerdFile   = "/run/containerd.toml"
	kubeletFile      = "/run/kubelet.yaml"
	networkFile      = "/run/cni/10-lab.conflist"
	loadedFile       = "loaded" // on a node's disk: its runtime has every image
)

// runNode is the life of a node's second process: it runs containerd, kubelet
// and kube-proxy. It returns only when that is not possible.
func runNode(order string, log *slog.Logger) error {
	var o bootOrder
	if err := json.Unmarshal([]byte(order), &o); err != nil {
		return fmt.Errorf("reading the boot order: %w", err)
	}
	if err := o.writeConfigs(); err != nil {
		return err
	}
	programs := o.programs(log)
	if err := programs[0].start(); err != nil {
		return err
	}
	ctx := context.Background()
	err := until(ctx, time.Minute, func(context.Context) error {
		c, err := net.Dial("unix", containerdSocket)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for containerd: %w\n%s", err, lastLines("/var/log/containerd.log", 5))
	}
	for _, p := range programs[1:] {
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := o.loadImages(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.disk(), bootedFile), nil, 0o644); err != nil {
		return err
	}
	select {}
}

// programs are those of a node, the runtime first.
func (o bootOrder) programs(log *slog.Logger) []*program {
	s := o.station()
	run := func(argv []string) *program { return &program{argv: argv, logDir: "/var/log", log: log} }
	return []*program{
		run([]string{"containerd", "--config=" + containerdFile, "--log-level=warn"}),
		run(kubernetesProgram("kubelet", "--config="+kubeletFile, "--kubeconfig="+pkiFile(s.name+".kubeconfig"),
			"--hostname-override="+s.name, fmt.Sprintf("--node-ip=%s,%s", s.v4(), s.v6()),
			"--root-dir=/var/lib/kubelet", "--cert-dir=/var/lib/kubelet/pki")),
		// From a network namespace it may not write the machine's conntrack limits.
		run(kubernetesProgram("kube-proxy", "--kubeconfig="+pkiFile("proxy.kubeconfig"), "--hostname-override="+s.name,
			"--proxy-mode="+o.Proxy, "--cluster-cidr="+podNets, "--conntrack-max-per-core=0",
			"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")),
	}
}

func (o bootOrder) writeConfigs() error {
	plugins, err := networkPlugins()
	if err != nil {
		return err
	}
	containerd := containerdConfig1
	out, err := exec.Command("containerd", "--version").Output()
	if err != nil {
		return fmt.Errorf("asking containerd for its version: %w", err)
	}
	// "containerd github.com/containerd/containerd/v2 v2.1.0 <commit>"
	if f := strings.Fields(string(out)); len(f) > 2 && strings.HasPrefix(strings.TrimPrefix(f[2], "v"), "2.") {
		containerd = containerdConfig2
	}
	s := o.station()
	for file, text := range map[string]string{
		containerdFile: fmt.Sprintf(containerd, plugins),
		kubeletFile:    fmt.Sprintf(kubeletConfig, o.Group),
		networkFile:    fmt.Sprintf(networkConfig, s.podNet4(), s.podNet6()),
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return fmt.Errorf("configuring %s: %w", s.name, err)
		}
	}
	return nil
}

// networkPlugins is where the distribution puts them.
func networkPlugins() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no network plugins on this machine (package containernetworking-plugins)")
}

// loadImages gives the runtime every image. After a restart it has them.
func (o bootOrder) loadImages(ctx context.Context) error {
	marker := filepath.Join(o.disk(), loadedFile)
	if _, err := os.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tars, err := filepath.Glob(filepath.Join(stateInside, imagesDir, "*.tar"))
	if err != nil {
		return err
	}
	for _, tar := range tars {
		err := until(ctx, 20*time.Second, func(ctx context.Context) error {
			out, err := exec.CommandContext(ctx, "ctr", "--namespace=k8s.io", "images", "import", tar).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("loading image %s: %w", filepath.Base(tar), err)
		}
	}
	return os.WriteFile(marker, nil, 0o644)
}
