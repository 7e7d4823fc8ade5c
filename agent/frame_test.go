package agent

import (
	"bytes"
	"testing"
)

func TestGroupFramesInBodies(t *testing.T) {
	tests := []struct {
		name, body string
		frame      string
		ok         bool
	}{
		{"message of a client", "hello", "", false},
		{"empty", "", "", false},
		{"part of the prefix", groupPrefix[:16], "", false},
		{"prefix only", groupPrefix, "", true},
		{"frame", groupPrefix + "\x00\x03abc", "abc", true},
		{"cut frame", groupPrefix + "\x00\x04abc", "", true},
		{"frame of a later version", groupPrefix + "\x00\x03abcdef", "abc", true},
	}
	for _, test := range tests {
		frame, ok := groupFrame([]byte(test.body))
		if string(frame) != test.frame || ok != test.ok {
			t.Errorf("%s: %q, %v", test.name, frame, ok)
		}
	}
	if len(groupPrefix) != 17 {
		t.Error("the prefix has", len(groupPrefix), "bytes")
	}
}

func FuzzGroupFrame(f *testing.F) {
	f.Add([]byte(groupPrefix + "\x00\x03abc"))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, body []byte) {
		frame, ok := groupFrame(body)
		if !ok {
			return
		}
		again, ok := groupFrame(appendGroupFrame(frame))
		if !ok || !bytes.Equal(again, frame) {
			t.Errorf("%q came back as %q", frame, again)
		}
	})
}
