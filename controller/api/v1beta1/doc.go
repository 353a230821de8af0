// Package v1beta1 holds the kinds of the metallb.io API that holdfast serves:
// IPAddressPool, L2Advertisement and ServiceL2Status, with the names, fields and defaults that
// manifests written for MetalLB use. Kinds and fields that holdfast does not
// act on are absent, so that nothing is accepted and ignored.
//
// Beyond MetalLB, the first two carry status.conditions: the condition Accepted
// says whether the object is in use as it stands, and if not, why.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta1

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0 object crd:crdVersions=v1 paths=. output:crd:artifacts:config=../../../deploy/crds
