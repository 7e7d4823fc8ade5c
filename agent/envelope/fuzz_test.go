package envelope

import (
	"bytes"
	"testing"

	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/wire"
)

func FuzzParseClient(f *testing.F) {
	f.Add(Client{Version: 4, Box: []byte("box")}.Append(nil))
	f.Add(Client{Version: 1, Key: x25519(f, consecutive(9, 32))}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseClient(b); err == nil && !bytes.Equal(c.Append(nil), b) {
			t.Fatalf("%x is written again as %x", b, c.Append(nil))
		}
	})
}

func FuzzReadPrivateHeader(f *testing.F) {
	f.Add([]byte("_"))
	f.Add(PrivateHeader{SenderKey: x25519(f, consecutive(9, 32))}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		if h := ReadPrivateHeader(r); r.Done() == nil && !bytes.Equal(h.Append(nil), b) {
			t.Fatalf("%x is written again as %x", b, h.Append(nil))
		}
	})
}

func FuzzParse(f *testing.F) {
	e := loadExample(f)
	params := string(e.Params)
	for _, s := range []string{"\x00\x07C0sealed", "\x00\x07C1" + params + "sealed", "\x00\x07Msealed", "\x00\x07I\x00\x04linkinfo", "\x00\x07R" + params + "R"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := Parse(b); err == nil && !bytes.Equal(e.Append(nil), b) {
			t.Fatalf("%x is written again as %x", b, e.Append(nil))
		}
	})
}

func FuzzParsePlaintext(f *testing.F) {
	e := loadExample(f)
	for _, b := range []hexBytes{e.Confirmation, e.Message, e.Hello, e.Receipt} {
		f.Add([]byte(b))
	}
	reply := replyQueue(f, e)
	sender := SenderKey{Queue: reply.At(4), Key: reply.DH}
	for _, c := range []Content{
		Continue{reply.Address}, AddQueue{{reply, &reply.Address}}, AddQueue{{Queue: reply}}, QueueKey{sender},
		UseQueue{{reply.Address, true}}, TestQueue{reply.Address}, Ready{7},
	} {
		f.Add(Numbered{2, e.MessageHash, c}.Append(nil))
	}
	f.Add(InitiatorInfo{[]byte("info")}.Append(nil))
	f.Add(RatchetInfo{}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePlaintext(b)
		if err != nil || ambiguous(p) {
			return
		}
		again := p.Append(nil)
		back, err := ParsePlaintext(again)
		if err != nil || !bytes.Equal(back.Append(nil), again) {
			t.Fatalf("%v\n%x, then\n%x", err, again, back.Append(nil))
		}
		if !hasQueues(p) && !bytes.Equal(again, b) {
			t.Fatalf("%x is written again as %x", b, again)
		}
	})
}

// ambiguous tells whether there is a queue address whose missing mode could be taken from the bytes behind it: below
// client version 4 nothing marks the end.
func ambiguous(p Plaintext) bool {
	switch p := p.(type) {
	case JoinerInfo:
		for _, q := range p.Queues {
			if q.Version < link.ClientQueueMode || q.Version > 0xff {
				return true
			}
		}
	case Numbered:
		if added, ok := p.Content.(AddQueue); ok {
			for _, q := range added {
				if q.Queue.Client.Min > 0xff {
					return true
				}
			}
		}
	}
	return false
}

// hasQueues tells whether there are addresses whose mode has more than one spelling.
func hasQueues(p Plaintext) bool {
	switch p := p.(type) {
	case JoinerInfo:
		return true
	case Numbered:
		switch p.Content.(type) {
		case AddQueue, QueueKey:
			return true
		}
	}
	return false
}
