package controller

import (
	"encoding/json"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"holdfast.dev/holdfast/allocator"
)

func drawPorts(t *rapid.T) []allocator.Port {
	ports := rapid.SliceOf(rapid.Custom(func(t *rapid.T) allocator.Port {
		return allocator.Port{
			Protocol: rapid.SampledFrom([]string{"TCP", "UDP", "SCTP"}).Draw(t, "protocol"),
			Number:   uint16(rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(65530, 65535), rapid.IntRange(1, 65535)).Draw(t, "number")),
		}
	})).Draw(t, "ports")
	slices.SortFunc(ports, allocator.Port.Compare)
	if ports = slices.Compact(ports); len(ports) == 0 {
		return nil
	}
	return ports
}

// What one leader writes the next one reads.
func TestAlwaysReadsTheRecordThatItWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func() time.Time {
			return noon.Add(time.Duration(rapid.IntRange(-1e6, 1e6).Draw(t, "ms")) * time.Millisecond)
		}
		addr := func() netip.Addr {
			return netip.MustParseAddr(rapid.SampledFrom([]string{"192.0.2.1", "192.0.2.2", "2001:db8::1"}).Draw(t, "address"))
		}
		timers := func() (out []allocator.Timer) {
			for range rapid.IntRange(0, 2).Draw(t, "timers") {
				out = append(out, allocator.Timer{Addr: addr(), Code: allocator.PoolLost, Since: at()})
			}
			return out
		}
		want := allocator.Record{Written: at(), Share: rapid.String().Draw(t, "share"), Ports: drawPorts(t), Settling: timers(), Overlap: timers(), Kept: timers()}
		for range rapid.IntRange(0, 3).Draw(t, "marks") {
			m := allocator.PoolMark{Addr: addr(), Pool: rapid.SampledFrom([]string{"", "p"}).Draw(t, "pool"), Since: at()}
			if rapid.Bool().Draw(t, "labelled") {
				m.Labels = map[string]string{"zone": "a"}
			}
			want.Pools = append(want.Pools, m)
		}
		c, err := recordCondition(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := recordIn([]metav1.Condition{{Type: "other"}, c}); !reflect.DeepEqual(got, want) {
			t.Errorf("wrote %+v, read %+v, as %s", want, got, c.Message)
		}
	})
}

// A Service may have so many ports that a list of them did not fit into an annotation.
func TestThousandsOfPortsAreShort(t *testing.T) {
	var run, apart []allocator.Port
	for i := range 7900 {
		run = append(run, allocator.Port{Protocol: "TCP", Number: uint16(1000 + i)})
		apart = append(apart, allocator.Port{Protocol: "TCP", Number: uint16(1000 + 8*i)})
	}
	for _, c := range []struct {
		ports []allocator.Port
		most  int
	}{{run, 20}, {apart, 60_000}} {
		if text := portsText(c.ports); len(text) > c.most {
			t.Errorf("%d ports take %d bytes", len(c.ports), len(text))
		}
	}
}

func TestRecordThatCannotBeReadIsNone(t *testing.T) {
	for _, message := range []string{"", "{", `{"ports": 7}`, `{"ports": "TCP/80000"}`, `{"ports": "TCP/x"}`, `{"written": "yesterday"}`} {
		if r := recordIn([]metav1.Condition{{Type: conditionRecord, Message: message}}); !reflect.DeepEqual(r, allocator.Record{}) {
			t.Errorf("%q is read as %+v", message, r)
		}
	}
	in := from[corev1.Service](t, "metadata: {annotations: {holdfast.dev/hold: '{\"ports\": 7'}}\nspec: {type: LoadBalancer}")
	if s := serviceOf(in, ""); !s.fact.Record.IsZero() {
		t.Errorf("read as %+v", s.fact.Record)
	}
}

// Users can write annotations: what an earlier version kept there tells where addresses
// that are held came from, and nothing that counts against others.
func TestOldRecordProvesNothingToOthers(t *testing.T) {
	const forged = `'{"ports":[{"protocol":"TCP","number":443}],"pools":[{"addr":"192.0.2.1","pool":"p","since":"1999-01-01T00:00:00Z"},{"addr":"192.0.2.66","pool":"p"}],` +
		`"settling":[{"addr":"192.0.2.1","code":"PoolLost","since":"2099-01-01T00:00:00Z"},{"addr":"192.0.2.66","code":"PoolLost","since":"2026-01-01T00:00:00Z"}],` +
		`"kept":[{"addr":"192.0.2.66","code":"PortClash","since":"2099-01-01T00:00:00Z"}]}'`
	in := from[corev1.Service](t, "metadata: {annotations: {holdfast.dev/hold: "+forged+"}}\nspec: {type: LoadBalancer}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}")
	a := netip.MustParseAddr("192.0.2.1")
	want := allocator.Record{
		Pools:    []allocator.PoolMark{{Addr: a, Pool: "p"}},
		Settling: []allocator.Timer{{Addr: a, Code: allocator.PoolLost, Since: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}},
	}
	if got := serviceOf(in, "").fact.Record; !got.Equal(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	in.Status.Conditions = []metav1.Condition{{Type: conditionRecord, Message: `{"written":"2026-01-02T12:00:00Z","ports":"TCP/80"}`}}
	if got := serviceOf(in, "").fact.Record; len(got.Pools) != 0 || len(got.Ports) != 1 {
		t.Errorf("the annotation counts beside a record: %+v", got)
	}
}

// What others write beside the address is put right, too.
func TestIngressIsPlain(t *testing.T) {
	for entries, want := range map[string]bool{
		`[]`:                false,
		`[{ip: 192.0.2.1}]`: false,
		`[{ip: 192.0.2.1, ipMode: VIP}, {ip: "2001:db8::1"}]`:   false,
		`[{ip: 192.0.2.1, ipMode: Proxy}]`:                      true,
		`[{ip: 192.0.2.1, ports: [{port: 80, protocol: TCP}]}]`: true,
		`[{ip: 192.0.2.1}, {hostname: a.example}]`:              true,
		`[{ip: 192.0.2.1}, {ip: 192.0.2.1}]`:                    true,
		`[{ip: 192.0.2.1, hostname: a.example}]`:                true,
	} {
		in := from[corev1.Service](t, "spec: {type: LoadBalancer}\nstatus: {loadBalancer: {ingress: "+entries+"}}")
		if s := serviceOf(in, ""); s.odd != want {
			t.Errorf("%s: odd %v", entries, s.odd)
		}
	}
}

func BenchmarkReadRecord(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var ports []allocator.Port
	for range 3 {
		ports = append(ports, allocator.Port{Protocol: "TCP", Number: uint16(r.IntN(65536))})
	}
	slices.SortFunc(ports, allocator.Port.Compare)
	c, err := recordCondition(allocator.Record{Written: noon, Ports: ports, Pools: []allocator.PoolMark{{Addr: netip.MustParseAddr("192.0.2.1"), Pool: "p", Since: noon}}})
	if err != nil || !json.Valid([]byte(c.Message)) {
		b.Fatal(err, c.Message)
	}
	conditions := []metav1.Condition{c}
	b.ReportAllocs()
	for b.Loop() {
		recordIn(conditions)
	}
}
