package agent

import (
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// report puts events into the log as the loop does.
func report(t testing.TB, a *Agent, entities ...Entity) {
	t.Helper()
	must(t, do(t.Context(), a, func(tn *turn) error {
		for _, e := range entities {
			tn.report(e, &Continued{})
		}
		return nil
	}))
}

// readEvents takes what a cursor gives until it has n events or fails.
func readEvents(t testing.TB, a *Agent, cursor string, n int) (events []Event, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for e, err := range a.Events(ctx, cursor) {
		if err != nil {
			return events, err
		}
		if events = append(events, e); len(events) == n {
			break
		}
	}
	return events, nil
}

func openPlain(t testing.TB, path string, maxEvents int) *Agent {
	t.Helper()
	a, err := Open(t.Context(), Config{Store: path, Key: testKey, MaxEvents: maxEvents})
	must(t, err)
	t.Cleanup(func() { _ = a.Close(context.Background()) })
	return a
}

func TestEachReaderHasItsOwnPlace(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "a.db")
	a := openPlain(t, path, 0)
	report(t, a, "C:1", "C:2", "C:3")
	first, err := readEvents(t, a, "first", 3)
	must(t, err)
	if second, err := readEvents(t, a, "second", 3); err != nil || second[0].Entity != "C:1" {
		t.Error("a new reader does not start at the beginning:", err)
	}
	must(t, a.AckEvent(ctx, "first", first[1].Seq))
	must(t, a.AckEvent(ctx, "first", first[0].Seq)) // backwards: nothing changes
	must(t, a.Close(ctx))

	a = openPlain(t, path, 0)
	if rest, err := readEvents(t, a, "first", 1); err != nil || rest[0].Entity != "C:3" {
		t.Error("a reader does not resume behind what it acknowledged:", err)
	}
	if all, err := readEvents(t, a, "second", 3); err != nil || all[0].Entity != "C:1" {
		t.Error("events were dropped before all readers had them:", err)
	}
	must(t, a.AckEvent(ctx, "second", first[2].Seq))
	if n := logged(t, a); n != 1 {
		t.Error("events left:", n)
	}
	if third, err := readEvents(t, a, "third", 1); err != nil || third[0].Entity != "C:3" {
		t.Error("a new reader does not get what is left:", err)
	}
	must(t, a.DropCursor(ctx, "first"))
	must(t, a.DropCursor(ctx, "third"))
	must(t, a.DropCursor(ctx, "nobody"))
	report(t, a, "C:4")
	if n := logged(t, a); n != 1 {
		t.Error("events left after the slow readers were dropped:", n)
	}
	wantError(t, "acknowledge with an unknown cursor", a.AckEvent(ctx, "first", 1), ErrCursor)
	wantError(t, "acknowledge the future", a.AckEvent(ctx, "second", 99), ErrCursor)
	_, err = readEvents(t, a, "", 1)
	wantError(t, "cursor without a name", err, ErrCursor)
}

func logged(t testing.TB, a *Agent) (n int) {
	t.Helper()
	must(t, a.store.View(t.Context(), func(tx *storeTx) error {
		n = tx.CountEvents()
		return nil
	}))
	return n
}

func TestWaitingReaderGetsWhatComes(t *testing.T) {
	a := openPlain(t, filepath.Join(t.TempDir(), "a.db"), 0)
	got := make(chan Event)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(got)
		for e, err := range a.Events(ctx, "r") {
			if err != nil {
				if err != context.Canceled {
					t.Error(err)
				}
				return
			}
			got <- e
		}
	}()
	for _, want := range []Entity{"C:1", "G:2", ""} {
		report(t, a, want)
		if e := <-got; e.Entity != want {
			t.Errorf("got %q", string(e.Entity))
		}
	}
	cancel()
	if _, more := <-got; more {
		t.Error("events after the end")
	}
}

func TestTooManyUnreadEventsAreDroppedAndToldSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	a := openPlain(t, path, 20)
	report(t, a, "C:first")
	if _, err := readEvents(t, a, "slow", 1); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		report(t, a, "C:x")
	}
	if n := logged(t, a); n > 20 || n < 15 {
		t.Error("events kept:", n)
	}
	if a.Counters().EventsDropped < 11 {
		t.Error("dropped:", a.Counters().EventsDropped)
	}
	must(t, a.Close(t.Context()))
	a = openPlain(t, path, 20)
	_, err := readEvents(t, a, "slow", 1)
	wantError(t, "reading what was dropped", err, ErrEventsLost)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, lost := 0, 0
	for _, err := range a.Events(ctx, "slow") {
		if err != nil {
			wantError(t, "reading", err, ErrEventsLost)
			lost++
			continue
		}
		if n++; n == logged(t, a) {
			break
		}
	}
	if lost != 1 {
		t.Error("told", lost, "times")
	}
}

// Every event type survives its way through the log.
func TestEventsAsJSON(t *testing.T) {
	for name, e := range EventTypes() {
		if e.Type() != name {
			t.Errorf("%T is called %s and %s", e, e.Type(), name)
		}
		fill(reflect.ValueOf(e).Elem())
		in := Event{Seq: 7, Time: time.Unix(1000, 0).UTC(), Entity: "C:x", Data: e}
		b, err := json.Marshal(in)
		must(t, err)
		var out Event
		must(t, json.Unmarshal(b, &out))
		if !reflect.DeepEqual(in, out) {
			t.Errorf("%s came back as %+v from %s", name, out.Data, b)
		}
	}
	var e Event
	if json.Unmarshal([]byte(`{"type":"NONE","data":{}}`), &e) == nil {
		t.Error("unknown type was decoded")
	}
	if json.Unmarshal([]byte(`{"type":"SENT","data":{"id":"x"}}`), &e) == nil {
		t.Error("wrong data was decoded")
	}
	if _, err := json.Marshal(Event{}); err == nil {
		t.Error("event without data was encoded")
	}
}

// fill sets every field to something that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(77, 0).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b"}))
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint64, reflect.Uint8, reflect.Uint16:
		v.SetUint(4)
	default:
		panic(v.Kind())
	}
}
