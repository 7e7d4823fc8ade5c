package conn

import (
	"testing"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/queue"
)

// TestIntegrityAsSeen repeats what a public agent was seen to report for numbers and hashes of a modified sender.
func TestIntegrityAsSeen(t *testing.T) {
	_, a, b := connectedPair(t)
	last := b.conn.sentHash // of the confirmation, number 1
	wrong := make([]byte, 32)
	for i, c := range []struct {
		number   int64
		previous string // "right", "wrong", "none"
		want     string
	}{
		{2, "right", "OK"},
		{6, "right", "ERR NO_ID 3 5"},
		{7, "right", "OK"},
		{8, "wrong", "ERR HASH"},
		{9, "right", "OK"},
		{9, "right", "ERR DUPLICATE"},
		{4, "right", "ERR ID 4"},
		{5, "right", "OK"},
		{9, "wrong", "ERR NO_ID 6 8"},
		{10, "none", "ERR HASH"},
		{11, "right", "OK"},
	} {
		previous := map[string][]byte{"right": last, "wrong": wrong}[c.previous]
		plain := b.numbered(c.number, previous, envelope.ClientMessage{Body: []byte{byte(i)}})
		hash := envelope.Hash(plain)
		last = hash[:]
		if code := a.arrival(); code != "" {
			t.Fatalf("message %d: %s", i, code)
		}
		m := mustEvent[Message](a)
		if m.Integrity.String() != c.want || m.SenderID != c.number || m.Body[0] != byte(i) {
			t.Errorf("number %d, previous %s: %v, want %s", c.number, c.previous, m.Integrity, c.want)
		}
	}
}

func TestNumbersAndHashesOfAConnection(t *testing.T) {
	w, a, b := connectedPair(t)
	confirmation := append([]byte(nil), b.conn.sentHash...)
	b.send("one")
	w.run()
	m := mustEvent[Message](a)
	if m.ID != 2 || m.SenderID != 2 {
		t.Errorf("IDs %d and %d", m.ID, m.SenderID)
	}
	want := envelope.Hash(envelope.Numbered{Number: 2, Previous: confirmation, Content: envelope.ClientMessage{Body: []byte("body one")}}.Append(nil))
	if string(b.conn.sentHash) != string(want[:]) || string(a.conn.receivedHash) != string(want[:]) {
		t.Error("hash of the message")
	}
	a.send("two") // counts with what was received
	if q := mustEvent[Queued](a); q.ID != 3 || a.conn.sentID != 2 {
		t.Errorf("ID %d, number %d", q.ID, a.conn.sentID)
	}
}

// TestVersions connects agents of all versions.
func TestVersions(t *testing.T) {
	for agent := queue.Version(2); agent <= 7; agent++ {
		for client := queue.Version(1); client <= 4; client++ {
			for e2e := uint16(2); e2e <= 3; e2e++ {
				for _, oldJoiner := range []bool{false, true} {
					w, a, b := pair(t)
					old := map[bool]*node{true: b, false: a}[oldJoiner]
					old.versions = &versions{
						queue.VersionRange{Min: 2, Max: agent}, queue.VersionRange{Min: 1, Max: client}, e2e,
					}
					connectPair(t, w, a, b)
					if a.conn.agent != agent || b.conn.agent != agent || a.conn.ratchet.Version() != e2e ||
						a.conn.receive[0].client != client || b.conn.receive[0].client != client {
						t.Errorf("agent %d, client %d, encryption %d: got %d and %d, %d and %d, %d", agent, client, e2e,
							a.conn.agent, b.conn.agent, a.conn.receive[0].client, b.conn.receive[0].client, a.conn.ratchet.Version())
					}
					if want := agent == 7 && client >= 3; mustEvent[Joined](b).SendReady != want {
						t.Errorf("agent %d, client %d: ready to send: %v", agent, client, !want)
					}
					a.receipt, b.receipt = true, true
					a.send("one")
					b.send("two")
					w.run()
					checkMessages(t, a, b, []string{"one"})
					checkMessages(t, b, a, []string{"two"})
					if got := len(all[Receipts](a)) > 0; got != (agent >= 4) {
						t.Errorf("agent %d: receipts %v", agent, got)
					}
				}
			}
		}
	}
}

func TestIncompatibleLinks(t *testing.T) {
	w, a, b := pair(t)
	a.create(link.Invitation)
	w.run()
	good := mustEvent[LinkReady](a).Link
	for name, change := range map[string]func(*link.Request){
		"agent version 1":        func(l *link.Request) { l.Agent = queue.VersionRange{Min: 1, Max: 1} },
		"agent version 8":        func(l *link.Request) { l.Agent = queue.VersionRange{Min: 8, Max: 9} },
		"client version 5":       func(l *link.Request) { l.Queues[0].Client = queue.VersionRange{Min: 5, Max: 5} },
		"encryption version 4":   func(l *link.Request) { l.Keys.Versions.Min, l.Keys.Versions.Max = 4, 5 },
		"encryption version 1":   func(l *link.Request) { l.Keys.Versions.Min, l.Keys.Versions.Max = 1, 1 },
		"contact, agent version": func(l *link.Request) { l.Kind, l.Agent = link.Contact, queue.VersionRange{Min: 8, Max: 8} },
	} {
		l := good
		l.Queues = append([]link.Queue(nil), good.Queues...)
		change(&l)
		err := b.join(l, "info")
		if e, ok := err.(*Error); !ok || e.Code != CodeVersion {
			t.Errorf("%s: %v", name, err)
		}
		if b.tx.Len() != 0 {
			t.Errorf("%s: refused Join has stored something", name)
		}
	}
}

// TestVersionFollowsThePeer raises the version of a connection as messages announce it.
func TestVersionFollowsThePeer(t *testing.T) {
	w, a, b := pair(t)
	old := &versions{queue.VersionRange{Min: 2, Max: 3}, supported.client, supported.ratchet}
	b.versions = old
	connectPair(t, w, a, b)
	if a.conn.agent != 3 {
		t.Fatalf("version %d", a.conn.agent)
	}
	for _, c := range []struct{ announced, want queue.Version }{{5, 5}, {4, 5}, {1, 5}, {0, 5}, {9, 7}, {2, 7}} {
		plain := envelope.Numbered{Number: 2, Content: envelope.ClientMessage{}}.Append(nil)
		b.put(&envelope.Message{Agent: c.announced, Sealed: b.seal(plain, envelope.RatchetMessage)}, envelope.PrivateHeader{}, false, 4)
		a.arrival()
		if a.conn.agent != c.want {
			t.Errorf("after %d: %d", c.announced, a.conn.agent)
		}
	}
	if len(all[Failure](a)) != 0 {
		t.Errorf("events:%s", a.history())
	}
	// An upgraded program announces its own maximum.
	b.versions = nil
	b.conn.ratchet.Save(b.tx, []byte{recordRatchet})
	a.send("answer")
	w.run()
	if b.conn.agent != 7 {
		t.Errorf("version %d at the other end", b.conn.agent)
	}
}
