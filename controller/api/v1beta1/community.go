package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CommunitySpec gives names to BGP communities.
type CommunitySpec struct {
	// Communities with their names. A name must be given once only, by whichever
	// object.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	Communities []CommunityAlias `json:"communities,omitempty"`
}

// CommunityAlias is a name for a community.
type CommunityAlias struct {
	// Name by which a BGPAdvertisement can name the value.
	// +optional
	Name string `json:"name,omitempty"`

	// Value: 65000:1 (RFC 1997), or large:65000:1:2 (RFC 8092).
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+:[0-9]+|large:[0-9]+:[0-9]+:[0-9]+)$')",message="must be written 65000:1, each part at most 65535, or large:65000:1:2"
	Value string `json:"value,omitempty"`
}

// CommunityStatus says whether the names are in use.
type CommunityStatus struct {
	// Conditions: Accepted says whether the names are in use as they stand.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Community gives names to BGP communities.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
type Community struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   CommunitySpec   `json:"spec,omitempty"`
	Status CommunityStatus `json:"status,omitempty"`
}

// CommunityList is a list of them.
//
// +kubebuilder:object:root=true
type CommunityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Community `json:"items"`
}
