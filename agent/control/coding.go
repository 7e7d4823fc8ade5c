package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Parameters and answers are structs. Their fields are, in order, the words of the command line:
//
//	string              a word
//	integer             decimal
//	bool                T or F
//	[]string            words joined with commas
//	`control:"body"`    []byte, the body as it is
//	`control:"json"`    any type, the body as JSON
//
// Words tagged `control:"optional"` may be left out from the end, and so may a body tagged `control:"body,optional"`. A
// struct has at most one body, as its last field.

// field is a field of parameters or of an answer.
type field struct {
	index        int
	name         string
	kind         reflect.Kind
	body, json   bool
	mayBeLeftOut bool
}

// layout returns the words of a struct and its body, if it has one.
func layout(t reflect.Type) (words []field, body *field) {
	for i := range t.NumField() {
		f := t.Field(i)
		tags := strings.Split(f.Tag.Get("control"), ",")
		out := field{
			index:        i,
			name:         strings.ToLower(f.Name),
			kind:         f.Type.Kind(),
			body:         slices.Contains(tags, "body"),
			json:         slices.Contains(tags, "json"),
			mayBeLeftOut: slices.Contains(tags, "optional"),
		}
		if out.body || out.json {
			body = &out
			continue
		}
		words = append(words, out)
	}
	return words, body
}

// required returns how many words cannot be left out.
func required(words []field) int {
	n := len(words)
	for n > 0 && words[n-1].mayBeLeftOut {
		n--
	}
	return n
}

// encode writes the fields of a struct into the words and body of a transmission.
func encode(t *transmission, from any) error {
	v := reflect.ValueOf(from)
	words, body := layout(v.Type())
	last := len(words)
	for last > required(words) && v.Field(words[last-1].index).IsZero() {
		last--
	}
	for _, f := range words[:last] {
		w, err := encodeWord(v.Field(f.index))
		if err == nil {
			err = checkWord(w)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		t.words = append(t.words, w)
	}
	if body == nil {
		return nil
	}
	value := v.Field(body.index)
	likeSize := false // the last word would be taken for the size of a body
	if last > required(words) {
		_, likeSize = parseSize(t.words[last-1])
	}
	switch {
	case body.mayBeLeftOut && value.IsZero() && !likeSize:
		return nil
	case body.body:
		t.body = append([]byte{}, value.Bytes()...)
		return nil
	default:
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		if value.Kind() == reflect.Slice && value.IsNil() {
			value = reflect.MakeSlice(value.Type(), 0, 0) // "[]" rather than "null"
		}
		err := e.Encode(value.Interface())
		t.body = bytes.TrimSuffix(out.Bytes(), []byte("\n"))
		return err
	}
}

func encodeWord(v reflect.Value) (string, error) {
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), nil
	case reflect.Bool:
		if v.Bool() {
			return "T", nil
		}
		return "F", nil
	case reflect.Slice:
		var items []string
		for i := range v.Len() {
			item := v.Index(i).String()
			if item == "" || strings.Contains(item, ",") {
				return "", fmt.Errorf("%w: an item is empty or has a comma", errSyntax)
			}
			items = append(items, item)
		}
		return strings.Join(items, ","), nil
	default:
		return "", fmt.Errorf("no word for a %s", v.Type())
	}
}

// decode reads the words and body of a transmission into the struct that to points to. Everything must fit. With strict,
// JSON must not have unknown fields: a misspelt option is an error, but an answer may come from a newer daemon.
func decode(t transmission, to any, strict bool) error {
	v := reflect.ValueOf(to).Elem()
	words, body := layout(v.Type())
	if len(t.words) > len(words) {
		return fmt.Errorf("%w: too many parameters", errSyntax)
	}
	for i, f := range words {
		if i >= len(t.words) {
			if i >= required(words) {
				break
			}
			return fmt.Errorf("%w: %s is missing", errSyntax, f.name)
		}
		if err := decodeWord(v.Field(f.index), t.words[i]); err != nil {
			return fmt.Errorf("%w: %s", err, f.name)
		}
	}
	switch {
	case body == nil && t.body == nil:
		return nil
	case body == nil:
		return fmt.Errorf("%w: a body that does not belong here", errSyntax)
	case len(t.body) == 0 && body.mayBeLeftOut:
		return nil
	case t.body == nil:
		return fmt.Errorf("%w: the body is missing: %s", errSyntax, body.name)
	case body.body:
		if len(t.body) > 0 {
			v.Field(body.index).SetBytes(t.body)
		}
		return nil
	}
	value := v.Field(body.index)
	err := decodeJSON(t.body, value.Addr().Interface(), strict)
	if value.Kind() == reflect.Slice && value.Len() == 0 {
		value.SetZero()
	}
	return err
}

func decodeJSON(b []byte, to any, strict bool) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: the body is not the JSON that it should be", errSyntax)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more behind the JSON", errSyntax)
	}
	return nil
}

// decodeWord reads a word; each value has one form.
func decodeWord(v reflect.Value, word string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(word)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(word, 10, v.Type().Bits())
		if err != nil || strconv.FormatInt(n, 10) != word {
			return fmt.Errorf("%w: not a number", errSyntax)
		}
		v.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil || strconv.FormatUint(n, 10) != word {
			return fmt.Errorf("%w: not a number", errSyntax)
		}
		v.SetUint(n)
	case reflect.Bool:
		if word != "T" && word != "F" {
			return fmt.Errorf("%w: neither T nor F", errSyntax)
		}
		v.SetBool(word == "T")
	case reflect.Slice:
		items := strings.Split(word, ",")
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		for i, item := range items {
			if item == "" {
				return fmt.Errorf("%w: an item is empty", errSyntax)
			}
			v.Index(i).SetString(item)
		}
	default:
		return fmt.Errorf("no word for a %s", v.Type())
	}
	return nil
}
