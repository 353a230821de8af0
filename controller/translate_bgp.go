package controller

import (
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"holdfast.dev/holdfast/allocator/peering"
	"holdfast.dev/holdfast/controller/api/v1beta1"
	"holdfast.dev/holdfast/controller/api/v1beta2"
)

// A written is what is believed of an object about BGP. Values are not changed once
// made.
type written[F any] struct {
	object
	fact       F
	conditions []metav1.Condition // as published
}

func writtenOf[F any](m *metav1.ObjectMeta, conditions []metav1.Condition, fact F) (*written[F], bool) {
	return &written[F]{object{name: m.Name, version: m.ResourceVersion, uid: string(m.UID), generation: m.Generation}, fact, conditions}, true
}

// writtenDiffers notes that an object about BGP is believed anew.
func writtenDiffers[F any](b *belief) func(name, **written[F], **written[F]) {
	return func(_ name, was, now **written[F]) {
		b.note(func(c *changes) { c.configs = true })
		if was == nil || now == nil || !reflect.DeepEqual((*was).fact, (*now).fact) {
			b.peeringDiffers()
		}
	}
}

func objectFact(m *metav1.ObjectMeta, conditions []metav1.Condition) peering.Object {
	return peering.Object{Name: m.Name, Created: m.CreationTimestamp.UTC(), Accepted: accepted(conditions, m.Generation)}
}

func peerOf(in *v1beta2.BGPPeer) (*written[peering.Peer], bool) {
	return writtenOf(&in.ObjectMeta, in.Status.Conditions, peerFact(in))
}

// peerFact translates a BGPPeer. One whose selectors cannot be read counts as on
// every node: there the session stays as it is.
func peerFact(in *v1beta2.BGPPeer) peering.Peer {
	s := &in.Spec
	out := peering.Peer{
		Object: objectFact(&in.ObjectMeta, in.Status.Conditions),
		MyAS:   s.MyASN, PeerAS: s.ASN, LocalAS: valueOf(s.LocalASN), DynamicAS: s.DynamicASN,
		Address: s.Address, Interface: s.Interface, Source: s.SrcAddress, RouterID: s.RouterID, Port: s.Port, VRF: s.VRFName,
		HoldTime: valueOf(s.HoldTime), Keepalive: valueOf(s.KeepaliveTime), Connect: valueOf(s.ConnectTime),
		Password: s.Password, PasswordSecret: s.PasswordSecret.Name, Profile: s.BFDProfile,
		GracefulRestart: s.EnableGracefulRestart, Multihop: s.EBGPMultiHop, DualStack: s.DualStackAddressFamily,
		TTLSecurity: in.Annotations[peering.AnnotationTTLSecurity],
	}
	if at := s.PasswordSecret.Namespace; at != "" && at != in.Namespace {
		out.Problem = fmt.Errorf("spec.passwordSecret.namespace is %s: Secrets are looked for in %s only; make the Secret there, and leave the namespace out", at, in.Namespace)
	}
	var err error
	if out.NodeSelectors, err = selectorsOf("spec.nodeSelectors", s.NodeSelectors); err != nil {
		out.Problem = err
	}
	return out
}

func routeAdvertisementOf(in *v1beta1.BGPAdvertisement) (*written[peering.Advertisement], bool) {
	return writtenOf(&in.ObjectMeta, in.Status.Conditions, routeAdvertisementFact(in))
}

// routeAdvertisementFact translates a BGPAdvertisement.
func routeAdvertisementFact(in *v1beta1.BGPAdvertisement) peering.Advertisement {
	s := &in.Spec
	out := peering.Advertisement{
		Object: objectFact(&in.ObjectMeta, in.Status.Conditions),
		Pools:  s.IPAddressPools, Peers: s.Peers, Communities: s.Communities, LocalPref: s.LocalPref,
		Length4: int(valueOf(s.AggregationLength)), Length6: int(valueOf(s.AggregationLengthV6)),
		Weighted: in.Annotations[peering.AnnotationWeighted],
	}
	var err error
	if out.PoolSelectors, err = selectorsOf("spec.ipAddressPoolSelectors", s.IPAddressPoolSelectors); err != nil {
		out.Problem = err
	}
	if out.NodeSelectors, err = selectorsOf("spec.nodeSelectors", s.NodeSelectors); err != nil {
		out.Problem = err
	}
	if out.ServiceSelectors, err = selectorsOf("spec.serviceSelectors", s.ServiceSelectors); err != nil {
		out.Problem = err
	}
	return out
}

func profileOf(in *v1beta1.BFDProfile) (*written[peering.Profile], bool) {
	s := &in.Spec
	return writtenOf(&in.ObjectMeta, in.Status.Conditions, peering.Profile{
		Object:  objectFact(&in.ObjectMeta, in.Status.Conditions),
		Receive: int(valueOf(s.ReceiveInterval)), Transmit: int(valueOf(s.TransmitInterval)),
		Multiplier: int(valueOf(s.DetectMultiplier)), MinimumTTL: int(valueOf(s.MinimumTTL)),
		Passive: valueOf(s.PassiveMode), Echo: valueOf(s.EchoMode),
	})
}

func communityOf(in *v1beta1.Community) (*written[peering.Community], bool) {
	out := peering.Community{Object: objectFact(&in.ObjectMeta, in.Status.Conditions)}
	for _, c := range in.Spec.Communities {
		out.Aliases = append(out.Aliases, peering.Alias{Name: c.Name, Value: c.Value})
	}
	return writtenOf(&in.ObjectMeta, in.Status.Conditions, out)
}

func secretFact(in *corev1.Secret) peering.Secret {
	return peering.Secret{Name: in.Name, Type: string(in.Type), Password: string(in.Data[corev1.BasicAuthPasswordKey])}
}

// valueOf is what a field says; the zero value where it was left out.
func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
