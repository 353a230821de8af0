package controller

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/yaml"
)

// A fakeAPI is an API server with its storage, as its clients see it over HTTP,
// without a network: every object has the version of its last write, lists are
// consistent, watches go on from a version (and are deaf if it has not been reached), and
// the storage can be put back to an older state.
type fakeAPI struct {
	mu       sync.Mutex
	version  int
	objects  map[string]raw // by RESOURCE/NAMESPACE/NAME
	events   []occurrence
	changed  chan struct{} // closed by the next change
	epoch    int           // watches of an older one have ended
	off      time.Duration // the server's clock minus ours
	dateless bool          // answers do not tell the time
	held     string        // a resource whose watches show nothing for now
	// refuse returns the code with which a request is refused; 0: it is carried out. May
	// be nil.
	refuse func(*http.Request) int
	asked  []string // what was asked for: VERB RESOURCE
}

type raw = map[string]any

// An occurrence is what a watch shows.
type occurrence struct {
	version int
	kind    string // ADDED, MODIFIED, DELETED
	key     string
	object  raw
}

// A state is what the storage held once.
type state struct {
	version int
	objects map[string]raw
	events  []occurrence
}

// What client-go cannot handle it waits for by the wall clock, which in a bubble of
// synctest is another one.
func init() { utilruntime.ErrorHandlers = nil }

func newFakeAPI() *fakeAPI {
	return &fakeAPI{version: 100, objects: map[string]raw{}, changed: make(chan struct{})}
}

func (f *fakeAPI) now() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return time.Now().Add(f.off) }

// apply makes objects what a manifest says; their status stays.
func (f *fakeAPI) apply(t *testing.T, manifest string) {
	t.Helper()
	for _, text := range strings.Split(manifest, "\n---\n") {
		var o raw
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if o == nil {
			continue
		}
		u := unstructured.Unstructured{Object: o}
		key := resourceOf(u.GetKind()) + "/" + u.GetNamespace() + "/" + u.GetName()
		f.mu.Lock()
		if old := f.objects[key]; old != nil && o["status"] == nil && old["status"] != nil {
			o["status"] = old["status"]
		}
		f.put(key, o)
		f.mu.Unlock()
	}
}

func resourceOf(kind string) string { return strings.ToLower(kind) + "s" }

// remove deletes the object RESOURCE/NAMESPACE/NAME.
func (f *fakeAPI) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.put(key, nil)
}

// get returns the object RESOURCE/NAMESPACE/NAME; nil: there is none.
func (f *fakeAPI) get(key string) raw {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects[key]
}

// addresses returns the addresses in the status of a Service of namespace default.
func (f *fakeAPI) addresses(service string) string {
	all, _, _ := unstructured.NestedSlice(f.get("services/default/"+service), "status", "loadBalancer", "ingress")
	var out []string
	for _, i := range all {
		out = append(out, fmt.Sprint(i.(map[string]any)["ip"]))
	}
	return strings.Join(out, " ")
}

// put writes under the lock; nil deletes. It returns the object as it is stored.
func (f *fakeAPI) put(key string, o raw) raw {
	old := f.objects[key]
	if o == nil && old == nil {
		return nil
	}
	f.version++
	kind := "MODIFIED"
	if o == nil {
		o, kind = runtime.DeepCopyJSON(old), "DELETED"
	}
	if old == nil {
		kind = "ADDED"
	}
	u := unstructured.Unstructured{Object: o}
	u.SetResourceVersion(strconv.Itoa(f.version))
	if u.GetCreationTimestamp().Time.IsZero() {
		u.SetCreationTimestamp(metav1.NewTime(time.Now().Add(f.off)))
	}
	if u.GetUID() == "" {
		u.SetUID(types.UID("uid-" + strconv.Itoa(f.version)))
	}
	f.objects[key] = o
	if kind == "DELETED" {
		delete(f.objects, key)
	}
	f.events = append(f.events, occurrence{f.version, kind, key, o})
	f.stir()
	return o
}

func (f *fakeAPI) stir() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// backup returns what the storage holds.
func (f *fakeAPI) backup() state {
	f.mu.Lock()
	defer f.mu.Unlock()
	return state{f.version, maps.Clone(f.objects), slices.Clone(f.events)}
}

// restore puts the storage back, and ends all watches as a restart does. Before
// anybody can look others make that many writes of objects that are not ours.
func (f *fakeAPI) restore(s state, writes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.version += writes }()
	f.version, f.objects, f.events = s.version, maps.Clone(s.objects), slices.Clone(s.events)
	f.epoch++
	f.stir()
}

// hold has the watches of a resource show nothing for now; "": all go on.
func (f *fakeAPI) hold(resource string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = resource
	f.stir()
}

// refusing sets what refuses requests.
func (f *fakeAPI) refusing(refuse func(*http.Request) int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

// breakWatches ends all watches, as when an API server is restarted.
func (f *fakeAPI) breakWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.epoch++
	f.stir()
}

