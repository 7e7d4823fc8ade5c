package link

import (
	"bytes"
	"testing"

	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Every fuzz target decodes, encodes what it got, decodes that and encodes again: the encodings must be equal.

func FuzzParse(f *testing.F) {
	var file struct {
		Full     []requestVector `json:"full_links"`
		Variants []requestVector `json:"input_variants"`
	}
	load(f, "links.json", &file)
	for _, v := range append(file.Full, file.Variants...) {
		f.Add(v.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text)
		if err != nil {
			return
		}
		canonical := q.Text()
		if len(canonical) > MaxText {
			return // escaped, it may be longer than it was
		}
		back, err := Parse(canonical)
		if err != nil || back.Text() != canonical || !bytes.Equal(back.Binary(), q.Binary()) {
			t.Fatalf("%v\n%q reads as\n%q and that as\n%q", err, text, canonical, back.Text())
		}
	})
}

func FuzzParseQueue(f *testing.F) {
	var file struct {
		Addresses []struct{ Text string } `json:"queue_addresses"`
	}
	load(f, "links.json", &file)
	for _, v := range file.Addresses {
		f.Add(v.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := ParseQueue(text)
		if err != nil {
			return
		}
		back, err := ParseQueue(q.Text())
		if err != nil || back.Text() != q.Text() || !back.Same(q.Address) {
			t.Fatalf("%v\n%q reads as\n%q", err, text, q.Text())
		}
	})
}

func FuzzParseShort(f *testing.F) {
	var file struct {
		Short []shortVector `json:"short_links"`
	}
	load(f, "links.json", &file)
	for _, v := range file.Short {
		f.Add(v.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseShort(text)
		if err != nil {
			return
		}
		back, err := ParseShort(s.Text())
		if err != nil || back.Text() != s.Text() || !bytes.Equal(back.Append(nil), s.Append(nil)) {
			t.Fatalf("%v\n%q reads as\n%q", err, text, s.Text())
		}
	})
}

func FuzzParseBinary(f *testing.F) {
	e := loadExample(f)
	f.Add([]byte(e.InvitationBinary))
	f.Add([]byte(e.ContactBinary))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseBinary(b)
		if err != nil || !distinctSuffixes(q.Queues) {
			return
		}
		again := q.Binary()
		back, err := ParseBinary(again)
		if err != nil || !bytes.Equal(back.Binary(), again) {
			t.Fatalf("%v\n%x, then\n%x", err, again, back.Binary())
		}
	})
}

// distinctSuffixes tells whether no queue starts with a version so high that its first byte looks like the mode of the
// queue before it. No such versions exist.
func distinctSuffixes(queues []Queue) bool {
	for _, q := range queues {
		if q.Client.Min > 0xff {
			return false
		}
	}
	return true
}

func FuzzReadQueue(f *testing.F) {
	f.Add([]byte(loadExample(f).QueueBinary))
	f.Fuzz(func(t *testing.T, b []byte) {
		stable(t, b, ReadQueue, Queue.Append)
	})
}

func FuzzReadInfo(f *testing.F) {
	e := loadExample(f)
	for _, b := range []hexBytes{e.Info1, e.Info3, e.Info4} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		stable(t, b, ReadInfo, Info.Append)
	})
}

func FuzzReadAddress(f *testing.F) {
	f.Add(Address{Server: queue.Server{Hosts: []string{"a.example"}, Port: "443"}, SenderID: "id"}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		a := ReadAddress(r)
		if r.Done() == nil && !bytes.Equal(a.Append(nil), b) {
			t.Fatalf("%x, then %x", b, a.Append(nil))
		}
	})
}

func FuzzReadShort(f *testing.F) {
	var file struct {
		Short []shortVector `json:"short_links"`
	}
	load(f, "links.json", &file)
	for _, v := range file.Short {
		f.Add([]byte(v.Binary))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		stable(t, b, ReadShort, Short.Append)
	})
}

func FuzzLinkData(f *testing.F) {
	var file struct{ Cases []dataVector }
	load(f, "short-link-data.json", &file)
	for _, v := range file.Cases {
		f.Add([]byte(v.FixedData))
		f.Add([]byte(v.UserPart))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if fixed, err := ParseFixed(b); err == nil && distinctSuffixes(fixed.Request.Queues) {
			again := fixed.Append(nil)
			if back, err := ParseFixed(again); err != nil || !bytes.Equal(back.Append(nil), again) {
				t.Fatalf("fixed part: %v\n%x", err, again)
			}
		}
		if user, err := ParseUser(b); err == nil {
			again := user.Append(nil)
			if back, err := ParseUser(again); err != nil || !bytes.Equal(back.Append(nil), again) {
				t.Fatalf("user part: %v\n%x", err, again)
			}
		}
	})
}

// stable checks one decoder that reads all of b.
func stable[T any](t *testing.T, b []byte, read func(*wire.Reader) T, write func(T, []byte) []byte) {
	t.Helper()
	r := wire.NewReader(b)
	first := read(r)
	if r.Done() != nil {
		return
	}
	again := write(first, nil)
	r = wire.NewReader(again)
	second := read(r)
	if err := r.Done(); err != nil || !bytes.Equal(write(second, nil), again) {
		t.Fatalf("%v\n%x, then\n%x", err, again, write(second, nil))
	}
}
