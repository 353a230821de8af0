package script

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verb is a command that scenarios may use.
type verb struct {
	group string
	usage string // arguments
	help  string
	run   func(r *run, ctx context.Context, args []string) error
}

// groups are the chapters of the help, in order.
var groups = []string{"objects", "time", "traffic", "claims", "faults"}

// verbs is filled by the files that hold them, and read by Parse, run and Help.
var verbs = map[string]verb{}

func add(group string, table map[string]verb) {
	for name, v := range table {
		v.group = group
		verbs[name] = v
	}
}

const grammar = `A scenario is a txtar file. Its comment is a list of commands, one a line; the files
after it can be named in commands (apply). The first line that begins with # is its
summary. Blanks separate words, single quotes hold together, $NAME is a variable, # begins
a comment. "! command" says that the command must fail. Before the first command:

  needs nodes=N proxy=MODE routers=frr,bird flags='--settle=5s …'   what the lab must be,
        and holdfast's flags (else ` + DefaultFlags + `); needs defaults: none
  tags WORD...                                     for lab run --only WORD, --skip WORD

Every scenario begins with a clean state. Claims over a time look at everything since the
last mark; probe start is one. A command that cannot be carried out ends the scenario, a
claim that does not hold fails it and lets it go on.

A SVC is NAME or NAMESPACE/NAME. A TARGET is SVC (each port of each of its addresses),
SVC:tcp/80, or tcp:ADDRESS:80; in claims NAME: before them means that probe. An ADDR is an address or SVC, which means all of its own.
A ROUTER is frr or bird, or one of several such as frr2; each peers with every node, AS 65000, at
172.30.0.51 and fd30::51, .52 and ::52, … in the order in which the lab has them. far, a client, is
on their other side, in 172.31.0.0/24 and fd31::/64; addresses that it is to reach by BGP alone must
not lie in 172.30.0.0/24 or fd30::/64.
`

// Help writes all verbs.
func Help(w io.Writer) {
	fmt.Fprint(w, grammar, "\n")
	for _, group := range groups {
		fmt.Fprintln(w, group)
		for _, name := range slices.Sorted(maps.Keys(verbs)) {
			if v := verbs[name]; v.group == group {
				fmt.Fprintf(w, "  %s %s\n", name, v.usage)
				for line := range strings.SplitSeq(v.help, "\n") {
					fmt.Fprintf(w, "        %s\n", line)
				}
			}
		}
		fmt.Fprintln(w)
	}
}

// options parts key=value arguments from the others. Keys that are not known are errors.
func options(args []string, known ...string) (plain []string, o map[string]string, err error) {
	o = map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		switch {
		case !ok:
			plain = append(plain, arg)
		case !slices.Contains(known, key):
			return nil, nil, fmt.Errorf("%s=: want one of %s", key, strings.Join(known, "=, ")+"=")
		default:
			o[key] = value
		}
	}
	return plain, o, nil
}

func duration(o map[string]string, key string, otherwise time.Duration) (time.Duration, error) {
	text, ok := o[key]
	if !ok {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s=%s: want a duration, as 3s or 250ms", key, text)
	}
	return d, nil
}

func number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q: want a number", text)
	}
	return n, nil
}

// first is the first argument; "" if there is none.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

// want fails if there are fewer than n arguments.
func want(n int, args []string, usage string) error {
	if len(args) < n {
		return fmt.Errorf("want %s", usage)
	}
	return nil
}
