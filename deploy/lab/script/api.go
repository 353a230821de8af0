package script

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// namespace is holdfast's own.
const namespace = "holdfast-system"

// The resources that scenarios handle without kubectl.
var (
	services       = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	namespaces     = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	nodes          = schema.GroupVersionResource{Version: "v1", Resource: "nodes"}
	pods           = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	events         = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	configMaps     = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deployments    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	replicaSets    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
	daemonSets     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	budgets        = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	leases         = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	pools          = schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "ipaddresspools"}
	routed         = schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "bgpadvertisements"}
	peers          = schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta2", Resource: "bgppeers"}
	profiles       = schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "bfdprofiles"}
	communities    = schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "communities"}
	advertisements = schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "l2advertisements"}
)

// api is a client of the lab's API server.
type api struct {
	dynamic.Interface
	core rest.Interface
	ctx  context.Context
	stop context.CancelFunc
}

func newAPI(cfg *rest.Config) (*api, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = -1, -1
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	cfg.GroupVersion, cfg.APIPath = &corev1.SchemeGroupVersion, "/api"
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	core, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, err
	}
	a := &api{Interface: d, core: core}
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a, nil
}

// object is a shorter word for what JSON calls one.
type object = map[string]any

// put creates the object, or changes what is there into it by a server-side apply.
func (a *api) put(ctx context.Context, r schema.GroupVersionResource, o object) error {
	u := &unstructured.Unstructured{Object: o}
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	force := true
	_, err = a.Resource(r).Namespace(u.GetNamespace()).Patch(ctx, u.GetName(), types.ApplyPatchType, body,
		metav1.PatchOptions{FieldManager: "scenario", Force: &force})
	return err
}

// merge patches an object.
func (a *api) merge(ctx context.Context, r schema.GroupVersionResource, name string, patch object, sub ...string) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	ns, name := splitName(name)
	if r == nodes || r == namespaces {
		ns = ""
	}
	_, err = a.Resource(r).Namespace(ns).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: "scenario"}, sub...)
	return err
}

// get decodes an object.
func (a *api) get(ctx context.Context, r schema.GroupVersionResource, ns, name string, into any) error {
	u, err := a.Resource(r).Namespace(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into)
}

// list decodes a list, whose elements are of the type of into.
func list[T any](ctx context.Context, a *api, r schema.GroupVersionResource, ns string, o metav1.ListOptions) (items []T, err error) {
	l, err := a.Resource(r).Namespace(ns).List(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", r.Resource, err)
	}
	for i := range l.Items {
		var item T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(l.Items[i].Object, &item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// remove deletes an object if it is there.
func (a *api) remove(ctx context.Context, r schema.GroupVersionResource, ns, name string, grace *int64) error {
	err := a.Resource(r).Namespace(ns).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: grace})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// splitName reads NAME or NAMESPACE/NAME.
func splitName(s string) (ns, name string) {
	if ns, name, ok := strings.Cut(s, "/"); ok {
		return ns, name
	}
	return "default", s
}

// full is the way in which package witness names a Service.
func full(s string) string {
	ns, name := splitName(s)
	return ns + "/" + name
}

// until asks again and again until there is no error, and returns the last one when the
// time is up.
func until(ctx context.Context, most time.Duration, ask func() error) error {
	end := time.Now().Add(most)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %s: %w", most, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(30 * time.Millisecond):
		}
	}
}
