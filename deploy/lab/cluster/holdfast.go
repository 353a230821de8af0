package cluster

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	holdfastNamespace = "holdfast-system"
	holdfastName      = "holdfast" // of the DaemonSet, and of its image in the manifests
	rolloutTime       = 2 * time.Minute
)

// installHoldfast applies the manifests as they are shipped, with the name of
// the image that the nodes have and with the flags that were asked for.
func (l *Lab) installHoldfast(ctx context.Context, progress io.Writer) error {
	began := time.Now()
	if err := l.applyHoldfast(ctx); err != nil {
		return err
	}
	fmt.Fprintf(progress, "%5.1f s  holdfast is rolled out\n", time.Since(began).Seconds())
	return nil
}

// SetHoldfastArgs gives holdfast other flags than those that were added
// before, parted by spaces, and waits for the rollout. A holdfast that was
// removed comes back.
func (l *Lab) SetHoldfastArgs(ctx context.Context, args string) error {
	r := l.record
	if !r.Options.Holdfast {
		return errors.New("this lab runs without holdfast")
	}
	r.Options.HoldfastArgs = args
	changed := &Lab{state: l.state, record: r}
	if err := changed.applyHoldfast(ctx); err != nil {
		return err
	}
	l.record = r
	return r.write(l.state)
}

// RemoveHoldfast deletes what comes and goes with holdfast, and waits until no copy is
// left; then, if all is to go, the CRDs, the namespace and what is in it.
func (l *Lab) RemoveHoldfast(ctx context.Context, all bool) error {
	if err := l.kustomize("delete", l.overlayDir(), "--ignore-not-found", "--wait"); err != nil {
		return err
	}
	api, err := kubernetes.NewForConfig(l.REST())
	if err != nil {
		return err
	}
	err = until(ctx, rolloutTime, func(ctx context.Context) error {
		pods, err := api.CoreV1().Pods(holdfastNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + holdfastName})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d copies of holdfast are left", len(pods.Items))
		}
		return err
	})
	if err != nil || !all {
		return err
	}
	s, err := findSource()
	if err != nil {
		return err
	}
	return l.kustomize("delete", s.crds(), "--wait")
}

// applyHoldfast applies the CRDs and the overlay, and waits until all copies are available.
func (l *Lab) applyHoldfast(ctx context.Context) error {
	if err := l.writeOverlay(); err != nil {
		return fmt.Errorf("writing the overlay of holdfast's manifests: %w", err)
	}
	s, err := findSource()
	if err != nil {
		return err
	}
	for _, dir := range []string{s.crds(), l.overlayDir()} {
		if err := l.kustomize("apply", dir); err != nil {
			return err
		}
	}
	api, err := kubernetes.NewForConfig(l.REST())
	if err != nil {
		return err
	}
	err = until(ctx, rolloutTime, func(ctx context.Context) error {
		ds, err := api.AppsV1().DaemonSets(holdfastNamespace).Get(ctx, holdfastName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return rolledOut(ds, l.record.Options.Nodes)
	})
	if err != nil {
		return fmt.Errorf("rolling holdfast out: %w\n%s", err, l.podTroubles(ctx, api))
	}
	return nil
}

func rolledOut(ds *appsv1.DaemonSet, nodes int) error {
	s := ds.Status
	if s.ObservedGeneration < ds.Generation || int(s.DesiredNumberScheduled) < nodes ||
		s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberAvailable < s.DesiredNumberScheduled {
		return fmt.Errorf("%d of %d copies are up to date, %d available", s.UpdatedNumberScheduled, nodes, s.NumberAvailable)
	}
	return nil
}

// podTroubles says what keeps holdfast's pods from being ready.
func (l *Lab) podTroubles(ctx context.Context, api kubernetes.Interface) (text string) {
	pods, err := api.CoreV1().Pods(holdfastNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			switch {
			case c.State.Waiting != nil:
				text += fmt.Sprintf("%s: %s: %s\n", p.Name, c.State.Waiting.Reason, c.State.Waiting.Message)
			case !c.Ready:
				text += p.Name + ": runs, and is not ready\n"
			}
		}
	}
	return text
}

// An overlay is what kustomize reads.
type overlay struct {
	Resources []string         `json:"resources"`
	Images    []overlayImage   `json:"images"`
	Patches   []overlayPatches `json:"patches,omitempty"`
}

type overlayImage struct {
	Name    string `json:"name"`
	NewName string `json:"newName"`
	NewTag  string `json:"newTag"`
}

type overlayPatches struct {
	Target map[string]string `json:"target"`
	Patch  string            `json:"patch"`
}

type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value string `json:"value"`
}

func (l *Lab) overlayDir() string { return filepath.Join(l.state, "holdfast") }

// writeOverlay writes a kustomization on top of the shipped one, in JSON.
func (l *Lab) writeOverlay() error {
	s, err := findSource()
	if err != nil {
		return err
	}
	base, err := filepath.Rel(l.overlayDir(), filepath.Join(s.root, "deploy"))
	if err != nil {
		return err
	}
	reference, err := imageName(filepath.Join(l.state, imagesDir, filepath.Base(s.holdfastImage())))
	if err != nil {
		return err
	}
	colon := strings.LastIndex(reference, ":")
	o := overlay{Resources: []string{base}, Images: []overlayImage{{holdfastName, reference[:colon], reference[colon+1:]}}}
	var ops []operation
	for _, flag := range strings.Fields(l.record.Options.HoldfastArgs) {
		ops = append(ops, operation{"add", "/spec/template/spec/containers/0/args/-", flag})
	}
	if ops != nil {
		patch, err := json.Marshal(ops)
		if err != nil {
			return err
		}
		o.Patches = []overlayPatches{{map[string]string{"kind": "DaemonSet", "name": holdfastName}, string(patch)}}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.overlayDir(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(l.overlayDir(), "kustomization.yaml"), text, 0o644)
}

// imageName reads the reference under which a tar's image is loaded.
func imageName(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			return "", fmt.Errorf("%s: looking for index.json: %w", file, err)
		}
		if h.Name != "index.json" {
			continue
		}
		var index struct {
			Manifests []struct{ Annotations map[string]string }
		}
		if err := json.NewDecoder(r).Decode(&index); err != nil {
			return "", fmt.Errorf("%s: reading index.json: %w", file, err)
		}
		for _, m := range index.Manifests {
			// A name without a registry is not what a kubelet asks the runtime for.
			if name := m.Annotations["io.containerd.image.name"]; strings.Contains(name, "/") && strings.Contains(name, ":") {
				return name, nil
			}
		}
		return "", fmt.Errorf("%s: its image has no full name, such as lab.local/holdfast:dev", file)
	}
}

// kustomize runs one verb of kubectl on a kustomization.
func (l *Lab) kustomize(verb, dir string, flags ...string) error {
	cmd := l.Kubectl(append([]string{verb, "--request-timeout=30s", "--kustomize=" + dir}, flags...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s --kustomize=%s: %w: %s", verb, dir, err, strings.TrimSpace(string(out)))
	}
	return nil
}
