package controller

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

// bgpBench is a loop's part in BGP over a belief that a test makes.
type bgpBench struct {
	*round
	told    [][]peering.Session
	version int
}

func newBGPBench() *bgpBench {
	b := &bgpBench{}
	c := &Controller{Config: Config{
		Node: "node1", Namespace: "ours", Log: quiet, Sessions: func(s []peering.Session) { b.told = append(b.told, s) },
	}}
	c.belief = newBelief(options{namespace: "ours"})
	c.strangers = newStrangers(c.Config, nil, c.belief)
	b.round = &round{c: c, feed: c.belief.subscribe(false)}
	return b
}

// seen has an object come from the watch.
func seen[O metav1.Object, F any](b *bgpBench, shelf *shelf[F], reduce func(O) (F, bool), o O) {
	b.version++
	o.SetNamespace("ours")
	o.SetResourceVersion(fmt.Sprint(b.version))
	keepOf(b.c.belief, shelf, reduce).Update(o)
}

// step takes what changed, and returns what became of advertisements.
func (b *bgpBench) step() []allocator.Change {
	changes, _ := b.feed.take()
	before := len(changes.facts)
	b.peer(&changes)
	return changes.facts[before:]
}

func TestSessionsAndRoutesFollowWhatIsWritten(t *testing.T) {
	b := newBGPBench()
	belief := b.c.belief
	node := func(more string) {
		seen(b, belief.nodes, func(in *corev1.Node) (allocator.Node, bool) { return nodeFact(in, false), true },
			from[corev1.Node](t, "metadata: {name: node1}\nstatus: {addresses: [{type: InternalIP, address: 10.0.0.11}]"+more+"}"))
	}
	ad := func(spec string) {
		seen(b, belief.routes, routeAdvertisementOf, from[v1beta1.BGPAdvertisement](t, "metadata: {name: a}\nspec: {"+spec+"}"))
	}
	peer := func(status string) {
		seen(b, belief.peers, peerOf, from[v1beta2.BGPPeer](t, "metadata: {name: r, generation: 1}\nspec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1}\nstatus: {"+status+"}"))
	}
	if changes := b.step(); len(changes) != 0 || len(b.told) != 1 || b.told[0] != nil {
		t.Fatalf("at first: %v %+v", changes, b.told)
	}

	node("")
	peer("")
	ad("localPref: 200")
	changes := b.step()
	want := []allocator.Change{allocator.PutBGPAdvertisement{BGPAdvertisement: allocator.BGPAdvertisement{
		Name: "a", Length4: 32, Length6: 128, Attributes: allocator.Attributes{LocalPref: 200},
	}}}
	if !reflect.DeepEqual(changes, want) || len(b.told) != 2 || len(b.told[1]) != 1 || b.told[1][0].RouterID != netip.MustParseAddr("10.0.0.11") {
		t.Fatalf("changes %+v, told %+v", changes, b.told)
	}

	// What is not about BGP resolves nothing; what is published resolves and changes nothing.
	plan := b.peering
	node(", conditions: [{type: Ready, status: 'True'}]")
	if err := (sliceKeeping{belief}).Update(from[discoveryv1.EndpointSlice](t, "metadata: {name: s, labels: {kubernetes.io/service-name: s}}")); err != nil {
		t.Fatal(err)
	}
	if changes = b.step(); len(changes) != 0 || b.peering != plan {
		t.Errorf("resolved anew for nothing: %+v", changes)
	}
	peer("conditions: [{type: Accepted, status: 'True', reason: Accepted, message: '', observedGeneration: 1, lastTransitionTime: null}]")
	if _, resolved, _ := belief.configs(b.feed, true); resolved {
		t.Error("a verdict on what was before would be written on what came since")
	}
	if changes = b.step(); len(changes) != 0 || len(b.told) != 2 {
		t.Errorf("after the status was written: %+v, told %+v", changes, b.told)
	}
	if _, resolved, _ := belief.configs(b.feed, true); !resolved {
		t.Error("nothing came since, and no status is written")
	}

}

