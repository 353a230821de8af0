package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"holdfast.dev/holdfast/allocator"
	"holdfast.dev/holdfast/controller/api/v1beta1"
)

const (
	statusDelay  = 200 * time.Millisecond // changes seldom come alone
	statusRetry  = 3 * time.Second
	statusResync = 10 * time.Minute // what others changed is put right
)

// A statusObject is an object by which a node says something about a Service.
type statusObject interface {
	runtime.Object
	metav1.Object
}

// A statusKind is what there is to know of a kind of them.
type statusKind[P statusObject] struct {
	title, resource, prefix string
	empty                   func() P
	// about makes an object: what the node says of the Service is a list.
	about func(m metav1.ObjectMeta, node string, of name, list []string) P
	// said returns what about was given; body the status, with empty lists, too.
	said func(P) (node string, list []string)
	body func(P) any
	// list lists.
	list func(rest.Result) ([]P, error)
}

// AnnotationAddresses, on a ServiceL2Status or ServiceBGPStatus: the addresses of the
// Service that the node answers for, or advertises, sorted, with commas between them.
// An object without it is of an older version, and is about all addresses.
const AnnotationAddresses = "holdfast.dev/addresses"

// AnnotationSessions, on the one ServiceBGPStatus of a node that is about no Service:
// its BGP sessions that are established, sorted, with commas between them, each as the
// name of the BGPPeer and the family of addresses: router/IPv4. Without such an object a
// node is of an older version. (On the objects of its Services a session that flaps
// would have to be written ten thousand times.)
const AnnotationSessions = "holdfast.dev/sessions"

// annotationOf is where an object says what it says.
func annotationOf(about name) string {
	if about == (name{}) {
		return AnnotationSessions
	}
	return AnnotationAddresses
}

// sessionText names a session for a family.
func sessionText(peer string, ipv4 bool) string {
	if ipv4 {
		return peer + "/IPv4"
	}
	return peer + "/IPv6"
}

// statuses keeps the objects of one kind of this node as they should be, and removes
// those of a node that is out of sight for Services that this one has taken over.
type statuses[P statusObject] struct {
	statusKind[P]
	client    rest.Interface
	node      string
	namespace string
	owner     *metav1.OwnerReference // the pod; nil: not known
	// now tells what the node says of which Service, and which nodes are in sight
	// (nil: as before): what has changed, or with whole all. nil: nothing is said.
	now func(whole bool) (services map[name]allocator.Report, sight map[string]bool)
	// sessions tells which BGP sessions the node has. nil: that is not said.
	sessions func() []Session
	log      *slog.Logger
	stats    *counters
	gate     *gate
	change   chan struct{}
	// sighted is told which nodes are in sight, when that is not what it was told last.
	// May be nil.
	sighted func(map[string]bool)

	want    map[name]account           // what the node says; nil: to be asked
	todo    map[name]bool              // Services whose objects may not be as they should be
	unknown chan struct{}              // what is known is to be listed anew
	known   map[name]record            // own objects, by Service; nil: to be listed
	listed  time.Time                  // when they last were
	sight   map[string]bool            // nodes that were in sight at the last round
	absent  map[string]map[name]string // nodes that went out of sight since, and the names of their objects; nil: to be listed
}

// An account is what an object is to say.
type account struct {
	list  []string
	addrs string
}

// A record is what there is to know of an own object.
type record struct {
	account
	object string // its name
	owned  bool   // by this pod
	placed bool   // it names this node
}

func newStatuses[P statusObject](c Config, kind statusKind[P], client rest.Interface, stats *counters) *statuses[P] {
	s := &statuses[P]{
		statusKind: kind, client: client, node: c.Node, namespace: c.Namespace, log: c.Log, stats: stats, gate: newGate(),
		change: make(chan struct{}, 1), unknown: make(chan struct{}, 1), todo: map[name]bool{}, absent: map[string]map[name]string{},
	}
	if c.PodName != "" && c.PodUID != "" {
		s.owner = &metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: c.PodName, UID: types.UID(c.PodUID)}
	}
	return s
}

func (s *statuses[P]) wake() {
	select {
	case s.change <- struct{}{}:
	default:
	}
}

// doubt has the objects listed anew: they may not be as they were last written.
func (s *statuses[P]) doubt() {
	select {
	case s.unknown <- struct{}{}:
	default:
	}
}

// run writes what has changed, until the context is done. A change is written after
// a short delay, or when the pause after a failure is over: neither is begun anew by
// the next change.
func (s *statuses[P]) run(ctx context.Context) {
	if s.now == nil {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing, due := false, true // due: the timer runs for more than the next resync
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.unknown:
			s.known = nil
			due = true
			timer.Reset(statusDelay)
			continue
		case <-s.change:
			if !due {
				due = true
				timer.Reset(statusDelay)
			}
			continue
		case <-timer.C:
		}
		if time.Since(s.listed) >= statusResync {
			s.known = nil
		}
		err := s.round(ctx)
		if err == nil {
			failing, due = false, false
			timer.Reset(time.Until(s.listed.Add(statusResync)))
			continue
		}
		if !failing && ctx.Err() == nil {
			s.log.Warn("writing what this node does for which Service", "err", err)
		}
		failing, due, s.known = true, true, nil
		timer.Reset(statusRetry)
	}
}

func (r record) right(a account) bool {
	return r.owned && r.placed && r.addrs == a.addrs && slices.Equal(r.list, a.list)
}

func (s *statuses[P]) record(o P) record {
	node, list := s.said(o)
	return record{account{list, o.GetAnnotations()[annotationOf(serviceAbout(o))]}, o.GetName(), s.owns(o), node == s.node}
}

