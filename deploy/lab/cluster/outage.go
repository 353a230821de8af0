package cluster

import (
	"fmt"
	"strings"

	"holdfast.dev/holdfast/deploy/world"
)

// A cut is what of a node cannot reach the API server.
type cut string

const (
	cutNothing cut = ""
	cutAll     cut = "all"  // kubelet, kube-proxy and pods
	cutPods    cut = "pods" // only clients of the API server's Service: pods, holdfast among them
)

// The rules of cuts see packets after kube-proxy has sent those to the API
// server's Service elsewhere, and answers before they look as if they came from
// there.
var cutRules = map[cut]string{
	cutAll: `
	chain away { type filter hook postrouting priority 300; ip daddr CP4 drop; ip6 daddr CP6 drop; }
	chain back { type filter hook prerouting priority -400; ip saddr CP4 drop; ip6 saddr CP6 drop; }`,
	cutPods: `
	chain away { type filter hook postrouting priority 300; ip daddr CP4 ct original ip daddr SERVICE drop; }
	chain back { type filter hook prerouting priority -150; ip saddr CP4 ct original ip daddr SERVICE drop; }`,
}

// applyCut makes a node's packet filter hold what is cut, and nothing else.
func applyCut(node string, c cut) error {
	text := "table inet lab\ndelete table inet lab\n"
	if rules := cutRules[c]; rules != "" {
		text += "table inet lab {" + rules + "\n}\n"
	}
	text = strings.NewReplacer("CP4", cpStation.v4().String(), "CP6", cpStation.v6().String(), "SERVICE", serviceAPI).Replace(text)
	cmd := world.Command(node, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("filtering what %s sends to the API server: %w: %s", node, err, out)
	}
	return nil
}

// setCut remembers what is cut, also for the next boot.
func (s *supervisor) setCut(m *machine, c cut) error {
	m.cut = c
	if m.cmd == nil {
		return nil
	}
	return applyCut(m.name, c)
}

// setCable pulls or plugs a node's cable, also for the next boot.
func (s *supervisor) setCable(m *machine, pulled bool) error {
	m.pulled = pulled
	if m.cmd == nil {
		return nil
	}
	state := "up"
	if pulled {
		state = "down"
	}
	return world.IP(fabric, "link set "+m.cable()+" "+state)
}
