package controller

import (
	"fmt"
	"net/http"

	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

// The groups in use, and of each only the kinds in use: a typed clientset would
// register some 60 groups in every copy's memory.
var (
	scheme = newScheme()
	codecs = serializer.NewCodecFactory(scheme)
)

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	add := func(gv schema.GroupVersion, kinds ...runtime.Object) {
		s.AddKnownTypes(gv, kinds...)
		metav1.AddToGroupVersion(s, gv)
	}
	add(corev1.SchemeGroupVersion,
		&corev1.Service{}, &corev1.ServiceList{}, &corev1.Node{}, &corev1.NodeList{},
		&corev1.Namespace{}, &corev1.NamespaceList{}, &corev1.Secret{}, &corev1.SecretList{}, &corev1.Event{})
	add(discoveryv1.SchemeGroupVersion, &discoveryv1.EndpointSlice{}, &discoveryv1.EndpointSliceList{})
	add(coordv1.SchemeGroupVersion, &coordv1.Lease{}, &coordv1.LeaseList{})
	for _, addTo := range []func(*runtime.Scheme) error{v1beta1.AddToScheme, v1beta2.AddToScheme} {
		if err := addTo(s); err != nil {
			panic(err)
		}
	}
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
}

// clients reach the API, one for each group and version.
type clients struct {
	core, discovery, coordination, metallb, metallb2 rest.Interface
}

func newClients(base *rest.Config) (*clients, error) {
	config := rest.CopyConfig(base)
	config.QPS = -1 // the work limits itself: writes are bounded by workers, and only differences are written
	shared, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making an HTTP client for the API: %w", err)
	}
	var out clients
	for _, c := range []struct {
		to   *rest.Interface
		gv   schema.GroupVersion
		path string
		json bool
	}{
		{&out.core, corev1.SchemeGroupVersion, "/api", false},
		{&out.discovery, discoveryv1.SchemeGroupVersion, "/apis", false},
		{&out.coordination, coordv1.SchemeGroupVersion, "/apis", false},
		{&out.metallb, v1beta1.GroupVersion, "/apis", true},
		{&out.metallb2, v1beta2.GroupVersion, "/apis", true},
	} {
		if *c.to, err = clientFor(config, shared, c.gv, c.path, c.json); err != nil {
			return nil, fmt.Errorf("making a client for API group %s: %w", c.gv, err)
		}
	}
	return &out, nil
}

func clientFor(base *rest.Config, shared *http.Client, gv schema.GroupVersion, path string, json bool) (rest.Interface, error) {
	config := rest.CopyConfig(base)
	config.APIPath, config.GroupVersion = path, &gv
	config.NegotiatedSerializer = codecs.WithoutConversion()
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	if json {
		config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	}
	return rest.RESTClientForConfigAndClient(config, shared)
}
