package control

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
)

// there encodes v, writes and reads it as a transmission, and decodes it again.
func there(t *testing.T, v any, strict bool) (transmission, any) {
	t.Helper()
	out := transmission{corrID: "1", entity: "C:x", name: "NAME"}
	if err := encode(&out, v); err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	in, err := newReader(bytes.NewReader(out.append(nil)), maxAnswer).read()
	if err != nil {
		t.Fatalf("%T: %v in %q", v, err, out.append(nil))
	}
	got := reflect.New(reflect.TypeOf(v))
	if err := decode(in, got.Interface(), strict); err != nil {
		t.Fatalf("%T: %v in %q", v, err, out.append(nil))
	}
	return in, got.Elem().Interface()
}

func TestParametersAndAnswersSurviveTheWire(t *testing.T) {
	for _, c := range commands {
		for _, typ := range []reflect.Type{c.params, c.result} {
			t.Run(c.name+string(c.on)+" "+typ.Name(), func(t *testing.T) {
				var f filler
				full := f.value(t, typ)
				if _, got := there(t, full.Interface(), true); !reflect.DeepEqual(got, full.Interface()) {
					t.Errorf("sent %+v\n got %+v", full, got)
				}
				// Without what may be left out, and then with everything that is required empty where it can be.
				words, body := layout(typ)
				for i, w := range words {
					if i >= required(words) {
						full.Field(w.index).SetZero()
					}
				}
				if body != nil && body.mayBeLeftOut {
					full.Field(body.index).SetZero()
				}
				in, got := there(t, full.Interface(), true)
				if !reflect.DeepEqual(got, full.Interface()) {
					t.Errorf("sent %+v\n got %+v", full, got)
				}
				if len(in.words) != required(words) || body != nil && body.mayBeLeftOut && in.body != nil {
					t.Errorf("%d words and body %q for what may be left out", len(in.words), in.body)
				}
			})
		}
	}
}

func TestEveryEventSurvivesTheWire(t *testing.T) {
	var f filler
	for name, data := range agent.EventTypes() {
		f.fill(t, reflect.ValueOf(data).Elem())
		e := eventAnswer{7, agent.Event{Seq: 7, Time: time.Unix(1_700_000_000, 0).UTC(), Entity: "C:x", Data: data}}
		if _, got := there(t, e, true); !reflect.DeepEqual(got, e) || data.Type() != name {
			t.Errorf("sent %+v\n got %+v", e, got)
		}
	}
}

func TestOptionalWordsAreAtTheEnd(t *testing.T) {
	for _, c := range commands {
		for _, typ := range []reflect.Type{c.params, c.result} {
			words, _ := layout(typ)
			for _, w := range words[:required(words)] {
				if w.mayBeLeftOut {
					t.Errorf("%s: %s may be left out, but not what comes behind it", c.name, w.name)
				}
			}
			for i := range typ.NumField() {
				if _, body := layout(typ); body != nil && body.index != typ.NumField()-1 {
					t.Errorf("%s: field %d behind the body", c.name, i)
				}
			}
		}
	}
}

func TestTableHasNoAmbiguousRows(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands {
		if seen[c.name+string(c.on)] {
			t.Errorf("%s is there twice", c.name)
		}
		seen[c.name+string(c.on)] = true
		if c.name == "" || c.answer == "" || c.help == "" || c.run == nil || strings.ToUpper(c.name) != c.name || checkWord(c.name) != nil {
			t.Errorf("incomplete row %q", c.name)
		}
	}
}