// owns tells whether an object goes with this pod, if that is known.
func (s *statuses[P]) owns(o P) bool {
	owners := o.GetOwnerReferences()
	if s.owner == nil {
		return len(owners) == 0
	}
	return len(owners) == 1 && owners[0].UID == s.owner.UID
}

// put makes sure that there is an object for a Service and that it is right.
func (s *statuses[P]) put(ctx context.Context, of name, r record, a account) (record, error) {
	want := s.object(of, a)
	if r.object == "" {
		have := s.empty()
		if err := s.write(ctx, s.client.Post().Namespace(s.namespace).Resource(s.resource).Body(want), have); err != nil {
			return r, fmt.Errorf("creating the %s of %s: %w", s.title, of, err)
		}
		r = s.record(have)
	}
	change := map[string]any{}
	if !r.owned {
		change["ownerReferences"] = want.GetOwnerReferences()
	}
	if r.addrs != a.addrs {
		change["annotations"] = want.GetAnnotations()
	}
	if len(change) > 0 {
		have, err := s.patch(ctx, r.object, "", map[string]any{"metadata": change})
		if err != nil {
			return r, err
		}
		r = s.record(have)
	}
	if !r.placed || !slices.Equal(r.list, a.list) {
		have, err := s.patch(ctx, r.object, "status", map[string]any{"status": s.body(want)})
		if err != nil {
			return r, err
		}
		r = s.record(have)
	}
	return r, nil
}

// object is what a Service's object should be. Its name follows from what it is
// about, so that there is never a second one.
func (s *statuses[P]) object(of name, a account) P {
	m := metav1.ObjectMeta{
		Name: statusName(s.prefix, s.node, of), Namespace: s.namespace,
		Labels: map[string]string{
			v1beta1.LabelNode: labelOf(s.node), v1beta1.LabelServiceName: of.Name, v1beta1.LabelServiceNamespace: of.Namespace,
		},
		Annotations: map[string]string{annotationOf(of): a.addrs},
	}
	if s.owner != nil {
		m.OwnerReferences = []metav1.OwnerReference{*s.owner}
	}
	return s.about(m, s.node, of, a.list)
}

func statusName(prefix, node string, of name) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\n%s\n%s", node, of.Namespace, of.Name) // never fails
	return fmt.Sprintf("%s%x", prefix, h.Sum64())
}

// serviceAbout is the Service that an object is about.
func serviceAbout(o metav1.Object) name {
	labels := o.GetLabels()
	return name{Namespace: labels[v1beta1.LabelServiceNamespace], Name: labels[v1beta1.LabelServiceName]}
}

// labelOf is a node's name as a label: where it is too long for one, only as much
// of it as there is room for.
func labelOf(node string) string {
	if len(node) <= validation.LabelValueMaxLength {
		return node
	}
	h := fnv.New64a()
	fmt.Fprint(h, node) // never fails
	end := fmt.Sprintf("-%x", h.Sum64())
	return node[:validation.LabelValueMaxLength-len(end)] + end
}

// bury removes what nodes that are out of sight say of Services that this node
// answers for now.
func (s *statuses[P]) bury(ctx context.Context) error {
	for _, node := range slices.Sorted(maps.Keys(s.absent)) {
		if s.absent[node] == nil {
			theirs, err := s.of(ctx, node)
			if err != nil {
				return err
			}
			s.absent[node] = make(map[name]string, len(theirs))
			for _, o := range theirs {
				s.absent[node][serviceAbout(o)] = o.GetName()
			}
		}
		for n, object := range s.absent[node] {
			if _, mine := s.want[n]; !mine {
				continue
			}
			if err := s.remove(ctx, object); err != nil {
				return err
			}
			delete(s.absent[node], n)
		}
	}
	return nil
}

// of lists the objects of a node.
func (s *statuses[P]) of(ctx context.Context, node string) ([]P, error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	selector := labels.SelectorFromSet(labels.Set{v1beta1.LabelNode: labelOf(node)})
	all, err := s.list(timed(ctx, s.client.Get()).Namespace(s.namespace).Resource(s.resource).Param("labelSelector", selector.String()).Do(ctx))
	if err != nil {
		return nil, fmt.Errorf("listing the %s objects of node %s: %w", s.title, node, err)
	}
	return all, nil
}

func (s *statuses[P]) patch(ctx context.Context, object, sub string, change map[string]any) (P, error) {
	have := s.empty()
	body, err := json.Marshal(change)
	if err != nil {
		return have, err
	}
	r := s.client.Patch(types.MergePatchType).Namespace(s.namespace).Resource(s.resource).Name(object).Body(body)
	if sub != "" {
		r = r.SubResource(sub)
	}
	if err := s.write(ctx, r, have); err != nil {
		return have, fmt.Errorf("writing %s %s: %w", s.title, object, err)
	}
	return have, nil
}

func (s *statuses[P]) remove(ctx context.Context, object string) error {
	err := s.write(ctx, s.client.Delete().Namespace(s.namespace).Resource(s.resource).Name(object), nil)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("removing %s %s: %w", s.title, object, err)
	}
	return nil
}

// write does one request; the answer goes to into, where that is given.
func (s *statuses[P]) write(ctx context.Context, r *rest.Request, into runtime.Object) error {
	return s.gate.do(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, writeLimit)
		defer cancel()
		result := timed(ctx, r).Do(ctx)
		err := result.Error()
		if err == nil && into != nil {
			err = result.Into(into)
		}
		s.stats.wrote(s.resource, err)
		return err
	})
}
