package script

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// proxiesFollow waits until every node's kube-proxy does what the API says. After an
// outage of the API server it asks again at growing intervals, and may program nothing
// for a minute: what is lost then is lost with any load balancer.
func proxiesFollow(ctx context.Context, lab Lab, a *api) error {
	const name = "kube-proxy-follows"
	now := time.Now().UnixMilli()
	// Of a network that is nobody's (RFC 2544), and not what was asked for the last time.
	backend := fmt.Sprintf("198.18.%d.%d", now>>8&0xff, now&0xff)
	meta := object{"name": name, "namespace": "default", "labels": object{"kubernetes.io/service-name": name}}
	kinds := []schema.GroupVersionResource{services, endpointSlices}
	for i, o := range []object{
		{"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": object{"ports": []object{{"port": 9}}}},
		{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4",
			"endpoints": []object{{"addresses": []string{backend}}}, "ports": []object{{"port": 9, "protocol": "TCP"}}},
	} {
		if err := a.put(ctx, kinds[i], o); err != nil {
			return fmt.Errorf("asking kube-proxy: %w", err)
		}
	}
	for _, node := range lab.Nodes() {
		err := until(ctx, 2*time.Minute, func() error {
			out, err := lab.Exec(node, "sh", "-c", "iptables-save | grep -qwF "+backend+" || nft list ruleset | grep -qwF "+backend).CombinedOutput()
			if err != nil {
				time.Sleep(100 * time.Millisecond) // it costs some
				return fmt.Errorf("kube-proxy on %s does not follow the API: %w: %s", node, err, out)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, r := range kinds {
		if err := a.remove(ctx, r, "default", name, nil); err != nil {
			return err
		}
	}
	return nil
}
