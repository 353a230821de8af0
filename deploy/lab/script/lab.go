package script

import (
	"context"
	"net"
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
	Exec(name string, argv ...string) *exec.Cmd
	Self(name string, args ...string) *exec.Cmd
	NetworkFile(name string) string
	AuditLog() string
	MAC(node string) (net.HardwareAddr, error)
	PowerOff(node string) error
	PowerOn(node string) error
	CablePull(node string) error
	CablePlug(node string) error
	APIStop() error
	APIStart(ctx context.Context) error
	APICut(node string) error
	APIJoin(node string) error
	Restore(ctx context.Context) error
	WaitNodes(ctx context.Context) error
	SetHoldfastArgs(ctx context.Context, args string) error
}
