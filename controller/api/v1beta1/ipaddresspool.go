package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPAddressPoolSpec says which addresses a pool owns and who may have them.
type IPAddressPoolSpec struct {
	// Addresses of the pool. Each entry is a CIDR (192.0.2.0/28, 2001:db8::/124)
	// or a range of two addresses (192.0.2.10-192.0.2.20), both ends included.
	// Entries must not overlap each other or those of another pool.
	Addresses []string `json:"addresses"`

	// AutoAssign: false gives addresses of this pool only to Services that ask
	// for the pool or the address by name.
	// +optional
	// +kubebuilder:default:=true
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// AvoidBuggyIPs leaves out IPv4 addresses that end in .0 or .255, which
	// some old equipment drops.
	// +optional
	// +kubebuilder:default:=false
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// AllocateTo restricts the pool to some Services, and says how early it is
	// tried for them.
	// +optional
	AllocateTo *ServiceAllocation `json:"serviceAllocation,omitempty"`
}

// ServiceAllocation selects the Services that may have addresses of a pool. A
// Service must be in one of the namespaces (by name or by selector, if any is
// given) and match one of the Service selectors (if any is given).
type ServiceAllocation struct {
	// Priority among the pools that a Service may use: lower is tried first,
	// 0 last.
	// +optional
	Priority int `json:"priority,omitempty"`

	// Namespaces by name.
	// +optional
	Namespaces []string `json:"namespaces,omitempty"`

	// NamespaceSelectors select namespaces by label; one that matches suffices.
	// +optional
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`

	// ServiceSelectors select Services by label; one that matches suffices.
	// +optional
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// IPAddressPoolStatus says how full the pool is and whether it is in use.
type IPAddressPoolStatus struct {
	// AssignedIPv4 is the number of IPv4 addresses that Services hold.
	AssignedIPv4 int64 `json:"assignedIPv4"`
	// AssignedIPv6 is the number of IPv6 addresses that Services hold.
	AssignedIPv6 int64 `json:"assignedIPv6"`
	// AvailableIPv4 is the number of IPv4 addresses that nobody holds.
	AvailableIPv4 int64 `json:"availableIPv4"`
	// AvailableIPv6 is the number of IPv6 addresses that nobody holds.
	AvailableIPv6 int64 `json:"availableIPv6"`

	// Conditions: Accepted says whether the pool is in use as it stands.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IPAddressPool is a set of addresses for Services of type LoadBalancer. The
// annotation holdfast.dev/share-across-namespaces: "true" lets a sharing key
// join Services of several namespaces on an address; without it a key counts
// within a namespace. The annotation holdfast.dev/max-per-namespace: "N" limits
// how many addresses a namespace is newly given; Services that share one count
// once. Addresses of nodes, their gateways, the API server or spec.externalIPs
// of a Service may be in a pool, but are given to nobody.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Auto Assign",type=boolean,JSONPath=`.spec.autoAssign`
// +kubebuilder:printcolumn:name="Avoid Buggy IPs",type=boolean,JSONPath=`.spec.avoidBuggyIPs`
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
type IPAddressPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   IPAddressPoolSpec   `json:"spec"`
	Status IPAddressPoolStatus `json:"status,omitempty"`
}

// IPAddressPoolList is a list of pools.
//
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddressPool `json:"items"`
}
