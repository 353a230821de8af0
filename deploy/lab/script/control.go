package script

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// controlClass keeps holdfast away from a Service.
const controlClass = "holdfast.dev/control"

func (r *run) control(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "move" {
		return r.neighbours(commas(args[1]), args[2])
	}
	plain, o, err := options(args, "at", "via", "policy", "app")
	if err == nil {
		err = want(2, plain, "a Service and ports")
	}
	if err != nil {
		return err
	}
	create := append(plain, "class="+controlClass)
	if at := commas(o["at"]); len(at) == 1 && strings.Contains(at[0], ":") {
		create = append(create, "families=v6")
	} else if len(at) == 1 {
		create = append(create, "families=v4")
	}
	for _, key := range []string{"policy", "app"} {
		if v, ok := o[key]; ok {
			create = append(create, key+"="+v)
		}
	}
	if err := r.service(ctx, create); err != nil {
		return err
	}
	var ingress []object
	for _, a := range commas(o["at"]) {
		ingress = append(ingress, object{"ip": a})
	}
	status := object{"status": object{"loadBalancer": object{"ingress": ingress}}}
	if err := r.api.merge(ctx, services, plain[0], status, "status"); err != nil {
		return err
	}
	if err := r.neighbours(commas(o["at"]), o["via"]); err != nil {
		return err
	}
	return until(ctx, 10*time.Second, func() error { return r.hasAddress(ctx, plain[0]) })
}

// neighbours tells the client by hand where addresses are.
func (r *run) neighbours(addrs []string, node string) error {
	mac, err := r.lab.MAC(node)
	if err != nil {
		return err
	}
	for _, text := range addrs {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		out, err := r.lab.Exec("client", "ip", "neigh", "replace", a.String(), "lladdr", mac.String(), "dev", "eth0", "nud", "permanent").CombinedOutput()
		if err != nil {
			return fmt.Errorf("setting the client's neighbour %s: %w: %s", a, err, out)
		}
	}
	return nil
}
