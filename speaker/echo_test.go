package speaker

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"holdfast.dev/holdfast/deploy/world"
)

// The kernel answers echo requests of both families; one process does not take
// another's answers for its own, and nobody answers for an address that is no
// machine's.
func TestEchoes(t *testing.T) {
	world.Require(t)
	var e [2]*echoer
	for i := range e {
		var err error
		if e[i], err = openEchoer(); err != nil {
			t.Fatal(err)
		}
		defer e[i].close()
	}
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}
	for _, addr := range local {
		if err := e[0].ask(addr); err != nil {
			t.Fatalf("asking %s: %v", addr, err)
		}
	}
	if err := e[0].ask(netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Log("there is a route to nowhere") // then there is no answer, which is the same
	}
	var heard []netip.Addr
	for end := time.Now().Add(10 * time.Second); len(heard) < len(local) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		heard = append(heard, e[0].collect()...)
	}
	slices.SortFunc(heard, netip.Addr.Compare)
	if !slices.Equal(heard, local) {
		t.Errorf("answered by %v, want %v", heard, local)
	}
	if others := e[1].collect(); len(others) > 0 {
		t.Errorf("a process that asked nobody was answered by %v", others)
	}
}

// A suspicion names the node, and nothing else in a message is lost for it.
func TestSuspicionIsAMessage(t *testing.T) {
	l := newLedger("n1", 7)
	l.stand(standing{ready: true})
	l.flush()
	m := l.header(kindSuspect)
	m.about = "n2"
	got, err := parseMessage(appendMessage(nil, m, epoch), epoch)
	if err != nil || got.kind != kindSuspect || got.about != "n2" || got.node != "n1" || got.life != 7 || got.to != m.to || !got.ready {
		t.Errorf("got %+v, %v", got, err)
	}
}
