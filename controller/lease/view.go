package lease

import (
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

// A view is what a copy has seen of the lease, and since when. It is changed by
// one goroutine only.
type view struct {
	known  bool           // something has been seen: a lease, or that there is none
	lease  *coordv1.Lease // nil: there is none
	latest string         // the highest resourceVersion seen since versions last went back
	since  time.Time      // when this copy first saw it as it is
	// taken is until when a holder that vanished without giving the lease back may
	// have a write under way: one whose lease was deleted, or is of a state of the
	// API's storage that is not there any more.
	taken time.Time
}

// Absent stands for "there is no lease", as of a resourceVersion.
func Absent(version string) *coordv1.Lease {
	return &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
}

// see takes note of the lease as it was watched or answered. What is older than
// what has been seen is ignored: the one who shows it may lag. It tells whether
// that was so.
func (v *view) see(l *coordv1.Lease, me string, now time.Time) (old bool) {
	if c, err := resourceversion.CompareResourceVersion(l.ResourceVersion, v.latest); err == nil && c <= 0 {
		return c < 0
	}
	v.put(l, me, now)
	return false
}

// read takes note of the lease as a quorum of the API's storage has it: it counts,
// also if it is older than what has been seen. It tells whether it is.
func (v *view) read(l *coordv1.Lease, me string, now time.Time) (back bool) {
	c, err := resourceversion.CompareResourceVersion(l.ResourceVersion, v.latest)
	switch {
	case err == nil && c == 0:
		return false // as it was
	case l.Name == "" && v.known && v.lease == nil:
		return false // still absent
	}
	v.put(l, me, now)
	return err == nil && c < 0
}

func (v *view) put(l *coordv1.Lease, me string, now time.Time) {
	continues := l.Name != "" && v.lease != nil && l.UID == v.lease.UID && !older(l.ResourceVersion, v.latest)
	if h := v.holder(); h != "" && h != me && !continues {
		v.taken = v.since.Add(v.duration())
	}
	v.known, v.latest = true, l.ResourceVersion
	if l.Name == "" {
		l = nil
	}
	if l != nil || v.lease != nil || v.since.IsZero() {
		v.lease, v.since = l, now
	}
}

func older(a, b string) bool {
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && c < 0
}

func (v *view) holder() string {
	if v.lease == nil || v.lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *v.lease.Spec.HolderIdentity
}

// duration returns how long the lease stands as it was seen.
func (v *view) duration() time.Duration {
	if d := v.lease.Spec.LeaseDurationSeconds; d != nil && *d > 0 {
		return time.Duration(*d) * time.Second
	}
	return 15 * time.Second
}

// free returns when the copy called me may try to take the lease, at the
// earliest; false when nothing is known.
func (v *view) free(me string) (time.Time, bool) {
	at := v.since
	switch h := v.holder(); {
	case !v.known:
		return time.Time{}, false
	case h != "" && h != me:
		at = at.Add(v.duration())
	}
	if at.Before(v.taken) {
		at = v.taken
	}
	return at, true
}
