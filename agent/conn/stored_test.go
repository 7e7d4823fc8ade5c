package conn

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/kv"
)

var update = flag.Bool("update", false, "write the stored records of the current format again")

// storedConnections are connections in states that together have records of every kind and every optional field. Records
// of the ratchet are left out: its package keeps its own format.
func storedConnections(t testing.TB) map[string]*kv.Memory {
	found := map[string]*kv.Memory{}
	keep := func(name string, n *node) {
		m := &kv.Memory{}
		n.tx.Scan(nil, nil, func(k, v []byte) bool {
			if k[0] != recordRatchet {
				m.Put(k, v)
			}
			return true
		})
		found[name] = m
	}
	w, a, b := pair(t)
	a.relay.modes = false
	a.allow = nil
	a.create(link.Invitation)
	keep("initiator without a queue", a)
	w.run()
	keep("initiator", a)
	if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
		t.Fatal(err)
	}
	keep("joiner without a queue", b)
	w.run()
	keep("confirmed initiator", a)
	a.must(Allow{mustEvent[Confirmation](a).ID, []byte("alice's info")})
	keep("allowing initiator", a)
	w.run()
	w.fails(a, Quota, CodeQuota)
	a.acks = false
	for _, ref := range []string{"one", "two"} {
		a.send(ref)
		b.send(ref)
	}
	w.run()
	keep("connected", a)
	b.inject(envelope.Receipts{{Number: 2, Hash: make([]byte, 32), Info: []byte("info")}})
	a.must(AckMessage{ID: mustEvent[Message](a).ID})
	w.run()
	keep("connected, with a receipt", a)
	s := a.conn.begin(a.env())
	for i := range hashListSize {
		s.rememberHash([32]byte{byte(i)})
	}
	s.owe(77, envelope.Receipt{Number: 3, Hash: make([]byte, 32), Info: []byte("later")})
	s.resynced(ResyncRequired, nil)
	s.drained(&s.receive[0])
	s.delete(true)
	s.save()
	keep("deleting", a)

	w, a, b = pair(t)
	c, effects := Create(a.env(), "a", CreateOptions{Kind: link.Contact, ClientData: []byte("{}")})
	a.conn = c
	a.take(effects)
	w.run()
	w.refuse(b, opPost, Temporary, "BROKER NETWORK")
	if err := b.join(mustEvent[LinkReady](a).Link, "bob asks"); err != nil {
		t.Fatal(err)
	}
	w.run()
	keep("requester", b)
	w.answer = nil
	w.settle(time.Hour)
	keep("contact address", a)

	w, a, b = connectedPair(t)
	a.must(Resynchronise{Force: true})
	keep("re-synchronising", a)
	for a.conn.send[0].queued > 0 { // until the peer has the keys
		w.tickle()
	}
	for b.conn.resync != ResyncAgreed {
		w.tickle()
	}
	keep("re-synchronised", b)

	w, a, b = movingPair(t)
	a.acks = false
	a.must(SwitchQueue{})
	for a.conn.nextReceive() == nil || a.conn.nextReceive().stage != switchKeyed {
		w.tickle()
	}
	keep("following a switch", b)
	b.send("first")
	b.send("second")
	w.run()
	keep("switching", a)
	w, a, b = movingPair(t)
	w.down(a.other, b)
	a.must(SwitchQueue{})
	w.run()
	b.send("first")
	w.run()
	keep("following, with a message for two queues", b)
	return found
}

// storedFile has records as the current format stores them.
const storedFile = "testdata/stored-5.json"

// eachStored calls do for every record in a file.
func eachStored(t *testing.T, file string, do func(connection string, kind byte, value []byte)) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var stored map[string]map[string]string
	if err := json.Unmarshal(b, &stored); err != nil {
		t.Fatal(err)
	}
	for name, records := range stored {
		for k, v := range records {
			key, err := hex.DecodeString(k)
			if err != nil {
				t.Fatal(err)
			}
			value, err := hex.DecodeString(v)
			if err != nil {
				t.Fatal(err)
			}
			do(name, key[0], value)
		}
	}
}

