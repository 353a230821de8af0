package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	"holdfast.dev/holdfast/deploy/lab/cluster"
)

func init() {
	add("objects", map[string]verb{
		"peering": {"", "[gr=no] [bfd=MILLISECONDS|no] [pools=A,B] [peers=ROUTER,ROUTER] [weighted=yes]",
			`creates or changes a BGPPeer for each router, for both families over IPv4, with graceful
restart and a BFDProfile of that interval (default 300) times 3, and the BGPAdvertisement all`, (*run).peering},
		"flip": {"", "SVC Cluster|Local", "holdfast flip; what it says is kept in $OUTPUT", (*run).flip},
	})
}

func (r *run) peering(ctx context.Context, args []string) error {
	args, o, err := options(args, "gr", "bfd", "pools", "peers", "weighted")
	if err != nil || len(args) > 0 {
		return errors.Join(err, want(0, args, "options"))
	}
	if len(r.lab.Routers()) == 0 {
		return errors.New("this lab has no routers: the scenario needs routers=frr,bird")
	}
	interval := 300
	if text := o["bfd"]; text != "" && text != "no" {
		if interval, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("bfd=%s: want milliseconds, or no", text)
		}
	}
	if o["bfd"] != "no" {
		err := r.api.put(ctx, profiles, object{"apiVersion": "metallb.io/v1beta1", "kind": "BFDProfile", "metadata": object{"name": "lab", "namespace": namespace},
			"spec": object{"receiveInterval": interval, "transmitInterval": interval}})
		if err != nil {
			return err
		}
	}
	for _, name := range r.lab.Routers() {
		addr, err := r.lab.RouterAddress(name)
		if err != nil {
			return err
		}
		spec := object{
			"myASN": cluster.NodeAS, "peerASN": cluster.RouterAS, "peerAddress": addr.String(),
			"dualStackAddressFamily": true, "enableGracefulRestart": o["gr"] != "no",
		}
		if o["bfd"] != "no" {
			spec["bfdProfile"] = "lab"
		}
		if err := r.api.put(ctx, peers, object{"apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
			"metadata": object{"name": name, "namespace": namespace}, "spec": spec}); err != nil {
			return err
		}
	}
	spec, notes := object{}, object{}
	if names := commas(o["pools"]); names != nil {
		spec["ipAddressPools"] = names
	}
	if names := commas(o["peers"]); names != nil {
		spec["peers"] = names
	}
	if o["weighted"] == "yes" {
		notes["holdfast.dev/weighted"] = "true"
	}
	return r.api.put(ctx, routed, object{"apiVersion": "metallb.io/v1beta1", "kind": "BGPAdvertisement",
		"metadata": object{"name": "all", "namespace": namespace, "annotations": notes}, "spec": spec})
}

func (r *run) flip(_ context.Context, args []string) error {
	if err := want(2, args, "a Service and a policy"); err != nil {
		return err
	}
	ns, name := splitName(args[0])
	out, err := r.lab.Holdfast("flip", "-n", ns, name, args[1]).CombinedOutput()
	r.vars["OUTPUT"] = string(bytes.TrimSpace(out))
	if err != nil {
		return fmt.Errorf("holdfast flip: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
