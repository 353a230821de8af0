package v1beta2

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGPPeerSpec says which router nodes speak BGP with, and how.
//
// +kubebuilder:validation:XValidation:rule="(has(self.peerASN) && self.peerASN != 0) != (has(self.dynamicASN) && size(self.dynamicASN) > 0)",message="give either peerASN or dynamicASN"
// +kubebuilder:validation:XValidation:rule="(has(self.peerAddress) && size(self.peerAddress) > 0) != (has(self.interface) && size(self.interface) > 0)",message="give either peerAddress or interface"
// +kubebuilder:validation:XValidation:rule="!(has(self.password) && size(self.password) > 0 && has(self.passwordSecret) && has(self.passwordSecret.name) && size(self.passwordSecret.name) > 0)",message="give either password or passwordSecret, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.keepaliveTime) || !has(self.holdTime) || duration(self.keepaliveTime) <= duration(self.holdTime)",message="keepaliveTime must not be longer than holdTime; a third of it is usual"
// +kubebuilder:validation:XValidation:rule="!(has(self.ebgpMultiHop) && self.ebgpMultiHop && has(self.peerASN) && self.peerASN == self.myASN)",message="ebgpMultiHop is for routers of another AS: leave it out where peerASN is myASN"
type BGPPeerSpec struct {
	// MyASN is the AS number of the nodes.
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	// +kubebuilder:validation:XValidation:rule="self > 0",message="AS number 0 is reserved (RFC 7607): give the number of the nodes' AS, 64512 to 65534 for private use"
	MyASN uint32 `json:"myASN"`

	// ASN is the AS number that the router must show. Either this or dynamicASN.
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	ASN uint32 `json:"peerASN,omitempty"`

	// DynamicASN takes whatever AS number the router shows: internal one that is
	// myASN, external any other. Either this or peerASN.
	// +optional
	// +kubebuilder:validation:Enum=internal;external
	DynamicASN string `json:"dynamicASN,omitempty"`

	// LocalASN is shown to this router in place of myASN.
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	LocalASN *uint32 `json:"localASN,omitempty"`

	// Address of the router. Either this or interface.
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || isIP(self)",message="must be an IPv4 or IPv6 address, without prefix length or zone"
	Address string `json:"peerAddress,omitempty"`

	// Interface on which the router is found by itself (unnumbered). Either this or
	// peerAddress.
	// +optional
	Interface string `json:"interface,omitempty"`

	// SrcAddress is the address to speak from. Left out: as the kernel chooses.
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || isIP(self)",message="must be an IPv4 or IPv6 address, without prefix length or zone"
	SrcAddress string `json:"sourceAddress,omitempty"`

	// Port of the router; 0: 179.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16384
	// +kubebuilder:default:=179
	Port uint16 `json:"peerPort,omitempty"`

	// HoldTime after which a silent router counts as dead (RFC 4271 §4.2), for
	// example 90s; 0s: never. Left out: three times keepaliveTime, or 90s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('3s') && duration(self) <= duration('65535s')",message="must be 0s or from 3s to 65535s"
	HoldTime *string `json:"holdTime,omitempty"`

	// KeepaliveTime is the pause between two signs of life. Left out or 0s: a third of
	// holdTime.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="must be a duration such as 30s, and not negative"
	KeepaliveTime *string `json:"keepaliveTime,omitempty"`

	// ConnectTime is the pause between two attempts to connect, in whole seconds.
	// Left out: 5s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535",message="must be from 1s to 65535s"
	// +kubebuilder:validation:XValidation:rule="duration(self).getMilliseconds() % 1000 == 0",message="must be in whole seconds"
	ConnectTime *string `json:"connectTime,omitempty"`

	// RouterID of the nodes, in the form of an IPv4 address. Left out: the first
	// internal IPv4 address of each node.
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || isIP(self) && ip(self).family() == 4 && self != '0.0.0.0'",message="must have the form of an IPv4 address, and not be 0.0.0.0"
	RouterID string `json:"routerID,omitempty"`

	// NodeSelectors limit the nodes that have the session; one that matches suffices.
	// None: every node.
	// +optional
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// Password of TCP MD5 (RFC 2385), at most 80 bytes. Whoever may read the object may
	// read it: passwordSecret is better.
	// +optional
	Password string `json:"password,omitempty"`

	// PasswordSecret names a Secret of type kubernetes.io/basic-auth in our own
	// namespace, whose entry password is the password.
	// +optional
	PasswordSecret SecretReference `json:"passwordSecret,omitempty"`

	// BFDProfile names the BFDProfile with which the router's death is detected. Left
	// out: no BFD.
	// +optional
	BFDProfile string `json:"bfdProfile,omitempty"`

	// EnableGracefulRestart asks the router to keep the routes while the daemon
	// restarts (RFC 4724). It is decided when the object is created.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="enableGracefulRestart cannot be changed: delete the BGPPeer and create it anew"
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// EBGPMultiHop: the router is of another AS and need not be on a segment of the
	// node. BGP itself needs no telling: what the node sends has a TTL of 255 either
	// way. It decides how BFD is spoken with the router: over several hops, as in RFC
	// 5883 (UDP port 4784, and the minimum TTL of the BFDProfile), instead of
	// over one, as in RFC 5881 (port 3784). It cannot be combined with the annotation
	// holdfast.dev/ttl-security.
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// VRFName is the name of the VRF device through which the router is reached.
	// +optional
	VRFName string `json:"vrf,omitempty"`

	// DisableMP has no effect, as in MetalLB since 0.15: each session carries the
	// family of its address, or both with dualStackAddressFamily.
	// +optional
	// +kubebuilder:default:=false
	DisableMP bool `json:"disableMP,omitempty"`

	// DualStackAddressFamily carries IPv4 and IPv6 on the one session.
	// +optional
	// +kubebuilder:default:=false
	DualStackAddressFamily bool `json:"dualStackAddressFamily,omitempty"`
}

// SecretReference names a Secret.
type SecretReference struct {
	// Name of the Secret.
	// +optional
	Name string `json:"name,omitempty"`
	// Namespace of the Secret. Left out, or the namespace of the BGPPeer.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// BGPPeerStatus says whether the peer is in use.
type BGPPeerStatus struct {
	// Conditions: Accepted says whether the peer is in use as it stands.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPPeer is a router that nodes speak BGP with.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.peerAddress`
// +kubebuilder:printcolumn:name="ASN",type=string,JSONPath=`.spec.peerASN`
// +kubebuilder:printcolumn:name="BFD Profile",type=string,JSONPath=`.spec.bfdProfile`
// +kubebuilder:printcolumn:name="Multi Hops",type=string,JSONPath=`.spec.ebgpMultiHop`
type BGPPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BGPPeerSpec   `json:"spec,omitempty"`
	Status BGPPeerStatus `json:"status,omitempty"`
}

// BGPPeerList is a list of peers.
//
// +kubebuilder:object:root=true
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPPeer `json:"items"`
}
