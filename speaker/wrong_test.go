package speaker

import "slices"

// releaseFirst is a wrong hand-over: a node stops answering for what somebody
// else is due for, before that one has come.
func (c *core) releaseFirst(o *orders) {
	for _, s := range c.held {
		if !s.held.yielding.IsZero() {
			c.drop(s)
			o.set = true
		}
	}
}

// failBack is a wrong hand-over: who is first in the rank takes back what
// another node holds, as keepalived does unless it is told not to.
func (c *core) failBack() {
	for _, s := range c.seats {
		s.Layer2 = slices.Clone(s.Layer2)
		for i := range s.Layer2 {
			s.Layer2[i].Weight = len(s.Layer2) - i
		}
	}
}
