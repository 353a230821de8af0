package script

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"holdfast.dev/holdfast/deploy/lab/scenarios"
)

func builtIn(name string) (*Script, error) {
	text, err := scenarios.Files.ReadFile(name + ".txtar")
	if err != nil {
		return nil, fmt.Errorf("no scenario %s: neither a file nor one of those that lab list shows", name)
	}
	return Parse(name+".txtar", text)
}

// All returns the scenarios that come with the lab, in the order of their names.
func All() ([]*Script, error) {
	names, err := fs.Glob(scenarios.Files, "*.txtar")
	if err != nil {
		return nil, err
	}
	var all []*Script
	for _, name := range names {
		s, err := builtIn(strings.TrimSuffix(path.Base(name), ".txtar"))
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}
