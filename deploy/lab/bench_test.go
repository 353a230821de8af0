package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/deploy/lab/cluster"
)

const (
	crowd      = 500
	crowdPools = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: crowd, namespace: holdfast-system}
spec: {addresses: [10.77.0.0/16]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: crowd, namespace: holdfast-system}
`
)

// BenchmarkFiveHundredServices has the daemons of a whole cluster give addresses to
// 500 Services, and measures beside it, in the same run, what the API takes for the
// same: a bare loop of 500 patches of a status. And it tells how much memory the
// daemons hold, idle and then.
func BenchmarkFiveHundredServices(b *testing.B) {
	dir := newDir(b)
	mustLab(b, dir, "up")
	l, err := cluster.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	config := rest.CopyConfig(l.REST())
	config.QPS = -1
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	time.Sleep(30 * time.Second) // what the start needed is given back
	low, high := resident(b)
	for b.Loop() {
		b.ReportMetric(low, "MB/idle-least")
		b.ReportMetric(high, "MB/idle-most")

		create(b, api)
		bare := bareLoop(b, api)
		b.ReportMetric(bare.Seconds(), "s/bare-patches")
		clearCrowd(b, api)

		create(b, api)
		time.Sleep(5 * time.Second) // all wait, and have been told so
		all := assigned(b, api)
		began := time.Now()
		apply(b, dir, crowdPools)
		pool := (<-all).Sub(began)
		b.ReportMetric(pool.Seconds(), "s/pool-to-last-assigned")
		b.ReportMetric(pool.Seconds()/bare.Seconds(), "times-bare")
		clearCrowd(b, api)

		all = assigned(b, api)
		began = time.Now()
		created := create(b, api)
		b.ReportMetric(created.Seconds(), "s/creation")
		b.ReportMetric((<-all).Sub(began).Seconds(), "s/creation-to-last-assigned")
		time.Sleep(30 * time.Second)
		low, high = resident(b)
		b.ReportMetric(low, "MB/crowd-least")
		b.ReportMetric(high, "MB/crowd-most")
		clearCrowd(b, api)
	}
}

// resident tells how much memory the daemons on this machine hold, in MB: the one
// with the least, and the one with the most, which leads.
func resident(b *testing.B) (least, most float64) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.Fatal(err)
	}
	var all []float64
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !strings.HasPrefix(string(text), "/holdfast\x00run\x00") {
			continue // others, and some that have just ended
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(f), "status"))
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			var kB float64
			if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kB); n == 1 {
				all = append(all, kB/1024)
			}
		}
	}
	if len(all) == 0 {
		b.Fatal("no daemon is running")
	}
	return slices.Min(all), slices.Max(all)
}

func apply(b *testing.B, dir, manifest string) {
	cmd := lab(dir, "kubectl", "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}

// assigned tells when the last of the crowd was given an address.
func assigned(b *testing.B, api *kubernetes.Clientset) <-chan time.Time {
	w, err := api.CoreV1().Services("default").Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	all := make(chan time.Time, 1)
	go func() {
		defer w.Stop()
		seen := map[types.UID]bool{}
		for e := range w.ResultChan() {
			if v, ok := e.Object.(*corev1.Service); ok && len(v.Status.LoadBalancer.Ingress) > 0 {
				if seen[v.UID] = true; len(seen) == crowd {
					all <- time.Now()
					return
				}
			}
		}
	}()
	return all
}

func create(b *testing.B, api *kubernetes.Clientset) time.Duration {
	began := time.Now()
	for i := range crowd {
		_, err := api.CoreV1().Services("default").Create(context.Background(), &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("s%d", i)},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "a"}, Ports: []corev1.ServicePort{{Port: 80}},
				AllocateLoadBalancerNodePorts: new(bool),
			},
		}, metav1.CreateOptions{})
		if err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

func bareLoop(b *testing.B, api *kubernetes.Clientset) time.Duration {
	began := time.Now()
	for i := range crowd {
		body := fmt.Sprintf(`{"status":{"loadBalancer":{"ingress":[{"ip":"198.18.%d.%d"}]}}}`, i/256, i%256)
		_, err := api.CoreV1().Services("default").Patch(context.Background(), fmt.Sprintf("s%d", i), types.MergePatchType, []byte(body), metav1.PatchOptions{}, "status")
		if err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

// clearCrowd deletes the crowd, and waits until the daemons have seen it go.
func clearCrowd(b *testing.B, api *kubernetes.Clientset) {
	for i := range crowd {
		if err := api.CoreV1().Services("default").Delete(context.Background(), fmt.Sprintf("s%d", i), metav1.DeleteOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(5 * time.Second)
}
