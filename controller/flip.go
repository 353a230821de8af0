package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
)

// A Flip is a change of a Service's externalTrafficPolicy in an order that loses
// nothing. A node without endpoints drops what comes in the moment in which
// kube-proxy learns that the policy is Local, and a router takes longer than that
// to learn that the node is out. So the node goes first: the Service is announced
// as if it were Local, and becomes so when nobody else announces it any more. The
// way back needs no such care: nodes that are new announce late.
type Flip struct {
	REST      *rest.Config
	Namespace string                // holdfast's own: the statuses are there
	Service   allocator.ServiceName // of type LoadBalancer
	Policy    string                // Cluster or Local
	Routers   time.Duration         // how long routers have to act on what the nodes told them last
	Say       func(string, ...any)  // is told what is done, a sentence at a time

	clients *clients
	down    down
}

const (
	flipPoll = 200 * time.Millisecond // the pace at which it is looked who announces
	// The first and the longest pause before the policy is changed once more, where
	// somebody else has changed the Service meanwhile.
	flipAgain, flipAgainMost = 20 * time.Millisecond, time.Second
)

// Run does it. If it cannot be completed, or the context ends before the policy is
// changed, the Service is announced as before, and the error says so.
func (f *Flip) Run(ctx context.Context) error {
	if f.Policy != string(corev1.ServiceExternalTrafficPolicyCluster) && f.Policy != string(corev1.ServiceExternalTrafficPolicyLocal) {
		return fmt.Errorf("the policy is %q: it can be Cluster or Local", f.Policy)
	}
	var err error
	if f.clients, err = newClients(f.REST); err != nil {
		return err
	}
	s, err := f.service(ctx)
	if err != nil {
		return err
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return fmt.Errorf("the Service %s is of type %s: only one of type LoadBalancer is announced", f.Service, s.Spec.Type)
	}
	if string(s.Spec.ExternalTrafficPolicy) == f.Policy && !narrowed(s) {
		f.Say("%s has externalTrafficPolicy %s already", f.Service, f.Policy)
		return nil
	}
	toLocal := f.Policy == string(corev1.ServiceExternalTrafficPolicyLocal)
	if !toLocal || len(s.Status.LoadBalancer.Ingress) == 0 || isLocal(s) {
		if err := f.patch(ctx, change("", f.Policy, nil)); err != nil {
			return err
		}
		text := "%s has externalTrafficPolicy %s"
		if !toLocal {
			text += ": nodes without endpoints announce it once they serve it"
		}
		f.Say(text, f.Service, f.Policy)
		return nil
	}
	with, err := f.endpoints(ctx)
	if err != nil {
		return err
	}
	if len(with) == 0 {
		return fmt.Errorf("the Service %s has no ready endpoint: with Local nobody would announce it", f.Service)
	}
	if err := f.narrow(ctx, with); err != nil {
		return f.undo(ctx, err)
	}
	f.Say("%s has externalTrafficPolicy Local", f.Service)
	return nil
}

// narrow leads from Cluster to Local.
func (f *Flip) narrow(ctx context.Context, with []string) error {
	local := "Local"
	if err := f.patch(ctx, change("", "", &local)); err != nil {
		return err
	}
	f.Say("%s is announced as if it were Local: from %s", f.Service, strings.Join(with, ", "))
	if err := f.wait(ctx); err != nil {
		return err
	}
	for again := flipAgain; ; again = min(2*again, flipAgainMost) {
		// Only for the Service as it is now: if the answer does not come, and what
		// was done is undone, it cannot take effect any more.
		s, err := f.service(ctx)
		if err != nil {
			return err
		}
		if !narrowed(s) {
			return fmt.Errorf("somebody has removed annotation %s meanwhile", allocator.AnnotationAnnounceAs)
		}
		if err = f.patch(ctx, change(s.ResourceVersion, f.Policy, nil)); !apierrors.IsConflict(err) {
			return err
		}
		if pause(ctx, again) != nil {
			return fmt.Errorf("somebody else changes it all the time: %w", err)
		}
	}
}