// TestStoredFormat checks that stored records are read and written the same way.
func TestStoredFormat(t *testing.T) {
	if *update {
		out := map[string]map[string]string{}
		for name, m := range storedConnections(t) {
			out[name] = map[string]string{}
			m.Scan(nil, nil, func(k, v []byte) bool {
				out[name][hex.EncodeToString(k)] = hex.EncodeToString(v)
				return true
			})
		}
		b, err := json.MarshalIndent(out, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(storedFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kinds := map[byte]bool{}
	eachStored(t, storedFile, func(name string, kind byte, value []byte) {
		kinds[kind] = true
		if again, err := recode(kind, value); err != nil || !bytes.Equal(again, value) {
			t.Errorf("%s: record %c: %v", name, kind, err)
		}
	})
	if len(kinds) != 11 {
		t.Errorf("%d kinds of records", len(kinds))
	}
}

// TestOlderFormats checks that records of earlier formats are read, and written as the current one without loss.
func TestOlderFormats(t *testing.T) {
	for format := 1; format < stateFormat; format++ {
		states := 0
		eachStored(t, fmt.Sprintf("testdata/stored-%d.json", format), func(name string, kind byte, value []byte) {
			if kind != recordState {
				again, err := recode(kind, value)
				if kind == recordOutbox && err == nil && value[0] == 1 { // ended before told
					value = append(append([]byte{outgoingFormat}, value[1:]...), 'F')
				}
				if err != nil || !bytes.Equal(again, value) {
					t.Errorf("%s: record %c: %v", name, kind, err)
				}
				return
			}
			states++
			if got := binary.BigEndian.Uint16(value); int(got) != format {
				t.Errorf("%s: format %d in the file of format %d", name, got, format)
			}
			s, err := decodeState(value)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			again, err := decodeState(s.append(nil))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if again.progress, err = decodeProgress(s.progress.append(nil)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i := range again.send { // counted when it is loaded
				again.send[i].queued = s.send[i].queued
			}
			if !reflect.DeepEqual(again, s) {
				t.Errorf("%s: something is lost", name)
			}
		})
		if states == 0 {
			t.Errorf("no states of format %d", format)
		}
	}
}

// recode decodes a record and encodes it again.
func recode(kind byte, value []byte) ([]byte, error) {
	switch kind {
	case recordState:
		s, err := decodeState(value)
		if err != nil {
			return nil, err
		}
		return s.append(nil), nil
	case recordProgress:
		p, err := decodeProgress(value)
		if err != nil {
			return nil, err
		}
		return p.append(nil), nil
	case recordOutbox:
		m, err := decodeOutgoing(value)
		if err != nil {
			return nil, err
		}
		return m.append(nil), nil
	case recordReceived:
		m, err := decodeIncoming(value)
		if err != nil {
			return nil, err
		}
		return m.append(nil), nil
	case recordSent:
		m, err := decodeSent(value)
		if err != nil {
			return nil, err
		}
		return m.append(nil), nil
	case recordOwed:
		m, err := decodeOwed(value)
		if err != nil {
			return nil, err
		}
		return appendOwed(nil, m), nil
	case recordRequest:
		m, err := decodeRequest(value)
		if err != nil {
			return nil, err
		}
		return m.append(nil), nil
	case recordParked:
		p, err := decodeParked(value)
		if err != nil {
			return nil, err
		}
		return p.append(nil), nil
	case recordHashList:
		l, err := decodeHashList(value)
		if err != nil {
			return nil, err
		}
		return l.append(nil), nil
	default: // hashes
		return value, nil
	}
}

// FuzzRecords feeds every decoder of records: what decodes is written the same way again.
func FuzzRecords(f *testing.F) {
	for _, m := range storedConnections(f) {
		m.Scan(nil, nil, func(k, v []byte) bool {
			f.Add(k[0], v)
			return true
		})
	}
	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		again, err := recode(kind, value)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if kind == recordState && binary.BigEndian.Uint16(value) < stateFormat || kind == recordOutbox && value[0] < outgoingFormat {
			value, err = recode(kind, again)
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, value) {
			t.Fatalf("record %c is written differently", kind)
		}
	})
}

// FuzzReceived feeds what a peer can put in a queue, at every layer, to a connection: it is acknowledged, and the
// connection goes on.
func FuzzReceived(f *testing.F) {
	f.Add(byte(0), []byte("\x00\x04"))
	f.Add(byte(1), []byte("\x00\x07M"))
	f.Add(byte(2), []byte("M\x00\x00\x00\x00\x00\x00\x00\x02\x00MH"))
	f.Add(byte(2), envelope.Numbered{Number: 1 << 62, Content: envelope.Receipts{{Number: -1, Hash: []byte("x")}}}.Append(nil))
	keys, err := ratchet.GenerateKeys(rand.NewChaCha8([32]byte{1}), nil)
	if err != nil {
		f.Fatal(err)
	}
	p := keys.Params(ratchet.VersionRange{Min: 3, Max: 3})
	f.Add(byte(1), (&envelope.RatchetKey{Agent: 7, Keys: p, Info: []byte("R")}).Append(nil))
	f.Fuzz(func(t *testing.T, layer byte, content []byte) {
		if len(content) > 15000 {
			return
		}
		w, a, b := pair(t)
		if layer&0x80 != 0 {
			a.create(link.Invitation)
			w.run()
			if err := b.join(mustEvent[LinkReady](a).Link, "bob's info"); err != nil {
				t.Fatal(err)
			}
			b.todo = nil
		} else {
			connectPair(t, w, a, b)
		}
		a.acks = false
		switch layer & 3 {
		case 0:
			b.putBody(content)
		case 1:
			c := envelope.Client{Version: 4}
			randomBytes(b.rand, c.Nonce[:])
			if layer&4 != 0 {
				c.Key = b.conn.send[0].dh
			}
			body, err := c.Seal(&b.conn.send[0].secret, envelope.PrivateHeader{}, content)
			if err != nil {
				t.Fatal(err)
			}
			b.putBody(body)
		case 2:
			b.message(content)
		default:
			b.put(&envelope.Confirmation{Agent: 7, Keys: b.paramsOrNil(), Sealed: b.seal(content, 15000)}, envelope.PrivateHeader{}, true, 4)
		}
		w.run()
		if len(w.relays[0].queues[0].messages) != 0 && a.conn.unacked == 0 {
			t.Fatal("not acknowledged")
		}
	})
}

// paramsOrNil is the joiner's parameters as long as its confirmation is not queued.
func (n *node) paramsOrNil() *ratchet.Params {
	if len(n.conn.params) == 0 {
		return nil
	}
	return n.params()
}
