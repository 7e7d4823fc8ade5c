package conn

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
)

func TestDamagedRecords(t *testing.T) {
	w, a, _ := connectedPair(t)
	w.fails(a, Temporary, "BROKER NETWORK")
	a.send("message")
	for name, prefix := range map[string]byte{"state": recordState, "ratchet": recordRatchet} {
		tx := a.tx.Clone()
		tx.Scan([]byte{prefix}, nil, func(k, v []byte) bool {
			tx.Put(k, v[:len(v)-1])
			return false
		})
		if _, err := Load("x", tx); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.tx.Scan([]byte{recordOutbox}, nil, func(k, v []byte) bool {
		a.tx.Put(k, append([]byte{99}, v...))
		return false
	})
	a.restart()
	if f := mustEvent[Failure](a); f.Err.Code != CodeInternal || f.Err.Kind != Over || a.conn.phase != failed {
		t.Errorf("%v", f.Err)
	}
}

// TestWhatMayComeToTheJoiner is about what the initiator must not answer.
func TestWhatMayComeToTheJoiner(t *testing.T) {
	none := envelope.PrivateHeader{}
	initiatorInfo := envelope.InitiatorInfo{Info: []byte("crafted")}
	for _, c := range []struct {
		name string
		put  func(a *node)
		want Code
	}{
		{"confirmation with parameters", func(a *node) {
			k := a.conn.begin(a.env()).newKeys()
			p := k.Params(a.env().ratchetRange()).At(3)
			a.put(a.confirmation(initiatorInfo, &p, 7), none, true, 4)
		}, CodePeerProhibited},
		{"confirmation with the joiner's content", func(a *node) {
			a.put(a.confirmation(a.joinerInfo(), nil, 7), none, true, 4)
		}, CodePeerProhibited},
		{"confirmation without content", func(a *node) {
			a.put(&envelope.Confirmation{Agent: 7, Sealed: a.seal(nil, envelope.RatchetConfirmation)}, none, true, 4)
		}, CodeMessage},
		{"confirmation that was changed", func(a *node) {
			e := a.confirmation(initiatorInfo, nil, 7)
			e.Sealed[len(e.Sealed)-1] ^= 1
			a.put(e, none, true, 4)
		}, CodeDecryptAES},
		{"confirmation of agent version 8", func(a *node) {
			a.put(a.confirmation(initiatorInfo, nil, 8), none, true, 4)
		}, CodeVersion},
		{"message", func(a *node) { a.message([]byte("M")) }, CodePeerProhibited},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, a, b := joiningPair(t, func(a, b *node) {})
			w.run()
			s := a.conn.begin(a.env())
			if err := s.addSendQueue(a.conn.confirmation.reply); err != nil {
				t.Fatal(err)
			}
			c.put(a)
			if got := b.arrival(); got != c.want {
				t.Errorf("code %q, want %q", got, c.want)
			}
			if b.conn.phase != joined || len(all[Info](b)) != 0 || b.conn.resync != ResyncOK {
				t.Errorf("phase %d, events:%s", b.conn.phase, b.history())
			}
			a.conn.send = nil
			a.conn.ratchet.Save(a.tx, []byte{recordRatchet})
			a.must(Allow{mustEvent[Confirmation](a).ID, []byte("alice's info")})
			w.run()
			checkConnected(t, a, b)
		})
	}
}

func TestRefusedReceiptIsReported(t *testing.T) {
	w, a, b := connectedPair(t)
	b.receipt = true
	w.fails(b, Auth, CodeAuth)
	a.send("message")
	w.run()
	if f := mustEvent[Failure](b); f.Err.Code != CodeAuth || b.conn.send[0].queued != 0 {
		t.Errorf("%v", f.Err)
	}
}

func TestRefusedAcknowledgement(t *testing.T) {
	w, a, b := connectedPair(t)
	w.refuse(b, opAck, Temporary, "BROKER NETWORK")
	a.send("message")
	w.run()
	if got := b.conn.NextWake().Sub(w.now); got != 2*time.Second {
		t.Errorf("repeated after %v", got)
	}
	w.refuse(b, opAck, Auth, CodeAuth)
	w.settle(time.Hour)
	if f := mustEvent[Failure](b); f.Err.Code != CodeAuth || len(all[Failure](b)) != 1 {
		t.Errorf("%v", f.Err)
	}
}

func TestRefusedSubscription(t *testing.T) {
	w, a, _ := connectedPair(t)
	w.refuse(a, opSubscribe, Temporary, "BROKER NETWORK")
	a.restart()
	w.settle(time.Hour)
	if len(all[Failure](a)) != 0 {
		t.Errorf("events:%s", a.history())
	}
	w.refuse(a, opSubscribe, Auth, CodeAuth)
	a.restart()
	w.settle(time.Hour)
	if f := mustEvent[Failure](a); f.Err.Code != CodeAuth {
		t.Errorf("%v", f.Err)
	}
}

func TestQueueThatCannotBeMadeAfterDelete(t *testing.T) {
	w, a, _ := pair(t)
	w.refuse(a, opNew, Temporary, "BROKER NETWORK")
	a.create(link.Invitation)
	a.must(Delete{})
	if a.conn.gone {
		t.Fatal("gone with NEW under way")
	}
	w.run()
	mustEvent[Deleted](a)
}

func TestErrors(t *testing.T) {
	e := &Error{Code: CodeSkipped, Kind: PeerFault, Count: 3, Detail: "too many"}
	if got := e.Error(); got != "AGENT A_CRYPTO RATCHET_SKIPPED 3: too many" {
		t.Errorf("%q", got)
	}
	if !errors.Is(e, &Error{Code: CodeSkipped}) || errors.Is(e, &Error{Code: CodeEarlier}) || errors.Is(e, ErrNotFound) {
		t.Error("comparison by code")
	}
	w, a, _ := pair(t)
	if id := NewID(a.rand); len(id) != 16 || strings.ContainsAny(string(id), "+/=") {
		t.Errorf("ID %q", id)
	}
	if _, ok := newConn("x").SecurityCode(); ok || newConn("x").ID() != "x" || len(w.nodes) != 2 {
		t.Error("new connection has a security code")
	}
	if ResyncRequired.String() != "required" {
		t.Error(ResyncRequired.String())
	}
}