// undo takes the narrowing back, whatever of it was done, and returns the error for
// which that is, or nil where the policy turns out to be changed nonetheless: an
// answer can be lost.
func (f *Flip) undo(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	for {
		s, err := f.service(ctx)
		if apierrors.IsNotFound(err) {
			return cause
		}
		if err == nil && narrowed(s) {
			err = f.patch(ctx, change(s.ResourceVersion, "", nil))
		}
		switch {
		case err == nil && isLocal(s):
			f.Say("%s has externalTrafficPolicy Local", f.Service)
			return nil
		case err == nil:
			return fmt.Errorf("the policy of %s is as it was, and it is announced as before: %w", f.Service, cause)
		}
		if pause(ctx, flipPoll) != nil {
			return errors.Join(cause, fmt.Errorf("the Service %s may still be announced as if it were Local, only by nodes with endpoints: remove its annotation %s, or run this again: %w",
				f.Service, allocator.AnnotationAnnounceAs, err))
		}
	}
}

// wait returns when, for as long as routers need to see it, only nodes with endpoints
// have announced, and one of them has: where nobody does, it is not known yet who
// does, as of a Service that has just joined an address.
func (f *Flip) wait(ctx context.Context) error {
	said, since := "", time.Time{}
	for {
		missing, err := f.missing(ctx)
		switch {
		case err != nil && ctx.Err() != nil && said != "":
			return fmt.Errorf("waiting for %s: %w", said, err)
		case err != nil:
			return err
		case missing != "":
			since = time.Time{}
		case since.IsZero():
			f.Say("nobody else announces it; routers have %s to see it", f.Routers)
			since = time.Now()
		}
		if missing != "" && missing != said {
			f.Say("waiting for %s", missing)
		}
		said = missing
		left := flipPoll
		if missing == "" {
			if left = time.Until(since.Add(f.Routers)); left <= 0 {
				return nil
			}
		}
		if err := pause(ctx, min(left, flipPoll)); err != nil {
			return fmt.Errorf("waiting for %s: %w", cmp.Or(said, "routers to see it"), err)
		}
	}
}

// missing says what there is to wait for; "": nothing.
func (f *Flip) missing(ctx context.Context) (string, error) {
	with, err := f.endpoints(ctx)
	if err != nil {
		return "", err
	}
	announcing, err := f.announcing(ctx)
	if err != nil {
		return "", err
	}
	if announcing, err = f.heard(ctx, announcing, with); err != nil {
		return "", err
	}
	others := without(announcing, with)
	switch {
	case len(others) > 0:
		return strings.Join(others, ", ") + " to withdraw it", nil
	case len(announcing) > 0:
		return "", nil
	case len(with) == 0:
		return "a ready endpoint: there is none any more, and with Local nobody would announce it", nil
	}
	return fmt.Sprintf("a node with endpoints (%s) to announce it: no ServiceBGPStatus and no ServiceL2Status in namespace %s says that one does", strings.Join(with, ", "), f.Namespace), nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (f *Flip) get(ctx context.Context, r *rest.Request, into runtime.Object) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	return timed(ctx, r).Do(ctx).Into(into)
}

// service reads the Service.
func (f *Flip) service(ctx context.Context) (*corev1.Service, error) {
	s := &corev1.Service{}
	if err := f.get(ctx, f.clients.core.Get().Namespace(f.Service.Namespace).Resource("services").Name(f.Service.Name), s); err != nil {
		return nil, fmt.Errorf("reading Service %s: %w", f.Service, err)
	}
	return s, nil
}

func narrowed(s *corev1.Service) bool {
	_, is := s.Annotations[allocator.AnnotationAnnounceAs]
	return is
}

func isLocal(s *corev1.Service) bool {
	return s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// change is a patch of the policy, if one is given, and of the annotation; of one
// version of the Service, if one is given.
func change(version, policy string, as *string) map[string]any {
	metadata := map[string]any{"annotations": map[string]any{allocator.AnnotationAnnounceAs: as}}
	if version != "" {
		metadata["resourceVersion"] = version
	}
	patch := map[string]any{"metadata": metadata}
	if policy != "" {
		patch["spec"] = map[string]any{"externalTrafficPolicy": policy}
	}
	return patch
}

func (f *Flip) patch(ctx context.Context, change map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	r := f.clients.core.Patch(types.MergePatchType).Namespace(f.Service.Namespace).Resource("services").Name(f.Service.Name).Body(body)
	if err := timed(ctx, r).Do(ctx).Error(); err != nil {
		return fmt.Errorf("changing Service %s: %w", f.Service, err)
	}
	return nil
}
