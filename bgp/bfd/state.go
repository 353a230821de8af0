package bfd

import "fmt"

// State is the state of a session, with the numbers of RFC 5880 §4.1.
type State uint8

// The states of a session.
const (
	AdminDown State = iota // its operator does not want it
	Down                   // the peer is not heard, or does not hear us
	Init                   // the peer is heard; whether it hears us is not known
	Up                     // both hear each other
)

var stateNames = [...]string{"AdminDown", "Down", "Init", "Up"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Diagnostic is why a session last changed its state, RFC 5880 §4.1.
type Diagnostic uint8

// The diagnostics.
const (
	NoDiagnostic Diagnostic = iota
	ControlDetectionTimeExpired
	EchoFunctionFailed
	NeighborSignaledSessionDown
	ForwardingPlaneReset
	PathDown
	ConcatenatedPathDown
	AdministrativelyDown
	ReverseConcatenatedPathDown
)

var diagnosticNames = [...]string{
	"no diagnostic", "control detection time expired", "echo function failed", "neighbor signaled session down",
	"forwarding plane reset", "path down", "concatenated path down", "administratively down",
	"reverse concatenated path down",
}

func (d Diagnostic) String() string {
	if int(d) < len(diagnosticNames) {
		return diagnosticNames[d]
	}
	return fmt.Sprintf("diagnostic %d", uint8(d))
}
