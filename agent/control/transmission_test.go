package control

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func TestTransmissionsAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want transmission
	}{
		"words":                    {"1\r\n\r\nDEL T\r\n", transmission{corrID: "1", name: "DEL", words: []string{"T"}}},
		"entity":                   {"a b\r\nC:x\r\nSTAT\r\n", transmission{corrID: "a b", entity: "C:x", name: "STAT"}},
		"text":                     {"1\r\n\r\nSEND F :hello : there \r\n", transmission{corrID: "1", name: "SEND", words: []string{"F"}, body: []byte("hello : there "), text: true}},
		"empty text":               {"1\r\n\r\nSEND F :\r\n", transmission{corrID: "1", name: "SEND", words: []string{"F"}, body: []byte{}, text: true}},
		"size":                     {"1\r\n\r\nSEND F 9\na\r\nb\nc\r\n:\r\n", transmission{corrID: "1", name: "SEND", words: []string{"F"}, body: []byte("a\r\nb\nc\r\n:")}},
		"size of nothing":          {"1\r\n\r\nSEND F 0\n\r\n", transmission{corrID: "1", name: "SEND", words: []string{"F"}, body: []byte{}}},
		"body ends with LF":        {"1\r\n\r\nSEND F 1\nx\n", transmission{corrID: "1", name: "SEND", words: []string{"F"}, body: []byte("x")}},
		"lines end with LF":        {"1\nC:x\nSEND F :hello\n", transmission{corrID: "1", entity: "C:x", name: "SEND", words: []string{"F"}, body: []byte("hello"), text: true}},
		"number in a line with LF": {"1\nC:x\nACK 5\n", transmission{corrID: "1", entity: "C:x", name: "ACK", words: []string{"5"}}},
		"number":                   {"1\r\nC:x\r\nACK 5\r\n", transmission{corrID: "1", entity: "C:x", name: "ACK", words: []string{"5"}}},
		"unknown with body":        {"1\r\n\r\nWHATEVER x 5\n12345\r\n", transmission{corrID: "1", name: "WHATEVER", words: []string{"x"}, body: []byte("12345")}},
		"unicode":                  {"1\r\n\r\nGSET цвет :синий\r\n", transmission{corrID: "1", name: "GSET", words: []string{"цвет"}, body: []byte("синий"), text: true}},
		"event":                    {"\r\nC:x\r\nCON 3 2\n{}\r\n", transmission{entity: "C:x", name: "CON", words: []string{"3"}, body: []byte("{}")}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want.words == nil {
				c.want.words = []string{}
			}
			r := newReader(iotest.OneByteReader(strings.NewReader(c.in+c.in)), maxBody)
			for range 2 {
				if got, err := r.read(); err != nil || !reflect.DeepEqual(got, c.want) {
					t.Errorf("got %+v, %v", got, err)
				}
			}
			if _, err := r.read(); !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// What is malformed is told, and the transmission behind it is read as if nothing had happened.
func TestBadInputLeavesTheReaderInStep(t *testing.T) {
	for name, c := range map[string]struct {
		in  string
		err error
	}{
		"no command":     {"1\r\nC:x\r\n\r\n", errSyntax},
		"two spaces":     {"1\r\nC:x\r\nDEL  T\r\n", errSyntax},
		"space at end":   {"1\r\nC:x\r\nDEL \r\n", errSyntax},
		"only text":      {"1\r\nC:x\r\n :text\r\n", errSyntax},
		"control":        {"1\r\nC:x\r\nDEL \x1b\r\n", errSyntax},
		"no UTF-8":       {"1\r\nC:x\r\nDEL \xff\r\n", errSyntax},
		"bad with body":  {"1\r\nC:x\r\nDEL  T 3\nabc\r\n", errSyntax},
		"body too large": {"1\r\nC:x\r\nSEND F 11\n12345678901\r\n", errTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReader(strings.NewReader(c.in+"2\r\n\r\nPING\r\n"), 10)
			if got, err := r.read(); !errors.Is(err, c.err) || errors.Is(err, errOutOfStep) || got.corrID != "1" || got.entity != "C:x" {
				t.Errorf("got %+v, %v", got, err)
			}
			if got, err := r.read(); err != nil || got.corrID != "2" || got.name != "PING" {
				t.Errorf("behind it: %+v, %v", got, err)
			}
		})
	}
}

func TestInputThatCannotBeFollowedIsTheEnd(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, c := range map[string]struct {
		in  string
		err error
	}{
		"long correlation ID":  {long + "\r\n", errOutOfStep},
		"long entity":          {"1\r\n" + long + "\r\n", errOutOfStep},
		"long command":         {"1\r\n\r\n" + long + "\r\n", errOutOfStep},
		"no size":              {"1\r\n\r\nSEND F\nhello\r\n", errOutOfStep},
		"size only":            {"1\r\n\r\n5\nhello\r\n", errOutOfStep},
		"size with a sign":     {"1\r\n\r\nSEND F +5\nhello\r\n", errOutOfStep},
		"size with zeros":      {"1\r\n\r\nSEND F 05\nhello\r\n", errOutOfStep},
		"negative size":        {"1\r\n\r\nSEND F -1\nhello\r\n", errOutOfStep},
		"size of 64 bits":      {"1\r\n\r\nSEND F 18446744073709551615\nhello\r\n", errOutOfStep},
		"size too small":       {"1\r\n\r\nSEND F 4\nhello\r\n", errOutOfStep},
		"large size too small": {"1\r\n\r\nSEND F 70000\n" + long + long + "\r\n", errOutOfStep},
		"ends in a line":       {"1\r\n\r\nPI", io.ErrUnexpectedEOF},
		"ends behind a line":   {"1\r\n", io.ErrUnexpectedEOF},
		"ends in the body":     {"1\r\n\r\nSEND F 5\nhell", io.ErrUnexpectedEOF},
		"ends in a large body": {"1\r\n\r\nSEND F 70000\nhell", io.ErrUnexpectedEOF},
		"ends behind the body": {"1\r\n\r\nSEND F 5\nhello", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := newReader(strings.NewReader(c.in), maxBody).read(); !errors.Is(err, c.err) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// FuzzReader reads anything: no transmission is larger than the limits, each is read again as it was written, and the
// reader comes to an end.
func FuzzReader(f *testing.F) {
	for _, c := range commands {
		f.Add(seedOf(c))
		f.Add(append(seedOf(c), "2\n\nPING\n"...))
	}
	f.Add([]byte("1\r\n\r\nSEND F 70000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const largest = 1000
		r := newReader(bytes.NewReader(data), largest)
		for n := 0; ; n++ {
			if n > len(data) {
				t.Fatal("no end")
			}
			got, err := r.read()
			switch {
			case errors.Is(err, errOutOfStep):
				return
			case errors.Is(err, errSyntax), errors.Is(err, errTooLarge):
				continue
			case err != nil:
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Fatal(err)
				}
				return
			}
			if len(got.body) > largest && !got.text || got.name == "" {
				t.Fatalf("%q is accepted", data)
			}
			again, err := newReader(bytes.NewReader(got.append(nil)), largest).read()
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Fatalf("%+v is %+v, %v when read again", got, again, err)
			}
		}
	})
}
