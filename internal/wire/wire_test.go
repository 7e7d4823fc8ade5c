package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestReaderKeepsFirstError(t *testing.T) {
	r := NewReader([]byte{2, 'a'})
	if got := r.Str8(); got != nil {
		t.Fatalf("read %q from a string that ends early", got)
	}
	if r.U8() != 0 || r.Bool() || r.Opt() || r.Rest() != nil {
		t.Fatal("values after an error")
	}
	if !errors.Is(r.Done(), ErrSyntax) {
		t.Fatalf("error %v", r.Done())
	}
}

func TestDoneRefusesLeftOver(t *testing.T) {
	r := NewReader([]byte{1, 'a', 'b'})
	if string(r.Str8()) != "a" || r.Err() != nil {
		t.Fatal("did not read")
	}
	if !errors.Is(r.Done(), ErrSyntax) {
		t.Fatal("took a left-over byte")
	}
}

func TestPadding(t *testing.T) {
	got, err := AppendPadded(nil, []byte("ab"), 6)
	if err != nil || string(got) != "\x00\x02ab##" {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := AppendPadded(nil, []byte("abcde"), 6); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("error %v", err)
	}
	if got, err := Unpad([]byte("\x00\x02abxx")); err != nil || string(got) != "ab" {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := Unpad([]byte("\x00\x05ab")); !errors.Is(err, ErrSyntax) {
		t.Fatalf("error %v", err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x00\x01\x02T1\x03abc\x00\x02zz12345678"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(in)
		a, b, s, o := r.U16(), r.U8(), r.Bool(), r.Opt()
		s8, s16, i := r.Str8(), r.Str16(), r.I64()
		if r.Err() != nil {
			return
		}
		out := append(AppendU16(nil, a), b)
		out = AppendBool(out, s)
		if o {
			out = AppendPresent(out)
		} else {
			out = AppendAbsent(out)
		}
		out = AppendI64(AppendStr16(AppendStr8(out, s8), s16), i)
		if out = append(out, r.Rest()...); !bytes.Equal(out, in) {
			t.Fatalf("%x became %x", in, out)
		}
	})
}
