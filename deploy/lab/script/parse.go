package script

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// Script is a scenario as it is written.
type Script struct {
	Name    string // without folder and .txtar
	Path    string
	Summary string // the first line of comment
	Needs   Needs
	Tags    []string
	Lines   []Line
	Files   map[string][]byte
}

// Line is one command.
type Line struct {
	Number int
	Text   string
	Fails  bool // written with "!": the command must fail
	Words  []Word
}

// Word is an argument: pieces, of which some are names of variables.
type Word []piece

type piece struct {
	text     string
	variable bool
}

// Needs is what a scenario asks of the lab that it runs in.
type Needs struct {
	Nodes int    // at least so many; 0: any number
	Proxy string // "": any
	Flags string // holdfast's
	// Routers that must be there, parted by commas.
	Routers string
}

// DefaultFlags make a scenario short: a change that the settle time is to bridge comes
// within 5 s, one that it is not to bridge after it.
const DefaultFlags = "--settle=5s --overlap=3s --dwell=2s"

// Parse reads a scenario. The path is used in errors, and names it.
func Parse(name string, text []byte) (*Script, error) {
	archive := txtar.Parse(text)
	s := &Script{Name: strings.TrimSuffix(filepath.Base(name), ".txtar"), Path: name, Needs: Needs{Flags: DefaultFlags}, Files: map[string][]byte{}}
	for _, f := range archive.Files {
		s.Files[f.Name] = f.Data
	}
	for i, text := range strings.Split(string(archive.Comment), "\n") {
		text = strings.TrimSpace(text)
		if comment, ok := strings.CutPrefix(text, "#"); ok && s.Summary == "" && len(s.Lines) == 0 {
			s.Summary = strings.TrimSpace(comment)
		}
		words, err := split(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		if len(words) == 0 {
			continue
		}
		if err := s.add(Line{Number: i + 1, Text: text, Words: words}); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	return s, nil
}

func (s *Script) add(l Line) error {
	if l.Words[0].plain() == "!" {
		l.Fails, l.Words = true, l.Words[1:]
		if len(l.Words) == 0 {
			return fmt.Errorf("! alone: which command must fail?")
		}
	}
	verb := l.Words[0].plain()
	if verb == "needs" || verb == "tags" {
		if len(s.Lines) > 0 || l.Fails {
			return fmt.Errorf("%s comes before the first command", verb)
		}
		return s.header(verb, l.Words[1:])
	}
	if _, ok := verbs[verb]; !ok {
		return fmt.Errorf("no verb %q%s; see lab help script", verb, like(verb))
	}
	s.Lines = append(s.Lines, l)
	return nil
}

func (s *Script) header(verb string, words []Word) error {
	for _, w := range words {
		if verb == "tags" {
			s.Tags = append(s.Tags, w.plain())
			continue
		}
		name, value, _ := strings.Cut(w.plain(), "=")
		switch name {
		case "nodes":
			if _, err := fmt.Sscanf(value, "%d", &s.Needs.Nodes); err != nil || s.Needs.Nodes < 1 {
				return fmt.Errorf("needs nodes=%s: want a number", value)
			}
		case "proxy":
			s.Needs.Proxy = value
		case "flags":
			s.Needs.Flags = value
		case "routers":
			s.Needs.Routers = value
		case "defaults":
			s.Needs.Flags = ""
		default:
			return fmt.Errorf("needs %s: want nodes=N, proxy=MODE, routers=NAME,NAME, flags='…' or defaults", w.plain())
		}
	}
	return nil
}

// like names the verb that was probably meant.
func like(verb string) string {
	for name := range verbs {
		if len(verb) > 2 && (strings.HasPrefix(name, verb) || strings.HasPrefix(verb, name)) {
			return fmt.Sprintf("; %s?", name)
		}
	}
	return ""
}

// split cuts a line into words: blanks separate, single quotes hold together and keep $
// from naming a variable, ” inside quotes is a quote, # begins a comment.
func split(text string) (words []Word, err error) {
	var word Word
	var b strings.Builder
	began, quoted := false, false
	flush := func() {
		if b.Len() > 0 {
			word = append(word, piece{text: b.String()})
			b.Reset()
		}
	}
	end := func() {
		if flush(); began {
			words = append(words, word)
		}
		word, began = nil, false
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\'' && strings.HasPrefix(text[i+1:], "'"):
			b.WriteByte('\'')
			i++
		case c == '\'':
			quoted, began = !quoted, true
		case quoted:
			b.WriteByte(c)
		case c == ' ' || c == '\t':
			end()
		case c == '#' && !began:
			return words, nil
		case c == '$':
			flush()
			name := variable(text[i+1:])
			if name == "" {
				return nil, fmt.Errorf("$ names no variable; in single quotes it stands for itself")
			}
			word, began = append(word, piece{name, true}), true
			i += len(name)
		default:
			b.WriteByte(c)
			began = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("a single quote is not closed")
	}
	end()
	return words, nil
}

func variable(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	if end < 0 {
		return s
	}
	return s[:end]
}

func (w Word) plain() string {
	var b strings.Builder
	for _, p := range w {
		if p.variable {
			b.WriteByte('$')
		}
		b.WriteString(p.text)
	}
	return b.String()
}

func (w Word) expand(vars map[string]string) (string, error) {
	var b strings.Builder
	for _, p := range w {
		if !p.variable {
			b.WriteString(p.text)
			continue
		}
		value, ok := vars[p.text]
		if !ok {
			return "", fmt.Errorf("no variable %s has been set", p.text)
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// Load finds a scenario by path or, among those of the binary, by name.
func Load(arg string) (*Script, error) {
	if text, err := os.ReadFile(arg); err == nil {
		return Parse(arg, text)
	} else if !os.IsNotExist(err) || strings.ContainsAny(arg, "/.") {
		return nil, fmt.Errorf("scenario %s: %w", arg, err)
	}
	return builtIn(arg)
}

// Is says whether the scenario carries the tag.
func (s *Script) Is(tag string) bool { return slices.Contains(s.Tags, tag) }
