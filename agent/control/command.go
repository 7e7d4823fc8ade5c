package control

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/coterie-im/coterie/agent"
)

var (
	errUnknown    = errors.New("unknown command")
	errEntity     = errors.New("command is not for this entity")
	errBusy       = errors.New("too much under way")
	errProhibited = errors.New("not now")
	errTimeout    = errors.New("no answer in time; the agent goes on trying")
)

// on says what a command is about: its entity line.
type on string

const (
	onAgent      on = ""
	onConnection on = "C:"
	onGroup      on = "G:"
)

// of tells whether an entity is one that the command can be about.
func (k on) of(entity string) bool {
	if k == onAgent {
		return entity == ""
	}
	return len(entity) > len(k) && on(entity[:len(k)]) == k
}

// command is a row of the command table.
type command struct {
	name   string
	on     on
	answer string // name of the answer
	help   string
	slow   bool // waits for a relay: other commands of the client go on meanwhile

	params, result reflect.Type
	run            func(ctx context.Context, a API, e agent.Entity, params any) (entity agent.Entity, result any, err error)
}

// nothing is the parameters or answer of commands without any.
type nothing struct{}

// define makes a row. The entity of the answer is that which run returns, also with an error.
func define[P, R any](name string, kind on, answer, help string, run func(context.Context, API, agent.Entity, P) (agent.Entity, R, error)) command {
	return command{
		name: name, on: kind, answer: answer, help: help,
		params: reflect.TypeFor[P](), result: reflect.TypeFor[R](),
		run: func(ctx context.Context, a API, e agent.Entity, params any) (agent.Entity, any, error) {
			return run(ctx, a, e, *params.(*P))
		},
	}
}

func (c command) waits() command {
	c.slow = true
	return c
}

// commands is the table: connections, groups, direct connections, events.
var commands = slices.Concat(connectionCommands, groupCommands, directCommands, agentCommands)

// find returns the command of a transmission. errOutOfStep if a body seems to follow that was not announced as one.
func find(t transmission) (command, error) {
	if t.corrID == "" {
		return command{}, fmt.Errorf("%w: no correlation ID", errSyntax)
	}
	err := errUnknown
	for _, c := range commands {
		switch {
		case c.name != t.name:
		case c.misframed(t):
			return command{}, fmt.Errorf("%w: the size of a body ends its line with LF alone, all other lines end with CR LF", errOutOfStep)
		case c.on.of(t.entity):
			return c, nil
		default:
			err = errEntity
		}
	}
	return command{}, err
}

// misframed tells whether the last word looks like the size of a body on a line that does not end as such a line must: what
// follows would be taken for commands.
func (c command) misframed(t transmission) bool {
	words, body := layout(c.params)
	last := len(t.words) - 1
	if body == nil || t.body != nil || last < required(words) {
		return false
	}
	_, isSize := parseSize(t.words[last])
	return isSize
}

// execute runs a command and returns its answer, which has the entity also if there is an error.
func (c command) execute(ctx context.Context, a API, t transmission) (transmission, error) {
	answer := transmission{corrID: t.corrID, entity: t.entity, name: c.answer}
	params := reflect.New(c.params)
	if err := decode(t, params.Interface(), true); err != nil {
		return answer, err
	}
	entity, result, err := c.run(ctx, a, agent.Entity(t.entity), params.Interface())
	if entity != "" {
		answer.entity = string(entity)
	}
	if err != nil {
		return answer, err
	}
	if err := encode(&answer, result); err != nil {
		return answer, fmt.Errorf("answer of %s: %w", c.name, err)
	}
	if len(answer.body) > maxAnswer {
		return answer, fmt.Errorf("%w: answer of more than %d bytes", errTooLarge, maxAnswer)
	}
	return answer, nil
}
