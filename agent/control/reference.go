package control

import (
	"reflect"
	"strings"
)

// Reference is a row of the command table, for the documentation.
type Reference struct {
	Section    string // heading for this and the rows behind it that have the same
	Name       string
	Entity     string // "", "C:" or "G:"
	Parameters string // such as "link [key] [<info>]"
	Answer     string // such as "INV link"
	Help       string
}

// References returns the command table in its order. In parameters and answers, what is in brackets may be left out, <x>
// is a body, {x} is a body of JSON.
func References() (rows []Reference) {
	for _, section := range []struct {
		heading  string
		commands []command
	}{
		{"Connections", connectionCommands},
		{"Groups", groupCommands},
		{"Direct connections", directCommands},
		{"Events and the agent", agentCommands},
	} {
		for _, c := range section.commands {
			rows = append(rows, Reference{
				Section:    section.heading,
				Name:       c.name,
				Entity:     string(c.on),
				Parameters: describe(c.params),
				Answer:     strings.TrimSpace(c.answer + " " + describe(c.result)),
				Help:       c.help,
			})
		}
	}
	return rows
}

func describe(t reflect.Type) string {
	words, body := layout(t)
	var out []string
	for i, f := range words {
		name := f.name
		switch f.kind {
		case reflect.Bool:
			name += "=T|F"
		case reflect.Slice:
			name += ",…"
		}
		if i >= required(words) {
			name = "[" + name + "]"
		}
		out = append(out, name)
	}
	if body != nil {
		name := "<" + body.name + ">"
		if body.json {
			name = "{" + body.name + "}"
		}
		if body.mayBeLeftOut {
			name = "[" + name + "]"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}
