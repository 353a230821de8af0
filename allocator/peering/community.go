package peering

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A community is the value of one: of RFC 1997 (two numbers of 16 bits), or, if
// large, of RFC 8092 (three of 32 bits).
type community struct {
	large bool
	value [3]uint32 // of RFC 1997: in the first
}

const communityForm = "write 65000:1, each part at most 65535, or large:65000:1:2"

// parseCommunity reads a community; is tells whether the text has the form of one.
func parseCommunity(text string) (c community, is bool, err error) {
	parts, bits := strings.Split(text, ":"), 16
	if parts[0] == "large" {
		parts, bits, c.large = parts[1:], 32, true
	}
	if len(parts) == 1 && !c.large {
		return c, false, nil
	}
	if c.large && len(parts) != 3 || !c.large && len(parts) != 2 {
		return c, true, fmt.Errorf("%q is not a community: %s", text, communityForm)
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits)
		if err != nil {
			return c, true, fmt.Errorf("%q is not a community: %s", text, communityForm)
		}
		c.value[i] = uint32(n)
	}
	if !c.large {
		c.value = [3]uint32{c.value[0]<<16 | c.value[1]}
	}
	return c, true, nil
}

// resolveCommunities returns the value of every name. A name that cannot be used is
// left out by itself, for the advertisements that use the others go on.
func (p *Plan) resolveCommunities(objects []Community) map[string]community {
	values, from := map[string]community{}, map[string]string{}
	for _, o := range inOrder(objects, func(a, b *Community) int { return a.before(&b.Object) }) {
		if o.Problem != nil {
			p.Communities[o.Name] = Verdict{Refused: o.Problem}
			continue
		}
		var problems []error
		for i, a := range o.Aliases {
			value, err := a.value()
			if other, taken := from[a.Name]; err == nil && taken {
				err = fmt.Errorf("the name %q is given by Community %s already, whose value counts: choose another name", a.Name, other)
				if other == o.Name {
					err = fmt.Errorf("the name %q is given twice, and the first value counts: remove one", a.Name)
				}
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("spec.communities[%d]: %w", i, err))
				continue
			}
			values[a.Name], from[a.Name] = value, o.Name
		}
		verdict := Verdict{Warning: errors.Join(problems...)}
		if len(problems) > 0 && len(problems) == len(o.Aliases) {
			verdict = Verdict{Refused: verdict.Warning}
		}
		p.Communities[o.Name] = verdict
	}
	return values
}

func (a *Alias) value() (community, error) {
	if a.Name == "" {
		return community{}, errors.New("name is empty: give the name by which advertisements name the value")
	}
	if _, is, _ := parseCommunity(a.Name); is {
		return community{}, fmt.Errorf("the name %q has the form of a value, and would never be looked up: choose another name", a.Name)
	}
	value, is, err := parseCommunity(a.Value)
	if !is {
		err = fmt.Errorf("the value %q of %q is not a community, and names of other communities are not looked up there: %s", a.Value, a.Name, communityForm)
	}
	return value, err
}
