package controller

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator"
)

// What is remembered of a Service is published in its status, as the message of a
// condition: who may write Services with the ClusterRoles admin and edit of Kubernetes
// may not write their status, and a replaced manifest leaves it as it is.
const conditionRecord = "holdfast.dev/Record"

// oldRecordAnnotation is where earlier versions kept it. It is removed.
const oldRecordAnnotation = "holdfast.dev/hold"

// A writtenRecord is a Record as it is published. It is short, since every copy keeps it.
type writtenRecord struct {
	Written  time.Time      `json:"written"`
	Share    string         `json:"share,omitempty"`
	Ports    string         `json:"ports,omitempty"` // "TCP/80,443,8000-8100 UDP/53"
	Pools    []writtenMark  `json:"pools,omitempty"`
	Settling []writtenTimer `json:"settling,omitempty"`
	Overlap  []writtenTimer `json:"overlap,omitempty"`
	Kept     []writtenTimer `json:"kept,omitempty"`
}

type writtenMark struct {
	Addr   netip.Addr        `json:"addr"`
	Pool   string            `json:"pool,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Since  time.Time         `json:"since,omitzero"`
}

type writtenTimer struct {
	Addr  netip.Addr     `json:"addr"`
	Code  allocator.Code `json:"code"`
	Since time.Time      `json:"since"`
}

// recordCondition is the condition that publishes a record.
func recordCondition(r allocator.Record) (metav1.Condition, error) {
	out := writtenRecord{Written: r.Written, Share: r.Share, Ports: portsText(r.Ports)}
	for _, m := range r.Pools {
		out.Pools = append(out.Pools, writtenMark(m))
	}
	timers := func(in []allocator.Timer) (out []writtenTimer) {
		for _, t := range in {
			out = append(out, writtenTimer(t))
		}
		return out
	}
	out.Settling, out.Overlap, out.Kept = timers(r.Settling), timers(r.Overlap), timers(r.Kept)
	text, err := json.Marshal(out)
	if err != nil {
		return metav1.Condition{}, fmt.Errorf("writing the record of a Service: %w", err)
	}
	return metav1.Condition{
		Type: conditionRecord, Status: metav1.ConditionTrue, Reason: "Recorded", Message: string(text),
		LastTransitionTime: metav1.NewTime(r.Written.UTC().Truncate(time.Second)),
	}, nil
}

// recordIn reads the record among the conditions. One that cannot be read is none.
func recordIn(conditions []metav1.Condition) (r allocator.Record) {
	c := conditionOf(conditions, conditionRecord)
	if c == nil {
		return r
	}
	var in writtenRecord
	if json.Unmarshal([]byte(c.Message), &in) != nil {
		return r
	}
	ports, err := portsOf(in.Ports)
	if err != nil {
		return r
	}
	return in.record(ports)
}

func (w *writtenRecord) record(ports []allocator.Port) allocator.Record {
	r := allocator.Record{Written: w.Written, Share: w.Share, Ports: ports}
	for _, m := range w.Pools {
		if m.Addr.IsValid() {
			m.Addr = m.Addr.Unmap()
			r.Pools = append(r.Pools, allocator.PoolMark(m))
		}
	}
	timers := func(in []writtenTimer) (out []allocator.Timer) {
		for _, t := range in {
			if t.Addr.IsValid() {
				t.Addr = t.Addr.Unmap()
				out = append(out, allocator.Timer(t))
			}
		}
		return out
	}
	r.Settling, r.Overlap, r.Kept = timers(w.Settling), timers(w.Overlap), timers(w.Kept)
	return r
}

// oldRecord takes over what an earlier version left in its annotation about addresses
// that the Service holds. Its users may have written it: so it proves nothing to
// others, neither ports nor keys nor when the Service came.
func oldRecord(text string, holds []netip.Addr) (r allocator.Record) {
	var in struct {
		Pools             []writtenMark
		Settling, Overlap []writtenTimer
	}
	if text == "" || json.Unmarshal([]byte(text), &in) != nil {
		return r
	}
	old := writtenRecord{Pools: in.Pools, Settling: in.Settling, Overlap: in.Overlap}
	r = old.record(nil)
	elsewhere := func(a netip.Addr) bool { return !slices.Contains(holds, a) }
	r.Pools = slices.DeleteFunc(r.Pools, func(m allocator.PoolMark) bool { return elsewhere(m.Addr) })
	for i := range r.Pools {
		r.Pools[i].Since = time.Time{}
	}
	r.Settling = slices.DeleteFunc(r.Settling, func(t allocator.Timer) bool { return elsewhere(t.Addr) })
	r.Overlap = slices.DeleteFunc(r.Overlap, func(t allocator.Timer) bool { return elsewhere(t.Addr) })
	return r
}

// portsText writes ports, which are sorted, as ranges: a Service may have thousands.
func portsText(ports []allocator.Port) string {
	var b strings.Builder
	protocol := ""
	for i := 0; i < len(ports); {
		p, last := ports[i], ports[i].Number
		for i++; i < len(ports) && ports[i].Protocol == p.Protocol && int(ports[i].Number) <= int(last)+1; i++ {
			last = ports[i].Number
		}
		switch {
		case p.Protocol == protocol:
			b.WriteByte(',')
		case protocol != "":
			b.WriteByte(' ')
			fallthrough
		default:
			b.WriteString(p.Protocol + "/")
		}
		protocol = p.Protocol
		b.WriteString(strconv.Itoa(int(p.Number)))
		if last != p.Number {
			b.WriteString("-" + strconv.Itoa(int(last)))
		}
	}
	return b.String()
}

// portsOf reads what portsText wrote.
func portsOf(text string) (ports []allocator.Port, err error) {
	for _, part := range strings.Fields(text) {
		protocol, numbers, _ := strings.Cut(part, "/")
		for _, span := range strings.Split(numbers, ",") {
			from, to, isRange := strings.Cut(span, "-")
			if !isRange {
				to = from
			}
			first, err := strconv.ParseUint(from, 10, 16)
			if err != nil {
				return nil, fmt.Errorf("reading ports %q: %w", span, err)
			}
			last, err := strconv.ParseUint(to, 10, 16)
			if err != nil {
				return nil, fmt.Errorf("reading ports %q: %w", span, err)
			}
			for n := first; n <= last; n++ {
				ports = append(ports, allocator.Port{Protocol: protocol, Number: uint16(n)})
			}
		}
	}
	slices.SortFunc(ports, allocator.Port.Compare)
	return slices.Compact(ports), nil
}
