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
	latest string         // the highest resourceVersion seen
	since  time.Time      // when this copy first saw it as it is
}

// Absent stands for "there is no lease", as of a resourceVersion.
func Absent(version string) *coordv1.Lease {
	return &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
}

// see takes note of the lease as it was watched or answered. What is older than
// what has been seen is ignored.
func (v *view) see(l *coordv1.Lease, now time.Time) {
	if v.latest != "" {
		if c, err := resourceversion.CompareResourceVersion(l.ResourceVersion, v.latest); err == nil && c <= 0 {
			return
		}
	}
	v.known, v.latest = true, l.ResourceVersion
	if l.Name == "" {
		l = nil
	}
	if l != nil || v.lease != nil || v.since.IsZero() {
		v.lease, v.since = l, now
	}
}

func (v *view) holder() string {
	if v.lease == nil || v.lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *v.lease.Spec.HolderIdentity
}

// free returns when the copy called me may try to take the lease, at the
// earliest; false when nothing is known.
func (v *view) free(me string) (time.Time, bool) {
	switch h := v.holder(); {
	case !v.known:
		return time.Time{}, false
	case h == "" || h == me:
		return v.since, true
	}
	duration := 15 * time.Second
	if d := v.lease.Spec.LeaseDurationSeconds; d != nil && *d > 0 {
		duration = time.Duration(*d) * time.Second
	}
	return v.since.Add(duration), true
}
