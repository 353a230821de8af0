package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/deploy/world"
)

// A supervisor makes and runs a lab, inside its world.
type supervisor struct {
	options  Options
	log      *slog.Logger
	group    *world.Cgroup
	progress *os.File

	etcd, apiserver, controllers, scheduler *program

	routers map[string]*routing // by name

	mu       sync.Mutex // held by a command
	machines []*machine
}

// layerable puts the disks of nodes in memory where the machine's own disk
// would not do: container runtimes stack file systems by overlay, and overlay
// does not stand on overlay, as in a container.
func layerable(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	if fs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return nil
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting the disks of nodes: %w", err)
	}
	return nil
}

// bootTime is how long a lab may take to come up; on an idle machine it needs
// six seconds.
const bootTime = 3 * time.Minute

// supervise is the life of the first process in a lab's world. It returns only
// when the lab could not be brought up.
func supervise(state string, o Options, log *slog.Logger) error {
	if err := os.MkdirAll(stateInside, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(state, stateInside, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding the state directory: %w", err)
	}
	if err := layerable(filepath.Join(stateInside, nodesDir)); err != nil {
		return err
	}
	progress, err := os.OpenFile(filepath.Join(stateInside, progressFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	s := &supervisor{options: o, log: log, progress: progress}
	if err := s.bringUp(context.Background()); err != nil {
		s.say(saidFailed + err.Error())
		return err
	}
	if err := s.listen(); err != nil {
		s.say(saidFailed + err.Error())
		return err
	}
	s.say(saidReady)
	select {}
}

// What the last line of progress begins with.
const (
	saidReady  = "ready"
	saidFailed = "failed: "
)

// say tells whoever waits for the lab how far it is.
func (s *supervisor) say(line string) {
	s.log.Info("progress", "step", line)
	fmt.Fprintln(s.progress, line)
}

func (s *supervisor) bringUp(ctx context.Context) error {
	var err error
	if s.group, err = world.NewCgroup(); err != nil {
		return err
	}
	if err := buildNetwork(s.options); err != nil {
		return err
	}
	if err := writePKI(filepath.Join(stateInside, pkiDir), s.options); err != nil {
		return err
	}
	s.say("network and certificates are made")
	if err := s.startStore(); err != nil {
		return err
	}
	for _, n := range s.options.nodes() {
		m := &machine{station: n}
		s.machines = append(s.machines, m)
		if err := s.powerOn(m); err != nil {
			return err
		}
	}
	if err := s.startRouters(ctx); err != nil {
		return err
	}
	cfg := s.rest()
	if err := until(ctx, bootTime, func(ctx context.Context) error { return apiReady(ctx, cfg) }); err != nil {
		return fmt.Errorf("waiting for the API server: %w\n%s", err, lastLines(s.logOf(s.apiserver), 10))
	}
	s.say("the API server answers")
	if err := errors.Join(s.controllers.start(), s.scheduler.start()); err != nil {
		return err
	}
	return s.waitReady(ctx, cfg)
}

// startStore starts etcd and the API server, and prepares the rest.
func (s *supervisor) startStore() error {
	logs := filepath.Join(stateInside, logDir)
	run := func(name string, flags []string) *program {
		return &program{argv: kubernetesProgram(name, flags...), ns: controlPlane, logDir: logs, log: s.log}
	}
	s.etcd = run("etcd", etcdFlags())
	s.apiserver = run("kube-apiserver", apiserverFlags())
	s.controllers = run("kube-controller-manager", controllerManagerFlags())
	s.scheduler = run("kube-scheduler", schedulerFlags())
	policy := filepath.Join(stateInside, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o644); err != nil {
		return fmt.Errorf("writing the audit policy: %w", err)
	}
	return errors.Join(s.etcd.start(), s.apiserver.start())
}

func (s *supervisor) logOf(p *program) string { return filepath.Join(p.logDir, p.name()+".log") }

func (s *supervisor) rest() *rest.Config {
	return restConfig(filepath.Join(stateInside, pkiDir), "/run/netns/"+controlPlane)
}

// waitReady waits until every node is Ready and has its images, and pods can
// be made.
func (s *supervisor) waitReady(ctx context.Context, cfg *rest.Config) error {
	api, err := clientset.NewForConfig(cfg)
	if err != nil {
		return err
	}
	err = until(ctx, bootTime, func(ctx context.Context) error {
		for _, m := range s.machines {
			if _, err := os.Stat(filepath.Join(m.dir(), bootedFile)); err != nil {
				if !m.powered() {
					return final{fmt.Errorf("%s gave up", m.name)}
				}
				return fmt.Errorf("%s has not booted", m.name)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("booting the nodes: %w\n%s", err, s.bootLogs())
	}
	s.say("container runtimes run, images are loaded")
	err = until(ctx, bootTime, func(ctx context.Context) error {
		return nodesReady(ctx, api, s.options.nodeNames())
	})
	if err != nil {
		return fmt.Errorf("waiting for the nodes: %w", err)
	}
	err = until(ctx, bootTime, func(ctx context.Context) error {
		_, err := api.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("waiting for the default service account: %w", err)
	}
	s.say("the nodes are Ready")
	return nil
}

func (s *supervisor) bootLogs() (text string) {
	for _, m := range s.machines {
		text += m.name + ": " + lastLines(filepath.Join(m.dir(), logDir, "boot.log"), 5) + "\n"
	}
	return text
}
