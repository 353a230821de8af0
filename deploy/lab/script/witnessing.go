package script

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"holdfast.dev/holdfast/deploy/lab/witness"
	"holdfast.dev/holdfast/deploy/world"
)

// witness begins to record the API and the client's wire, until the run is closed.
func (r *run) witness(ctx context.Context) error {
	listed, failed := make(chan bool), make(chan error, 1)
	go func() {
		if err := r.history.Follow(r.api.ctx, r.api.core, func() { close(listed) }); err != nil {
			failed <- err
		}
	}()
	err := world.Within(r.lab.NetworkFile("client"), func() (err error) {
		r.wire, err = witness.OpenWire("eth0")
		return err
	})
	if err != nil {
		return err
	}
	go func() {
		if err := r.wire.Hear(r.api.ctx, r.heard.Add); err != nil {
			fmt.Fprintln(r.out, "          the wire is not heard any more:", err)
		}
	}()
	select {
	case <-listed:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ownersOf asks the wire who answers for the address, up to three times: a question or
// an answer may be late.
func (r *run) ownersOf(ctx context.Context, addr netip.Addr) (owners []string, err error) {
	from := time.Now()
	for range 3 {
		if err := r.wire.Ask(addr); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		for _, mac := range r.heard.Stations(addr, from) {
			owners = append(owners, r.nodeOf(mac))
		}
		if len(owners) > 0 {
			break
		}
	}
	return owners, nil
}

// nodeOf returns the node that has the MAC, or the MAC.
func (r *run) nodeOf(mac string) string {
	for _, node := range r.lab.Nodes() {
		if own, err := r.lab.MAC(node); err == nil && own.String() == mac {
			return node
		}
	}
	return mac
}

// ownerOf returns who answers for the address, or the addresses of a Service.
func (r *run) ownerOf(ctx context.Context, arg string) (string, error) {
	addrs, err := r.addrs([]string{arg})
	if err != nil {
		return "", err
	}
	owners, err := r.ownersOf(ctx, addrs[0])
	if err != nil {
		return "", err
	}
	if len(owners) != 1 {
		return "", claim("%s is answered for by %v", addrs[0], owners)
	}
	return owners[0], nil
}

func (r *run) isOwner(ctx context.Context, args []string) error {
	if err := want(2, args, "an address or a Service, and a node"); err != nil {
		return err
	}
	addrs, err := r.addrs(args[:1])
	if err != nil {
		return err
	}
	for _, a := range addrs {
		owners, err := r.ownersOf(ctx, a)
		if err != nil {
			return err
		}
		if len(owners) != 1 || owners[0] != args[1] {
			return claim("%s is answered for by %v, want %s", a, owners, args[1])
		}
	}
	return nil
}

// leader returns the node whose copy holds the Lease.
func leader(ctx context.Context, lab Lab, a *api) (string, error) {
	var l coordinationv1.Lease
	if err := a.get(ctx, leases, namespace, "holdfast", &l); err != nil {
		return "", fmt.Errorf("reading the Lease: %w", err)
	}
	if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" {
		return "", claim("nobody holds the Lease")
	}
	holder := *l.Spec.HolderIdentity
	for _, node := range lab.Nodes() {
		if rest, ok := strings.CutPrefix(holder, node); ok && (rest == "" || rest[0] < '0' || rest[0] > '9') {
			return node, nil
		}
	}
	return "", fmt.Errorf("the Lease is held by %q, which names no node", holder)
}
