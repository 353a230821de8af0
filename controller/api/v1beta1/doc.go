// Package v1beta1 holds the kinds of the metallb.io API that holdfast serves, with
// the names, fields and defaults that manifests written for MetalLB use:
// IPAddressPool, L2Advertisement, BGPAdvertisement, BFDProfile and Community are
// read, ServiceL2Status and ServiceBGPStatus written, and BGPPeer is of package
// v1beta2. A field that has no effect says so.
//
// Beyond MetalLB, those that are read carry status.conditions: the condition
// Accepted says whether the object is in use as it stands, and if not, why.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta1

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 object crd:crdVersions=v1 paths=../v1beta1 paths=../v1beta2 output:crd:artifacts:config=../../../deploy/crds