// requests returns how often VERB was asked for, of every resource, since forget.
func (f *fakeAPI) requests(verb string) map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]int{}
	for _, a := range f.asked {
		if resource, ok := strings.CutPrefix(a, verb+" "); ok {
			out[resource]++
		}
	}
	return out
}

// forget begins the count of requests anew.
func (f *fakeAPI) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = nil
}

func (f *fakeAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	time.Sleep(time.Millisecond)
	resource, namespace, name := parse(r.URL.Path)
	query := r.URL.Query()
	verb := map[string]string{"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}[r.Method]
	switch {
	case verb == "get" && query.Get("watch") != "":
		verb = "watch"
	case verb == "get" && name == "" && query.Get("limit") == "1":
		verb = "probe"
	case verb == "get" && name == "":
		verb = "list"
	}
	f.mu.Lock()
	f.asked = append(f.asked, verb+" "+resource)
	f.mu.Unlock()
	key := resource + "/" + namespace + "/" + name
	want := selector(resource, namespace, query.Get("fieldSelector"), query.Get("labelSelector"))
	f.mu.Lock()
	refuse := f.refuse
	f.mu.Unlock()
	if refuse != nil {
		if code := refuse(r); code != 0 {
			return f.respond(r, code, io.NopCloser(bytes.NewReader(encode(status(code, "Refused"))))), nil
		}
	}
	if verb == "watch" {
		return f.watch(r, want)
	}
	code, answer := http.StatusOK, raw(nil)
	switch verb {
	case "list", "probe":
		answer = f.list(want, verb == "probe")
		kind, apiVersion := kindOf(r.URL.Path)
		answer["kind"], answer["apiVersion"] = kind+"List", apiVersion
	case "get":
		if answer = f.get(key); answer == nil {
			code, answer = http.StatusNotFound, status(404, "NotFound")
		}
	case "delete":
		if answer = f.get(key); answer == nil {
			code, answer = http.StatusNotFound, status(404, "NotFound")
		}
		f.remove(key)
	default:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		code, answer = f.write(verb, resource, namespace, name, r.Header.Get("Content-Type"), body)
	}
	return f.respond(r, code, io.NopCloser(bytes.NewReader(encode(answer)))), nil
}

func (f *fakeAPI) respond(r *http.Request, code int, body io.ReadCloser) *http.Response {
	header := http.Header{"Content-Type": {"application/json"}}
	if !f.dateless {
		header.Set("Date", f.now().UTC().Format(http.TimeFormat))
	}
	return &http.Response{StatusCode: code, Body: body, Request: r, Header: header}
}

func encode(o any) []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return text
}

func status(code int, reason string) raw {
	return raw{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason}
}

// parse takes apart the path of a request; a subresource is left out.
func parse(path string) (resource, namespace, name string) {
	words := strings.Split(strings.Trim(path, "/"), "/")
	if words = words[2:]; strings.HasPrefix(path, "/apis/") {
		words = words[1:]
	}
	if words[0] == "namespaces" && len(words) > 2 {
		namespace, words = words[1], words[2:]
	}
	if resource = words[0]; len(words) > 1 {
		name = words[1]
	}
	return resource, namespace, name
}

// selector returns what tells whether an object belongs to a list.
func selector(resource, namespace, fields, labels string) func(key string, o raw) bool {
	prefix := resource + "/"
	if namespace != "" {
		prefix += namespace + "/"
	}
	field, value, _ := strings.Cut(fields, "=")
	label, labelled, _ := strings.Cut(labels, "=")
	return func(key string, o raw) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		got, _, _ := unstructured.NestedString(o, strings.Split(field, ".")...)
		return (field == "" || got == value) && (&unstructured.Unstructured{Object: o}).GetLabels()[label] == labelled
	}
}

func (f *fakeAPI) list(want func(string, raw) bool, one bool) raw {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if o := f.objects[key]; want(key, o) && !(one && len(items) > 0) {
			items = append(items, o)
		}
	}
	list := raw{"metadata": map[string]any{"resourceVersion": strconv.Itoa(f.version)}, "items": items}
	return list
}

