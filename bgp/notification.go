package bgp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// A notification says why a session ends (RFC 4271 §4.5).
type notification struct {
	code, subcode uint8
	octets        []byte
	text          string // for those that ask here; not sent
}

// Codes that the codec does not name.
const (
	sendHoldTimerExpired = 8  // RFC 9687
	ceaseBFDDown         = 10 // RFC 9384
)

// communicationMax is how long a communication may be, in octets (RFC 9003 §2).
const communicationMax = 255

var codeNames = [...]string{
	packet.BGP_ERROR_MESSAGE_HEADER_ERROR:        "Message Header Error",
	packet.BGP_ERROR_OPEN_MESSAGE_ERROR:          "OPEN Message Error",
	packet.BGP_ERROR_UPDATE_MESSAGE_ERROR:        "UPDATE Message Error",
	packet.BGP_ERROR_HOLD_TIMER_EXPIRED:          "Hold Timer Expired",
	packet.BGP_ERROR_FSM_ERROR:                   "Finite State Machine Error",
	packet.BGP_ERROR_CEASE:                       "Cease",
	packet.BGP_ERROR_ROUTE_REFRESH_MESSAGE_ERROR: "ROUTE-REFRESH Message Error",
	sendHoldTimerExpired:                         "Send Hold Timer Expired",
}

// RFC 4271 §4.5, 4486, 5492, 6608, 7313, 8538, 9234, 9384.
var subcodeNames = map[uint8][]string{
	packet.BGP_ERROR_MESSAGE_HEADER_ERROR: {"", "Connection Not Synchronized", "Bad Message Length", "Bad Message Type"},
	packet.BGP_ERROR_OPEN_MESSAGE_ERROR: {"", "Unsupported Version Number", "Bad Peer AS", "Bad BGP Identifier",
		"Unsupported Optional Parameter", "Authentication Failure", "Unacceptable Hold Time", "Unsupported Capability",
		"", "", "", "Role Mismatch"},
	packet.BGP_ERROR_UPDATE_MESSAGE_ERROR: {"", "Malformed Attribute List", "Unrecognized Well-known Attribute",
		"Missing Well-known Attribute", "Attribute Flags Error", "Attribute Length Error", "Invalid ORIGIN Attribute",
		"AS Routing Loop", "Invalid NEXT_HOP Attribute", "Optional Attribute Error", "Invalid Network Field", "Malformed AS_PATH"},
	packet.BGP_ERROR_FSM_ERROR: {"", "Unexpected Message in OpenSent", "Unexpected Message in OpenConfirm", "Unexpected Message in Established"},
	packet.BGP_ERROR_CEASE: {"", "Maximum Number of Prefixes Reached", "Administrative Shutdown", "Peer De-configured",
		"Administrative Reset", "Connection Rejected", "Other Configuration Change", "Connection Collision Resolution",
		"Out of Resources", "Hard Reset", "BFD Down"},
	packet.BGP_ERROR_ROUTE_REFRESH_MESSAGE_ERROR: {"", "Invalid Message Length"},
}

// parseNotification reads the body of a message; its length is known to suffice.
func parseNotification(body []byte) *notification {
	return &notification{code: body[0], subcode: body[1], octets: append([]byte(nil), body[2:]...)}
}

func (n *notification) message() []byte {
	octets := n.octets[:min(len(n.octets), maxMessageLen-headerLen-2)]
	return mustSerialize(packet.NewBGPNotificationMessage(n.code, n.subcode, octets))
}

func (n *notification) Error() string { return n.String() }

// String is what operators read: the names, the numbers, and what the sender
// had to say.
func (n *notification) String() string {
	name := "error"
	if int(n.code) < len(codeNames) && codeNames[n.code] != "" {
		name = codeNames[n.code]
	}
	if names := subcodeNames[n.code]; int(n.subcode) < len(names) && names[n.subcode] != "" {
		name += "/" + names[n.subcode]
	}
	name = fmt.Sprintf("%s (%d/%d)", name, n.code, n.subcode)
	if c := n.communication(); c != "" {
		return fmt.Sprintf("%s: %q", name, c)
	}
	if n.text != "" {
		return name + ": " + n.text
	}
	return name
}

// communication is what the operator of the other side wrote (RFC 9003).
func (n *notification) communication() string {
	shutdown := n.code == packet.BGP_ERROR_CEASE &&
		(n.subcode == packet.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN || n.subcode == packet.BGP_ERROR_SUB_ADMINISTRATIVE_RESET)
	if !shutdown || len(n.octets) < 2 || int(n.octets[0]) > len(n.octets)-1 {
		return ""
	}
	text := string(n.octets[1 : 1+int(n.octets[0])])
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// cease ends a session on purpose (RFC 4486).
func cease(subcode uint8, text string) *notification {
	return &notification{code: packet.BGP_ERROR_CEASE, subcode: subcode, text: text}
}

// shutdown is Cease/Administrative Shutdown with a communication, cut at a rune.
func shutdown(reason string) *notification {
	reason = strings.ToValidUTF8(reason, "?")
	for len(reason) > communicationMax {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	n := cease(packet.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, "")
	if reason != "" {
		n.octets = append([]byte{uint8(len(reason))}, reason...)
	}
	return n
}

func openError(subcode uint8, octets []byte, format string, args ...any) *notification {
	return &notification{code: packet.BGP_ERROR_OPEN_MESSAGE_ERROR, subcode: subcode, octets: octets, text: fmt.Sprintf(format, args...)}
}
