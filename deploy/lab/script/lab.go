package script

import (
	"context"
	"net"
	"net/netip"
	"os/exec"

	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/deploy/lab/cluster"
)

// Lab is what scenarios need of a running lab; *cluster.Lab has it.
type Lab interface {
	Dir() string
	Options() cluster.Options
	Nodes() []string
	REST() *rest.Config
	Kubectl(args ...string) *exec.Cmd
	Holdfast(args ...string) *exec.Cmd
	Exec(name string, argv ...string) *exec.Cmd
	Self(name string, args ...string) *exec.Cmd
	NetworkFile(name string) string
	AuditLog() string
	MAC(node string) (net.HardwareAddr, error)
	Addresses(node string) ([]netip.Addr, error)
	PowerOff(node string) error
	PowerOn(node string) error
	CablePull(node string) error
	CablePlug(node string) error
	APIStop() error
	APIStart(ctx context.Context) error
	APICut(node string) error
	APIJoin(node string) error
	Routers() []string
	RouterAddress(name string) (netip.Addr, error)
	RouterKill(name string) error
	RouterStop(name string) error
	RouterStart(name string) error
	RouterConfigure(name, text string) error
	RouterConfig(name string) (string, error)
	RouterStatus(name string) (*cluster.RouterStatus, error)
	RouterReport(name string) string
	FarVia(names ...string) error
	Restore(ctx context.Context) error
	WaitNodes(ctx context.Context) error
	SetHoldfastArgs(ctx context.Context, args string) error
	RemoveHoldfast(ctx context.Context, all bool) error
}
