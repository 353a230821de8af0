package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"holdfast.dev/holdfast/controller/api/v1beta1"
)

// reportOfNode is the object by which a node says that it announces addresses of a
// Service by layer 2; without addresses: one of an older version.
func reportOfNode(node string, of name, addrs ...string) *v1beta1.ServiceL2Status {
	o := &v1beta1.ServiceL2Status{
		ObjectMeta: metav1.ObjectMeta{
			Name: statusName(prefixLayer2, node, of), Namespace: "ours",
			Labels: map[string]string{v1beta1.LabelNode: node, v1beta1.LabelServiceName: of.Name, v1beta1.LabelServiceNamespace: of.Namespace},
		},
		Status: v1beta1.ServiceL2StatusStatus{Node: node, ServiceName: of.Name, ServiceNamespace: of.Namespace},
	}
	if len(addrs) > 0 {
		o.Annotations = map[string]string{AnnotationAddresses: strings.Join(addrs, ",")}
	}
	return o
}

func (c crew) list() string { return strings.Join(c.first, " ") }

// What is read from objects in whatever order is what the objects say; and who is
// asked again is who something else is said of.
func TestAlwaysReadsWhatNodesSay(t *testing.T) {
	addrs := []string{"192.0.2.1", "192.0.2.11", "2001:db8::1"}
	services := []name{web, dns}
	nodes := []string{"n1", "n2", "n3"}
	rapid.Check(t, func(t *rapid.T) {
		r := newReports()
		k := reportKeeping{r, layer2}
		objects := map[string]*v1beta1.ServiceL2Status{}
		list := func() {
			var all []any
			for _, o := range objects {
				all = append(all, o)
			}
			if err := k.Replace(all, ""); err != nil {
				t.Fatal(err)
			}
		}
		said := func(s name, a string) string {
			var who []string
			for _, o := range objects {
				text, limited := o.Annotations[AnnotationAddresses]
				if serviceAbout(o) == s && o.Status.Node != "" && (!limited || slices.Contains(strings.Split(text, ","), a)) {
					who = append(who, o.Status.Node)
				}
			}
			slices.Sort(who)
			return strings.Join(who, " ")
		}
		list()
		known := map[string]string{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			o := reportOfNode(rapid.SampledFrom(nodes).Draw(t, "node"), rapid.SampledFrom(services).Draw(t, "service"),
				addrs[:rapid.IntRange(0, 3).Draw(t, "addresses")]...)
			switch what := rapid.IntRange(0, 4).Draw(t, "what"); what {
			case 0, 1:
				objects[o.Name] = o
				if err := k.Update(o); err != nil {
					t.Fatal(err)
				}
			case 2:
				if old := objects[o.Name]; old != nil {
					delete(objects, o.Name)
					if err := k.Delete(old); err != nil {
						t.Fatal(err)
					}
				}
			case 3: // a list, after the watch missed something
				delete(objects, o.Name)
				list()
			case 4: // another program's object counts for nothing
				o.Name = "l2-x"
				if err := k.Update(o); err != nil {
					t.Fatal(err)
				}
			}
			changed, _ := r.take()
			for _, s := range services {
				for _, a := range addrs {
					by := r.on(s, netip.MustParseAddr(a))
					want := said(s, a)
					if got := by[layer2].list(); got != want || by[byBGP].count != 0 {
						t.Fatalf("%s is announced for %s by %q, and it is read as %q", a, s, want, got)
					}
					if at := s.String() + a; known[at] != want && !changed[s] {
						t.Fatalf("what is said of %s is another, and nobody is told", s)
					} else {
						known[at] = want
					}
				}
			}
		}
		clear(objects)
		list()
		if len(r.of)+len(r.nodes.number) != 0 {
			t.Fatalf("nothing is said, and is kept: %v %v", r.of, r.nodes)
		}
	})
}

// The word of a node that is out of sight does not count; but who sees few sees nothing.
func TestTheDeadSayNothing(t *testing.T) {
	r := newReports()
	for i := range 5 {
		r.put(layer2, reportFact{web, fmt.Sprint("n", i), content{all: true}})
	}
	for _, step := range []struct {
		sight string
		want  int
	}{
		{"", 5}, {"n0", 5}, {"n0 n1", 5}, {"n0 n1 n2", 3}, {"n0 n1 n2 n3 n4", 5}, {"n1 n2 x y z w", 2},
	} {
		sight := map[string]bool{}
		for _, n := range strings.Fields(step.sight) {
			sight[n] = true
		}
		r.take()
		before := r.on(web, netip.MustParseAddr("192.0.2.1"))[layer2].count
		r.sees(sight)
		got := r.on(web, netip.MustParseAddr("192.0.2.1"))[layer2].count
		if changed, _ := r.take(); got != step.want || changed[web] != (got != before) {
			t.Errorf("with %q in sight %d nodes count, not %d; changed: %v", step.sight, got, step.want, changed)
		}
	}
}

// BenchmarkReports: 10,000 Services that each of 1,000 nodes advertises. MB is what a
// leader keeps of it; ns/op is of one node that says it of one Service no more, and again.
func BenchmarkReports(b *testing.B) {
	const services, nodes = 10_000, 1_000
	before := heapInUse()
	r := newReports()
	names := make([]string, nodes)
	for i := range names {
		names[i] = fmt.Sprintf("worker-%04d.rack-%02d.example.net", i, i%40)
	}
	of := func(i int) name { return name{Namespace: "n", Name: fmt.Sprint("s", i)} }
	for i := range services {
		text := fmt.Sprintf("10.1.%d.%d", i>>8, i&255)
		for _, n := range names {
			r.put(byBGP, reportFact{of(i), n, content{addrs: text, peers: "tor1,tor2"}})
		}
		r.take()
	}
	kept := heapInUse() - before
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s, n := of(i%services), names[i%nodes]
		r.remove(byBGP, s, n)
		r.put(byBGP, reportFact{s, n, content{addrs: fmt.Sprintf("10.1.%d.%d", i%services>>8, i%services&255), peers: "tor1,tor2"}})
		r.take()
	}
	b.ReportMetric(kept, "MB")
}
