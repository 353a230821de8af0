package demo

import (
	"fmt"
	"strings"
)

// picture draws the cluster, with who answers for each family's address and who leads.
func picture(owner4, owner6, leader string) string {
	var b strings.Builder
	b.WriteString(`
      Service A  tcp/80 udp/80 ┐ one address, one sharing key, the same pods
      Service B  tcp/81 udp/81 ┘ 172.30.0.200 and fd30::200

      client: 1,000 new flows a second to each port, TCP and UDP, v4 and v6
        │
   ─────┴──────┬──────────────────┬──────────────────┬─────
`)
	row := func(cell func(node string) string) {
		line := strings.Repeat(" ", 15)
		for _, node := range []string{"node1", "node2", "node3"} {
			line += fmt.Sprintf("%-19s", cell(node))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row(func(node string) string { return "├ " + node })
	row(func(node string) string {
		if node == leader {
			return "│ holdfast, leads"
		}
		return "│ holdfast"
	})
	row(func(string) string { return "│ pod web" })
	row(func(node string) string {
		switch {
		case node == owner4 && node == owner6:
			return "└ ANSWERS"
		case node == owner4:
			return "└ ANSWERS v4"
		case node == owner6:
			return "└ ANSWERS v6"
		}
		return "╵"
	})
	return b.String() + "\n"
}