func (f *fakeAPI) write(verb, resource, namespace, name, mediaType string, body []byte) (int, raw) {
	var o raw
	if strings.Contains(mediaType, "protobuf") {
		typed, _, err := codecs.UniversalDeserializer().Decode(body, nil, nil)
		if err != nil {
			panic(err)
		}
		body = encode(typed)
	}
	if err := json.Unmarshal(body, &o); err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	u := unstructured.Unstructured{Object: o}
	if verb == "create" {
		name = u.GetName()
	}
	key := resource + "/" + namespace + "/" + name
	old := f.objects[key]
	switch {
	case verb == "create" && old != nil:
		return http.StatusConflict, status(409, "AlreadyExists")
	case verb != "create" && old == nil:
		return http.StatusNotFound, status(404, "NotFound")
	case old != nil && u.GetResourceVersion() != "" && u.GetResourceVersion() != (&unstructured.Unstructured{Object: old}).GetResourceVersion():
		return http.StatusConflict, status(409, "Conflict")
	}
	if verb == "patch" {
		o = merged(runtime.DeepCopyJSON(old), o)
	}
	if o["kind"] == nil { // protobuf does not say
		versions := map[string]string{"leases": "coordination.k8s.io/v1", "servicel2statuses": "metallb.io/v1beta1", "servicebgpstatuses": "metallb.io/v1beta1"}
		kinds := map[string]string{"leases": "Lease", "secrets": "Secret", "events": "Event", "servicel2statuses": "ServiceL2Status", "servicebgpstatuses": "ServiceBGPStatus"}
		o["kind"], o["apiVersion"] = kinds[resource], cmp.Or(versions[resource], "v1")
	}
	return http.StatusOK, f.put(key, o)
}

// merged applies a JSON merge patch (RFC 7386).
func merged(to, patch raw) raw {
	for k, v := range patch {
		inner, nested := v.(map[string]any)
		switch {
		case v == nil:
			delete(to, k)
		case nested:
			was, _ := to[k].(map[string]any)
			if was == nil {
				was = map[string]any{}
			}
			to[k] = merged(was, inner)
		default:
			to[k] = v
		}
	}
	return to
}

// watch shows what happens after a version, until the client goes or the watch is
// broken. With sendInitialEvents it shows first what there is.
func (f *fakeAPI) watch(r *http.Request, want func(string, raw) bool) (*http.Response, error) {
	query := r.URL.Query()
	from, _ := strconv.Atoi(query.Get("resourceVersion"))
	initial := query.Get("sendInitialEvents") == "true"
	f.mu.Lock()
	behind := initial && from > f.version
	f.mu.Unlock()
	if behind {
		time.Sleep(3 * time.Second)
		s := status(504, "Timeout")
		s["details"] = map[string]any{"causes": []any{map[string]any{"reason": "ResourceVersionTooLarge"}}}
		return f.respond(r, http.StatusGatewayTimeout, io.NopCloser(bytes.NewReader(encode(s)))), nil
	}
	body, out := io.Pipe()
	go f.stream(r, out, from, initial, want)
	return f.respond(r, http.StatusOK, body), nil
}

func (f *fakeAPI) stream(r *http.Request, out *io.PipeWriter, from int, initial bool, want func(string, raw) bool) {
	defer out.Close()
	f.mu.Lock()
	epoch := f.epoch
	f.mu.Unlock()
	seconds, _ := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	end := time.NewTimer(time.Duration(seconds) * time.Second)
	defer end.Stop()
	if initial {
		list := f.list(want, false)
		for _, o := range list["items"].([]any) {
			if _, err := out.Write(encode(raw{"type": "ADDED", "object": o})); err != nil {
				return
			}
		}
		version := (&unstructured.Unstructured{Object: list}).GetResourceVersion()
		from, _ = strconv.Atoi(version)
		kind, apiVersion := kindOf(r.URL.Path)
		if _, err := out.Write(encode(raw{"type": "BOOKMARK", "object": raw{"kind": kind, "apiVersion": apiVersion, "metadata": raw{
			"resourceVersion": version, "annotations": raw{metav1.InitialEventsAnnotationKey: "true"},
		}}})); err != nil {
			return
		}
	}
	for {
		f.mu.Lock()
		changed, broken := f.changed, f.epoch != epoch
		var news []occurrence
		if resource, _, _ := parse(r.URL.Path); resource != f.held {
			for _, e := range f.events {
				if e.version > from && want(e.key, e.object) {
					news = append(news, e)
				}
			}
			from = max(from, f.version)
		}
		f.mu.Unlock()
		if broken {
			return
		}
		for _, e := range news {
			if _, err := out.Write(encode(raw{"type": e.kind, "object": e.object})); err != nil {
				return
			}
		}
		select {
		case <-changed:
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func kindOf(path string) (kind, apiVersion string) {
	resource, _, _ := parse(path)
	for _, k := range []string{"Service", "Node", "Namespace", "Secret", "EndpointSlice", "Lease", "IPAddressPool", "L2Advertisement", "BGPPeer", "BGPAdvertisement", "BFDProfile"} {
		if resourceOf(k) == resource {
			kind = k
		}
	}
	switch resource {
	case "communities":
		kind = "Community"
	case "servicel2statuses":
		kind = "ServiceL2Status"
	case "servicebgpstatuses":
		kind = "ServiceBGPStatus"
	}
	words := strings.Split(strings.Trim(path, "/"), "/")
	if words[0] == "api" {
		return kind, "v1"
	}
	return kind, words[1] + "/" + words[2]
}
