package control

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
)

// filler gives every field another value that survives being encoded.
type filler struct{ n int64 }

// fill sets v to a value that is not zero, and calls itself for what is inside.
func (f *filler) fill(t *testing.T, v reflect.Value) {
	t.Helper()
	f.n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+f.n, 0).UTC()))
		return
	case v.Type() == reflect.TypeFor[agent.Event]():
		types := agent.EventTypes()
		names := eventNames()
		data := types[names[int(f.n)%len(names)]]
		f.fill(t, reflect.ValueOf(data).Elem())
		v.Set(reflect.ValueOf(agent.Event{Seq: uint64(f.n), Time: time.Unix(f.n, 0).UTC(), Entity: "G:group", Data: data}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("wörd%d", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(f.n)
	case reflect.Uint8, reflect.Uint16, reflect.Uint64:
		v.SetUint(uint64(f.n % 256))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(t, v.Index(0))
		f.fill(t, v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		f.fill(t, key)
		f.fill(t, value)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(t, v.Field(i))
		}
	case reflect.Func: // cannot be sent
	default:
		t.Fatalf("no value for a %s", v.Type())
	}
}

func (f *filler) value(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	v := reflect.New(of).Elem()
	f.fill(t, v)
	return v
}

func eventNames() (names []string) {
	for name := range agent.EventTypes() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
