// Package v1beta2 holds the kind of the metallb.io API that is at its second
// version: BGPPeer, with the names, fields and defaults that manifests written for
// MetalLB use. Objects are stored in this version, and version v1beta1 has the
// same schema, so that none is ever converted.
//
// Beyond MetalLB, it carries status.conditions: the condition Accepted says whether
// the object is in use as it stands, and if not, why.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta2
