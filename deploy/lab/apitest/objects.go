package apitest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// What tests ask for again and again goes to the API from here: a kubectl takes
// 0.3 s to start.

// versions are the API versions of the resources that are not of metallb.io/v1beta1.
var versions = map[string]string{
	"bgppeers": "metallb.io/v1beta2", "clusterroles": "rbac.authorization.k8s.io/v1",
	"customresourcedefinitions": "apiextensions.k8s.io/v1", "endpointslices": "discovery.k8s.io/v1",
	"events": "v1", "leases": "coordination.k8s.io/v1", "nodes": "v1", "pods": "v1",
	"roles": "rbac.authorization.k8s.io/v1", "secrets": "v1", "services": "v1",
}

// of returns access to a resource; in no namespace for one that is in none.
func (s *Server) of(resource, namespace string) dynamic.ResourceInterface {
	gv := schema.GroupVersion{Group: "metallb.io", Version: "v1beta1"}
	if v := versions[resource]; v != "" {
		gv, _ = schema.ParseGroupVersion(v)
	}
	return s.objects.Resource(gv.WithResource(resource)).Namespace(namespace)
}

// each calls do with every object of a manifest, and access to its resource.
func (s *Server) each(manifest string, do func(dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	for documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096); ; {
		var o unstructured.Unstructured
		if err := documents.Decode(&o.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if len(o.Object) == 0 {
			continue // nothing between two separators
		}
		resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		if err := do(s.objects.Resource(resource).Namespace(o.GetNamespace()), &o); err != nil {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
}

// Apply creates or changes objects. Like kubectl it allows no field that the API does not know.
func (s *Server) Apply(t testing.TB, manifest string) {
	t.Helper()
	force := true
	err := s.each(manifest, func(r dynamic.ResourceInterface, o *unstructured.Unstructured) error {
		body, err := json.Marshal(o.Object)
		if err != nil {
			return err
		}
		_, err = r.Patch(context.Background(), o.GetName(), types.ApplyPatchType, body,
			metav1.PatchOptions{FieldManager: "apitest", Force: &force, FieldValidation: metav1.FieldValidationStrict})
		return err
	})
	if err != nil {
		t.Fatalf("applying: %v\n%s", err, manifest)
	}
}

// wouldCreate returns what the API says to the creation of objects, which it does not carry out.
func (s *Server) wouldCreate(manifest string) error {
	return s.each(manifest, func(r dynamic.ResourceInterface, o *unstructured.Unstructured) error {
		_, err := r.Create(context.Background(), o,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
		return err
	})
}

// shown returns objects as JSON without spaces: RESOURCE/NAME, or all of a RESOURCE.
func (s *Server) shown(t testing.TB, namespace string, objects ...string) string {
	t.Helper()
	var out strings.Builder
	for _, object := range objects {
		for _, o := range s.get(t, namespace, object) {
			o.SetManagedFields(nil) // nothing but names of fields
			body, err := json.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(append(body, '\n'))
		}
	}
	return out.String()
}

// get returns the object RESOURCE/NAME, or all of a RESOURCE.
func (s *Server) get(t testing.TB, namespace, object string) []unstructured.Unstructured {
	t.Helper()
	resource, name, one := strings.Cut(object, "/")
	if one {
		o, err := s.of(resource, namespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatalf("reading %s: %v", object, err)
		}
		return []unstructured.Unstructured{*o}
	}
	all, err := s.of(resource, namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("listing %s: %v", object, err)
	}
	return all.Items
}

// remove deletes objects RESOURCE/NAME that are there, and waits until they are gone.
func (s *Server) remove(t testing.TB, namespace string, objects ...string) {
	t.Helper()
	now := int64(0)
	for _, object := range objects {
		resource, name, _ := strings.Cut(object, "/")
		r := s.of(resource, namespace)
		err := r.Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatalf("deleting %s: %v", object, err)
		}
		eventually(t, object+" gone", func() bool {
			_, err := r.Get(context.Background(), name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	}
}

// accepted returns what an object's status says of whether it is in use.
func (s *Server) accepted(t testing.TB, object string) string {
	t.Helper()
	var o struct {
		Status struct{ Conditions []metav1.Condition }
	}
	if err := json.Unmarshal([]byte(s.shown(t, "holdfast-system", object)), &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Status.Conditions) == 0 {
		return ""
	}
	c := o.Status.Conditions[0]
	return fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
}

// addresses returns the addresses in the status of a Service, in their order.
func addresses(v *corev1.Service) string {
	var ips []string
	for _, i := range v.Status.LoadBalancer.Ingress {
		ips = append(ips, i.IP)
	}
	return strings.Join(ips, " ")
}

// address returns the addresses in the status of a Service.
func (s *Server) address(t testing.TB, service string) string {
	t.Helper()
	v, err := s.API.CoreV1().Services("default").Get(context.Background(), service, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return addresses(v)
}