// Invariant 7: who breaks an advertisement that is in use loses nothing, and is told.
func TestRefusedAdvertisementStaysInUse(t *testing.T) {
	b := newBGPBench()
	ad := func(spec string) *v1beta1.BGPAdvertisement {
		return from[v1beta1.BGPAdvertisement](t, "metadata: {name: a}\nspec: {"+spec+"}")
	}
	names := func() *v1beta1.Community {
		return from[v1beta1.Community](t, "metadata: {name: c}\nspec: {communities: [{name: blue, value: '64512:1'}]}")
	}
	routes := func(in *v1beta1.BGPAdvertisement) { seen(b, b.c.belief.routes, routeAdvertisementOf, in) }
	verdict := func(r *round) string {
		all, _, _ := r.c.belief.configs(b.feed, true)
		for _, o := range all {
			if o.kind == "bgpadvertisements" {
				refused, _ := o.judged(r.snapshot, r.peering)
				return fmt.Sprint(refused)
			}
		}
		return "no verdict"
	}
	b.snapshot = allocator.NewSnapshot(allocator.Facts{})
	routes(ad("communities: [blue]"))
	if changes := b.step(); len(changes) != 0 || strings.Contains(verdict(b.round), "stays in use") {
		t.Errorf("it was never in use: %+v, %s", changes, verdict(b.round))
	}
	seen(b, b.c.belief.communities, communityOf, names())
	if changes := b.step(); len(changes) != 1 {
		t.Fatalf("it comes into use: %+v", changes)
	}
	used := b.peering.Advertisements[0]

	gone := names()
	gone.SetNamespace("ours")
	gone.SetResourceVersion("100")
	b.version = 100
	if err := keepOf(b.c.belief, b.c.belief.communities, communityOf).Delete(gone); err != nil {
		t.Fatal(err)
	}
	for _, edit := range []string{"", "aggregationLength: 33, communities: [blue]", "communities: [red]"} {
		if edit != "" {
			routes(ad(edit))
		}
		if changes := b.step(); len(changes) != 0 {
			t.Errorf("%q: it is not as it was: %+v", edit, changes)
		}
		if got := verdict(b.round); !strings.HasSuffix(got, "; it stays in use as it was before, on each node until holdfast is restarted there") {
			t.Errorf("%q: %s", edit, got)
		}
		if facts := b.with(&allocator.Facts{}); !reflect.DeepEqual(facts.BGP, []allocator.BGPAdvertisement{used}) {
			t.Errorf("%q: a snapshot that is begun anew has %+v", edit, facts.BGP)
		}
	}
	later := &round{c: b.c, snapshot: b.snapshot} // a copy that has started since
	later.peer(&changes{})
	if got := verdict(later); len(later.peering.Advertisements) != 0 || strings.Contains(got, "stays in use") {
		t.Errorf("nobody knows what it was: %+v, %s", later.peering.Advertisements, got)
	}

	end := ad("communities: [red]")
	end.SetNamespace("ours")
	end.SetResourceVersion("200")
	if err := keepOf(b.c.belief, b.c.belief.routes, routeAdvertisementOf).Delete(end); err != nil {
		t.Fatal(err)
	}
	if changes := b.step(); !reflect.DeepEqual(changes, []allocator.Change{allocator.DropBGPAdvertisement{Name: "a"}}) {
		t.Errorf("after it was deleted: %+v", changes)
	}
}

// What is wrong with a Secret is not said before it has been looked at: the next
// leader would say it again, and again otherwise.
func TestSecretIsJudgedWhenLookedAt(t *testing.T) {
	b := newBGPBench()
	seen(b, b.c.belief.peers, peerOf, from[v1beta2.BGPPeer](t, "metadata: {name: r}\nspec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, passwordSecret: {name: s}}"))
	b.step()
	judged := func() string {
		all, _, _ := b.c.belief.configs(b.feed, true)
		if len(all) == 0 {
			return ""
		}
		refused, _ := all[0].judged(b.snapshot, b.peering)
		return fmt.Sprint(refused)
	}
	if got := judged(); got != "" || !reflect.DeepEqual(b.c.belief.unusable, []string{"s"}) {
		t.Errorf("before: %s; to be looked at: %v", got, b.c.belief.unusable)
	}
	for _, c := range []struct{ kind, want string }{{"", "there is no such Secret"}, {"Opaque", "of type Opaque"}} {
		b.c.belief.meet(map[string]string{"s": c.kind})
		b.step()
		if got := judged(); !strings.Contains(got, c.want) {
			t.Errorf("%q: %s", c.kind, got)
		}
	}
	seen(b, b.c.belief.passwords, func(in *corev1.Secret) (peering.Secret, bool) { return secretFact(in), true },
		from[corev1.Secret](t, "metadata: {name: s}\ntype: kubernetes.io/basic-auth\ndata: {password: aHVzaA==}"))
	b.step()
	if got := judged(); got != "<nil>" || len(b.c.belief.unusable) != 0 || b.sessions[0].Password != "hush" {
		t.Errorf("after it was made: %s %v %+v", got, b.c.belief.unusable, b.sessions)
	}
}