func TestWordsHaveOneForm(t *testing.T) {
	type all struct {
		Number int64
		Count  uint64
		Flag   bool
		Items  []string
		Last   string `control:"optional"`
		Body   []byte `control:"body,optional"`
	}
	parse := func(line string) error {
		in, err := newReader(strings.NewReader("1\r\n\r\nX "+line+"\r\n"), maxBody).read()
		if err != nil {
			return err
		}
		return decode(in, &all{}, true)
	}
	for _, good := range []string{"-5 5 T a,b", "0 0 F a last", "9223372036854775807 18446744073709551615 T a l :b b :b", "1 1 T a :"} {
		if err := parse(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "1", "1 1 T", "+1 1 T a", "01 1 T a", "-0 1 T a", "1 -1 T a", "1 01 T a", "9223372036854775808 1 T a", "1 1 t a", "1 1 true a",
		"1 1 T ,", "1 1 T a,", "1 1 T ,a", "1 1 T a l more", "1  1 T a", " 1 1 T a", "1 1 T a ", "1 1 T a\tb", "1 1 T \x00", "1 1 T \xff",
	} {
		if err := parse(bad); !errors.Is(err, errSyntax) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestMisspeltOptionsAreRefused(t *testing.T) {
	parse := func(body string, strict bool) error {
		return decode(transmission{body: []byte(body)}, &groupNewParams{}, strict)
	}
	for _, bad := range []string{`{"polizy":{}}`, `{`, `[]`, `{} {}`, `{"card":"not base64"}`} {
		if err := parse(bad, true); !errors.Is(err, errSyntax) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if err := parse(`{"fromTheFuture":1,"card":"QQ=="}`, false); err != nil {
		t.Errorf("an answer of a newer daemon: %v", err)
	}
}

func TestListOfNothingIsAList(t *testing.T) {
	in, got := there(t, connectionsAnswer{}, true)
	if string(in.body) != "[]" || got.(connectionsAnswer).Connections != nil {
		t.Errorf("%s, then %+v", in.body, got)
	}
}

func TestWhatCannotBeAWordIsRefused(t *testing.T) {
	for _, bad := range []any{
		cursorParams{""}, cursorParams{"two words"}, cursorParams{":text"}, cursorParams{"line\r\nend"}, cursorParams{"\xff"},
		groupRemoveParams{}, groupRemoveParams{Members: []string{"a,b"}}, groupRemoveParams{Members: []string{"a", ""}},
	} {
		if err := encode(&transmission{}, bad); !errors.Is(err, errSyntax) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// A key that is a number must not make the reader wait for a body.
func TestNumbersAreNotTakenForSizes(t *testing.T) {
	for _, p := range []any{newParams{Mode: "INV", Key: "12"}, sendParams{Key: "12"}, ackParams{ID: 12}, ackParams{ID: 12, Receipt: true}} {
		for _, c := range commands {
			if c.params != reflect.TypeOf(p) {
				continue
			}
			out := transmission{corrID: "1", entity: string(c.on), name: c.name}
			if c.on != onAgent {
				out.entity += "x"
			}
			if err := encode(&out, p); err != nil {
				t.Fatal(err)
			}
			in, err := newReader(bytes.NewReader(out.append(nil)), maxBody).read()
			if err == nil {
				_, err = find(in)
			}
			got := reflect.New(c.params)
			if err == nil {
				err = decode(in, got.Interface(), true)
			}
			if err != nil || !reflect.DeepEqual(got.Elem().Interface(), p) {
				t.Errorf("%s %+v: %v, %+v from %q", c.name, p, err, got.Elem(), out.append(nil))
			}
		}
	}
}

// FuzzDecode reads anything as the parameters or the answer of each command: what is accepted has one form.
func FuzzDecode(f *testing.F) {
	for i, c := range commands {
		f.Add(uint8(i), seedOf(c))
	}
	f.Fuzz(func(t *testing.T, row uint8, data []byte) {
		c := commands[int(row)%len(commands)]
		in, err := newReader(bytes.NewReader(data), maxBody).read()
		if err != nil {
			return
		}
		for _, typ := range []reflect.Type{c.params, c.result, reflect.TypeFor[eventAnswer]()} {
			got := reflect.New(typ)
			if err := decode(in, got.Interface(), true); err != nil {
				continue
			}
			out := transmission{corrID: in.corrID, entity: in.entity, name: in.name}
			if err := encode(&out, got.Elem().Interface()); err != nil {
				if typ == reflect.TypeFor[eventAnswer]() {
					continue // JSON of an event may be null
				}
				t.Fatalf("%s: %q is accepted and cannot be written: %v", c.name, data, err)
			}
			again := reflect.New(typ)
			in2, err := newReader(bytes.NewReader(out.append(nil)), 8*maxBody).read()
			if err == nil {
				err = decode(in2, again.Interface(), true)
			}
			if err != nil || !reflect.DeepEqual(got.Interface(), again.Interface()) {
				t.Fatalf("%s: %q is %+v, then %+v, %v", c.name, data, got.Elem(), again.Elem(), err)
			}
			if same := strings.Join(out.words, " "); same != strings.Join(in.words, " ") && !leftOut(in.words, out.words) {
				t.Fatalf("%s: %q has a second form %q", c.name, data, same)
			}
		}
	})
}

// leftOut tells whether what a line has more than another is only what may be left out: F, or nothing.
func leftOut(in, out []string) bool {
	if len(in) < len(out) || strings.Join(in[:len(out)], " ") != strings.Join(out, " ") {
		return false
	}
	for _, w := range in[len(out):] {
		if w != "F" {
			return false
		}
	}
	return true
}

// seedOf is a command with all parameters.
func seedOf(c command) []byte {
	t := transmission{corrID: "7", name: c.name}
	if c.on != onAgent {
		t.entity = string(c.on) + "Qm9iJ3MgY29ubi4u"
	}
	v := reflect.New(c.params).Elem()
	words, body := layout(c.params)
	for i, w := range words {
		switch w.kind {
		case reflect.String:
			v.Field(w.index).SetString(fmt.Sprint(w.name, i))
		case reflect.Bool:
			v.Field(w.index).SetBool(true)
		case reflect.Int, reflect.Int64:
			v.Field(w.index).SetInt(int64(i) + 1)
		case reflect.Uint64:
			v.Field(w.index).SetUint(uint64(i) + 1)
		case reflect.Slice:
			v.Field(w.index).Set(reflect.ValueOf([]string{"a", "b"}))
		}
	}
	if body != nil && body.body {
		v.Field(body.index).SetBytes([]byte("body\r\n\r\nof two lines"))
	}
	if err := encode(&t, v.Interface()); err != nil {
		panic(err)
	}
	return t.append(nil)
}

func TestSeedsAreCommands(t *testing.T) {
	for _, c := range commands {
		in, err := newReader(bytes.NewReader(seedOf(c)), maxBody).read()
		if err == nil {
			_, err = find(in)
		}
		if err == nil {
			err = decode(in, reflect.New(c.params).Interface(), true)
		}
		if err != nil {
			t.Errorf("%q: %v", seedOf(c), err)
		}
	}
	if _, err := newReader(strings.NewReader(""), maxBody).read(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}
