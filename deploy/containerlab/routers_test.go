package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// What a session lacks is seen: its state, the routes of one family, itself.
func TestFRRSession(t *testing.T) {
	const summary = `{"ipv4Unicast":{"peers":{
		"10.1.0.11":{"state":"Established","pfxRcd":1,"connectionsEstablished":3},
		"10.1.0.12":{"state":"Established","pfxRcd":1,"connectionsEstablished":3},
		"10.1.0.13":{"state":"Active","pfxRcd":1,"connectionsEstablished":3}}},
	"ipv6Unicast":{"peers":{
		"10.1.0.11":{"state":"Established","pfxRcd":1,"connectionsEstablished":3},
		"10.1.0.12":{"state":"Established","pfxRcd":0,"connectionsEstablished":3},
		"10.1.0.13":{"state":"Active","pfxRcd":1,"connectionsEstablished":3}}}}`
	var all frrSummary
	if err := json.Unmarshal([]byte(summary), &all); err != nil {
		t.Fatal(err)
	}
	for neighbour, want := range map[string]string{"10.1.0.11": "number 3", "10.1.0.12": "", "10.1.0.13": "", "10.1.0.14": ""} {
		if name, err := all.established(neighbour); name != want || (err == nil) != (want != "") {
			t.Errorf("%s: session %q, %v; want %q", neighbour, name, err, want)
		}
	}
}

func TestFRRBFD(t *testing.T) {
	const peers = `[{"peer":"10.1.0.11","interface":"rack","status":"up"},{"peer":"10.1.0.12","interface":"rack","status":"down"},
		{"peer":"fe80::7","interface":"eth1","status":"up"},{"peer":"fe80::8","interface":"eth2","status":"init"}]`
	var all frrBFD
	if err := json.Unmarshal([]byte(peers), &all); err != nil {
		t.Fatal(err)
	}
	for neighbour, want := range map[string]bool{"10.1.0.11": true, "10.1.0.12": false, "eth1": true, "eth2": false, "eth3": false} {
		if all.up(neighbour) != want {
			t.Errorf("%s: not %v", neighbour, want)
		}
	}
}

func TestBIRD(t *testing.T) {
	const channel = `  Channel ipv4
    State:          UP
    Routes:         1 imported, 0 exported, 1 preferred
    Route change stats:     received   rejected   filtered    ignored   accepted
`
	const up = "BIRD 2.0.12 ready.\nName       Proto      Table      State  Since         Info\n" +
		"node1      BGP        ---        up     00:06:34.355  Established   \n  BGP state:          Established\n" + channel + channel
	for text, want := range map[string]string{
		up: "since 00:06:34.355",
		strings.NewReplacer(" up ", " start ", "Established", "Active").Replace(up): "", // the routes are stale
		strings.Replace(up, "1 imported", "0 imported", 1):                          "",
		strings.Replace(up, channel, "", 1):                                         "",
		strings.Replace(up, "node1", "node2", 1):                                    "",
	} {
		if name, ok := birdEstablished("node1", text); name != want || ok != (want != "") {
			t.Errorf("session %q, want %q:\n%s", name, want, text)
		}
	}
	const table = `bfd1:
IP address                Interface  State      Since         Interval  Timeout
10.2.0.11                 rack       Up         00:06:34.354    0.100    0.300
10.2.0.1                  rack       Down       00:06:33.865    1.000    0.000
`
	for address, want := range map[string]bool{"10.2.0.11": true, "10.2.0.1": false, "10.2.0.12": false} {
		if birdBFDUp(table, address) != want {
			t.Errorf("%s: not %v", address, want)
		}
	}
}
