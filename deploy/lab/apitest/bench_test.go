package apitest

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const crowd = 500

// BenchmarkFiveHundredServices has 500 Services assigned, and beside it, in the
// same run, what the API takes for it: a bare loop of 500 patches of the same
// status. Twice: while they are being created, and all at once, when a pool
// appears for which they waited.
func BenchmarkFiveHundredServices(b *testing.B) {
	s := Start(b)
	api, err := kubernetes.NewForConfig(s.Admin)
	if err != nil {
		b.Fatal(err)
	}
	s.Apply(b, advertisement+fmt.Sprintf(node, "node1"))
	for b.Loop() {
		bareCreation := create(b, api)
		b.ReportMetric(bareCreation.Seconds(), "s/bare-creation")
		b.ReportMetric(bareLoop(b, api).Seconds(), "s/bare-patches")
		clear500(b, api)

		c := s.run(b, "node1")
		eventually(b, "a leader", func() bool { return c.Stats().Leads })
		create(b, api)
		eventually(b, "all waiting", func() bool { return c.Stats().Writes["services"] >= crowd })
		all := assigned(b, api)
		began := time.Now()
		s.Apply(b, fmt.Sprintf(pool, "p", "192.0.0.0/16"))
		b.ReportMetric((<-all).Sub(began).Seconds(), "s/pool-to-last-assigned")
		clear500(b, api)

		all = assigned(b, api)
		began = time.Now()
		created := create(b, api)
		done := (<-all).Sub(began)
		b.ReportMetric(created.Seconds(), "s/creation")
		b.ReportMetric(done.Seconds(), "s/creation-to-last-assigned")
		time.Sleep(3 * time.Second)
		b.Logf("%+v", c.Stats())
		c.stop()
		clear500(b, api)
		s.Kubectl(b, "delete", "-n", "holdfast-system", "ipaddresspool/p")
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
		if _, err := api.CoreV1().Services("default").Patch(context.Background(), fmt.Sprintf("s%d", i), types.MergePatchType, []byte(body), metav1.PatchOptions{}, "status"); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

func clear500(b *testing.B, api *kubernetes.Clientset) {
	if err := api.CoreV1().RESTClient().Delete().Namespace("default").Resource("services").Do(context.Background()).Error(); err != nil {
		b.Fatal(err)
	}
}