// What is done to a Secret while the session is in use that it is for: the password
// is changed, it is deleted, and made anew, first of a type that is wrong.
func TestSecretChangesWhileInUse(t *testing.T) {
	b := newBGPBench()
	secret := func(password string) *corev1.Secret {
		return from[corev1.Secret](t, "metadata: {name: s}\ntype: kubernetes.io/basic-auth\ndata: {"+password+"}")
	}
	passwords := keepOf(b.c.belief, b.c.belief.passwords, func(in *corev1.Secret) (peering.Secret, bool) { return secretFact(in), true })
	put := func(password string) {
		o := secret(password)
		b.version++
		o.SetNamespace("ours")
		o.SetResourceVersion(fmt.Sprint(b.version))
		passwords.Update(o)
	}
	steps := []struct {
		what    string
		do      func()
		session peering.Session // as far as it is looked at
		verdict string          // "": nothing is said yet
	}{
		{"as it is", func() { put("password: aHVzaA==") }, peering.Session{Name: "r", Password: "hush"}, "<nil>"},
		{"rotated", func() { put("password: bG91ZA==") }, peering.Session{Name: "r", Password: "loud"}, "<nil>"},
		{"without an entry", func() { put("token: aHVzaA==") }, peering.Session{Name: "r", Frozen: true}, "spec.passwordSecret names s, a Secret without an entry password"},
		{"with it again", func() { put("password: aHVzaA==") }, peering.Session{Name: "r", Password: "hush"}, "<nil>"},
		{"deleted", func() {
			o := secret("")
			b.version++
			o.SetNamespace("ours")
			o.SetResourceVersion(fmt.Sprint(b.version))
			if err := passwords.Delete(o); err != nil {
				t.Fatal(err)
			}
		}, peering.Session{Name: "r", Frozen: true}, ""},
		{"and looked for", func() { b.c.belief.meet(map[string]string{"s": ""}) }, peering.Session{Name: "r", Frozen: true}, "spec.passwordSecret names s, and there is no such Secret in this namespace"},
		{"of another type", func() { b.c.belief.meet(map[string]string{"s": "Opaque"}) }, peering.Session{Name: "r", Frozen: true}, "spec.passwordSecret names s, a Secret of type Opaque"},
		{"as it should be", func() { put("password: c29mdA==") }, peering.Session{Name: "r", Password: "soft"}, "<nil>"},
	}
	seen(b, b.c.belief.peers, peerOf, from[v1beta2.BGPPeer](t, "metadata: {name: r}\nspec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1, passwordSecret: {name: s}}"))
	seen(b, b.c.belief.peers, peerOf, from[v1beta2.BGPPeer](t, "metadata: {name: z}\nspec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.2}"))
	for _, c := range steps {
		c.do()
		b.step()
		r, other := b.sessions[0], b.sessions[1]
		if got := (peering.Session{Name: r.Name, Frozen: r.Frozen, Password: r.Password}); !reflect.DeepEqual(got, c.session) || other.Frozen || other.Password != "" {
			t.Errorf("%s: %+v, beside %+v", c.what, got, other)
		}
		if told := b.told[len(b.told)-1]; !reflect.DeepEqual(told, b.sessions) {
			t.Errorf("%s: the speaker knows %+v", c.what, told)
		}
		verdict := ""
		all, _, _ := b.c.belief.configs(b.feed, true)
		for _, o := range all {
			if o.name == "r" {
				refused, _ := o.judged(b.snapshot, b.peering)
				verdict = fmt.Sprint(refused)
			}
		}
		if (verdict == "") != (c.verdict == "") || !strings.HasPrefix(verdict, c.verdict) {
			t.Errorf("%s: %s", c.what, verdict)
		}
	}
}
