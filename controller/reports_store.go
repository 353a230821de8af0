package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// listen returns what the copies announce, which is kept up to date until the context
// is done: for a term, which ends if the API's storage goes back, so that no watch goes
// on from a version that is not reached.
func (c *Controller) listen(ctx context.Context) *nodeReports {
	r := newReports()
	c.sight.follow(r)
	for _, k := range []struct {
		medium   medium
		kind     string
		expected runtime.Object
	}{
		{layer2, "servicel2statuses", &v1beta1.ServiceL2Status{}},
		{byBGP, "servicebgpstatuses", &v1beta1.ServiceBGPStatus{}},
	} {
		lists := cache.NewListWatchFromClient(c.clients.metallb, k.kind, c.Namespace, fields.Everything())
		lists = heed(lists, &outage{kind: k.kind, log: c.Log, absent: func() { r.missing(k.medium) }})
		go cache.NewReflectorWithOptions(lists, k.expected, reportKeeping{r, k.medium},
			cache.ReflectorOptions{Name: k.kind, Backoff: reflectorBackoff()}).RunWithContext(ctx)
	}
	return r
}

// A sight is which nodes this copy can talk to, and who wants to know.
type sight struct {
	mu      sync.Mutex
	nodes   map[string]bool // nil: not known
	reports *nodeReports    // nil: nobody
}

func (s *sight) sees(nodes map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes = nodes; s.reports != nil {
		s.reports.sees(nodes)
	}
}

// follow has the reports know, from now on; nil: nobody.
func (s *sight) follow(r *nodeReports) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reports = r; r != nil {
		r.sees(s.nodes)
	}
}

// A reportKeeping takes the objects of one kind.
type reportKeeping struct {
	reports *nodeReports
	medium  medium
}

// Transformer has a reflector keep no more of a list that is on its way than matters.
func (k reportKeeping) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return reportFactOf(o) }
}

// reportFactOf reduces an object to what it says; once is as good as twice. What is
// not one of ours (its name is another than a copy would give it) says nothing.
func reportFactOf(o any) (reportFact, error) {
	var f reportFact
	var prefix string
	switch in := o.(type) {
	case reportFact:
		return in, nil
	case *v1beta1.ServiceL2Status:
		f.node, prefix = in.Status.Node, prefixLayer2
	case *v1beta1.ServiceBGPStatus:
		f.node, prefix = in.Status.Node, prefixBGP
	default:
		return f, fmt.Errorf("taking what a node announces: it is a %T", o)
	}
	m := o.(metav1.Object)
	f.service = serviceAbout(m)
	if m.GetName() != statusName(prefix, f.node, f.service) {
		f.node = ""
	}
	addrs, ok := m.GetAnnotations()[AnnotationAddresses]
	f.addrs, f.all = addrs, !ok
	return f, nil
}

func (k reportKeeping) Resync() error   { return nil }
func (k reportKeeping) Add(o any) error { return k.Update(o) }

func (k reportKeeping) Update(o any) error {
	f, err := reportFactOf(o)
	if err == nil {
		k.reports.put(k.medium, f)
	}
	return err
}

func (k reportKeeping) Delete(o any) error {
	f, err := reportFactOf(o)
	if err == nil {
		k.reports.remove(k.medium, f.service, f.node)
	}
	return err
}

func (k reportKeeping) Replace(objects []any, _ string) error {
	list := make([]reportFact, 0, len(objects))
	for _, o := range objects {
		f, err := reportFactOf(o)
		if err != nil {
			return err
		}
		list = append(list, f)
	}
	list = slices.DeleteFunc(list, func(f reportFact) bool { return f.node == "" })
	k.reports.listed(k.medium, list)
	return nil
}
