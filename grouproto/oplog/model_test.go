package oplog

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
)

// The graphs of testdata/resolve.jsonl.gz; testdata/README.md says how they were made and what the fields are.
type modelGraph struct {
	Ops     []modelOp    `json:"o"`
	IDs     []int        `json:"i"` // place of the operation's ID among all IDs
	Refused []modelOp    `json:"r"`
	States  []modelState `json:"s"`
}

type modelOp struct {
	author  string
	seq     uint64
	parents []int
	action  Action
}

type modelState struct {
	Heads   []int         `json:"h"`
	Members []modelMember `json:"m"` // from the highest rank down
	Left    []modelMember `json:"l"`
	Policy  []int         `json:"p"`
	Closed  int           `json:"c"`
	Void    []int32       `json:"v"`
}

type modelMember struct {
	name  string
	role  int
	grant int
}

// fields decodes a JSON array into values of different types.
func fields(b []byte, into ...any) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	for i := range min(len(raw), len(into)) {
		if err := json.Unmarshal(raw[i], into[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *modelMember) UnmarshalJSON(b []byte) error { return fields(b, &m.name, &m.role, &m.grant) }

func (o *modelOp) UnmarshalJSON(b []byte) error {
	var kind string
	var rest []json.RawMessage
	if err := json.Unmarshal(b, &rest); err != nil {
		return err
	}
	if err := fields(b, &o.author, &o.seq, &o.parents, &kind); err != nil {
		return err
	}
	args, err := json.Marshal(rest[4:])
	if err != nil {
		return err
	}
	var name string
	var role Role
	var list []string
	var levels []int
	switch kind {
	case "genesis":
		err = fields(args, &levels)
		o.action = &Genesis{Policy: modelPolicy(levels)}
	case "add":
		err = fields(args, &name, &role)
		o.action = &Add{Member: named(name), Role: role}
	case "remove":
		err = fields(args, &list)
		o.action = removal(list...)
	case "leave":
		o.action = &Leave{}
	case "role":
		err = fields(args, &name, &role)
		o.action = &RoleChange{Member: named(name), Role: role}
	case "policy":
		err = fields(args, &levels)
		o.action = &PolicyChange{Policy: modelPolicy(levels)}
	case "set":
		err = fields(args, &name)
		o.action = &Set{Setting: Setting{Name: name, Value: []byte{byte(o.seq)}}}
	case "close":
		o.action = &Close{}
	default:
		err = fmt.Errorf("action %q", kind)
	}
	return err
}

// modelPolicy makes a policy of reach and the levels of add, remove, set, role, policy, close. The model has one level
// for all settings.
func modelPolicy(v []int) Policy {
	p := Policy{OpsVersion: 1, Reach: Reach(v[0])}
	p.Levels[PermAdd], p.Levels[PermRemove] = Role(v[1]), Role(v[2])
	p.Levels[PermInfo], p.Levels[PermPins], p.Levels[PermTimer], p.Levels[PermOther] = Role(v[3]), Role(v[3]), Role(v[3]), Role(v[3])
	p.Levels[PermRole], p.Levels[PermPolicy], p.Levels[PermClose] = Role(v[4]), Role(v[5]), Role(v[6])
	return p
}

// op makes the operation with an ID that has the same place among all IDs as in the model. A refused one gets an ID
// above all.
func (g *modelGraph) op(o modelOp, place int) *Op {
	id := func(place int) (id ID) {
		binary.BigEndian.PutUint32(id[:], uint32(place+1))
		return id
	}
	op := &Op{Body: Body{Author: named(o.author), Seq: o.seq, Action: o.action}, id: id(place)}
	for _, p := range o.parents {
		op.Parents = append(op.Parents, id(g.IDs[p]))
	}
	sortIDs(op.Parents)
	return op
}

func readModel(t *testing.T) []modelGraph {
	t.Helper()
	f, err := os.Open("testdata/resolve.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var graphs []modelGraph
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g modelGraph
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		graphs = append(graphs, g)
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return graphs
}

func TestResolveAgreesWithTheModel(t *testing.T) {
	graphs := readModel(t)
	if len(graphs) < 5000 {
		t.Fatal("only", len(graphs), "graphs")
	}
	void, refused := 0, 0
	for n, g := range graphs {
		l := start(nil, g.op(g.Ops[0], g.IDs[0]))
		for i, o := range g.Ops[1:] {
			if r := l.admitUnsigned(g.op(o, g.IDs[i+1])); r != ReasonNone {
				t.Fatalf("graph %d: operation %d refused: %v", n, i+1, r)
			}
		}
		for i, o := range g.Refused {
			if _, _, r := l.examine(g.op(o, len(g.Ops)+i)); r == ReasonNone {
				t.Fatalf("graph %d: refused operation %d: %+v is taken", n, i, o)
			}
			refused++
		}
		for i, want := range g.States {
			compareToModel(t, fmt.Sprintf("graph %d state %d", n, i), l, want)
			void += len(want.Void)
		}
	}
	if void < 1000 || refused < 1000 {
		t.Fatal("only", void, "void and", refused, "refused operations")
	}
}

func compareToModel(t *testing.T, where string, l *Log, want modelState) {
	t.Helper()
	var heads []ID
	for _, h := range want.Heads {
		heads = append(heads, l.nodes[h].op.id)
	}
	st, ok := l.StateAt(heads)
	if !ok {
		t.Fatal(where, "heads unknown")
	}
	if !slices.Equal(slices.Collect(st.void.all()), want.Void) {
		t.Fatalf("%s: void %v, want %v", where, slices.Collect(st.void.all()), want.Void)
	}
	members := st.Members()
	slices.SortFunc(members, func(a, b Member) int { return b.Rank.Compare(a.Rank) })
	checkMembers(t, where, l, members, want.Members)
	checkMembers(t, where, l, st.AllLeft(), want.Left)
	if got := st.Policy(); got != modelPolicy(want.Policy) {
		t.Fatalf("%s: policy %v, want %v", where, got, want.Policy)
	}
	if st.Closed() != (want.Closed == 1) {
		t.Fatalf("%s: closed %v", where, st.Closed())
	}
}

func checkMembers(t *testing.T, where string, l *Log, got []Member, want []modelMember) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d members, want %d", where, len(got), len(want))
	}
	for i, m := range want {
		if g := got[i]; g.Key != named(m.name) || int(g.Role) != m.role || g.Grant != l.nodes[m.grant].op.id {
			t.Fatalf("%s: member %d is not %v", where, i, m)
		}
	}
}
