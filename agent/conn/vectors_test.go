package conn

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

type bodyBytes []byte

func (b *bodyBytes) UnmarshalText(text []byte) (err error) {
	*b, err = base64.URLEncoding.DecodeString(string(text))
	return err
}

type recordedQueue struct {
	RecipientPrivate hexBytes `json:"recipient_private"`
	RecipientPublic  hexBytes `json:"recipient_public"`
	SenderPrivate    hexBytes `json:"sender_private"`
	Secret           hexBytes `json:"secret"`
}

type recordedBody struct {
	By, Name      string
	Plaintext     hexBytes
	Body          bodyBytes
	ReceiverKey   hexBytes `json:"receiver_key"`
	PrivateHeader hexBytes `json:"private_header"`
}

type recorded struct {
	Conversation struct {
		Initiator struct {
			Private1 hexBytes `json:"private_1"`
			Private2 hexBytes `json:"private_2"`
		}
		Joiner struct {
			Private1       hexBytes `json:"private_1"`
			Private2       hexBytes `json:"private_2"`
			RatchetPrivate hexBytes `json:"ratchet_private"`
		}
		LinkKeys         hexBytes      `json:"link_keys"`
		AssociatedData   hexBytes      `json:"associated_data"`
		JoinerParams     hexBytes      `json:"joiner_params"`
		Authorization    hexBytes      `json:"authorization_public"`
		QueueOfInitiator recordedQueue `json:"queue_of_initiator"`
		QueueOfJoiner    recordedQueue `json:"queue_of_joiner"`
		Bodies           []recordedBody
	}
	Live []struct {
		Name         string
		Link         string
		Private1     hexBytes `json:"private_1"`
		Private2     hexBytes `json:"private_2"`
		QueuePrivate hexBytes `json:"queue_private"`
		QueueSecret  hexBytes `json:"queue_secret"`
		Bodies       []recordedBody
	}
	Request struct {
		QueuePrivate hexBytes `json:"queue_private"`
		Body         bodyBytes
	}
}

func loadRecorded(t *testing.T) (r recorded) {
	b, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// script is randomness that gives recorded keys and nonces, by their length, and random bytes when it has none left.
type script struct {
	next map[int][][]byte
	rest *rand.ChaCha8
}

func (s *script) Read(p []byte) (int, error) {
	if list := s.next[len(p)]; len(list) > 0 {
		s.next[len(p)] = list[1:]
		if list[0] != nil {
			return copy(p, list[0]), nil
		}
	}
	return s.rest.Read(p)
}

func (s *script) add(values ...[]byte) {
	for _, v := range values {
		s.next[len(v)] = append(s.next[len(v)], v)
	}
}

// skip lets a random value of n bytes pass.
func (s *script) skip(n, times int) {
	for range times {
		s.next[n] = append(s.next[n], nil)
	}
}

// actor is one side of the recorded conversation.
type actor struct {
	*node
	t      *testing.T
	script *script
}

func newActor(t *testing.T, w *world, name string) *actor {
	return &actor{w.node(name), t, &script{map[int][][]byte{}, w.newRand()}}
}

func (a *actor) env() Env {
	e := a.node.env()
	e.Rand = a.script
	return e
}

func (a *actor) do(in Input) (op Operation) {
	a.t.Helper()
	before := len(a.todo)
	effects, err := a.conn.Step(a.env(), in)
	if err != nil {
		a.t.Fatalf("%T: %v", in, err)
	}
	a.take(effects)
	for _, op := range a.todo[before:] {
		if op.Name().kind != opAck {
			return op
		}
	}
	return nil
}

// created answers NEW with a chosen sender's address.
func (a *actor) created(op Operation, at link.Address, mode queue.Mode) Operation {
	return a.do(QueueCreated{
		Op: op.Name(), Server: at.Server, Recipient: queue.ID(a.name), Sender: at.SenderID, Mode: mode,
		ServerKey: keys.FromX25519(agreementKey([32]byte{9}).PublicKey()),
	})
}

// receive gives the actor a recorded body and returns the events.
func (a *actor) receive(b recordedBody) []Event {
	a.t.Helper()
	if len(b.ReceiverKey) > 0 {
		a.script.add(b.ReceiverKey)
	}
	q := &a.conn.receive[0]
	id := queue.ID(fmt.Sprintf("%024d", len(a.events)*100+len(a.todo)))
	sealed, err := queue.SealMessage(q.sealing(), id, queue.Message{Time: 1, Body: b.Body})
	if err != nil {
		a.t.Fatal(err)
	}
	before := len(a.events)
	a.do(Received{Queue: q.id, ID: id, Body: sealed})
	if left := a.script.next[56]; len(left) != 0 {
		a.t.Errorf("%s: no ratchet step", b.Name)
	}
	if len(a.todo) == 0 && q.waits == 0 {
		a.t.Errorf("%s: not acknowledged", b.Name)
	}
	return a.events[before:]
}

// nonceOf is the nonce of a recorded body.
func nonceOf(t *testing.T, body []byte) []byte {
	c, err := envelope.ParseClient(body)
	if err != nil {
		t.Fatal(err)
	}
	return c.Nonce[:]
}

func (a *actor) same(name string, op Operation, want []byte) {
	a.t.Helper()
	got, err := op.(Deliver).Body()
	if err != nil || !bytes.Equal(got, want) {
		a.t.Errorf("%s: body differs from the recorded one (%v)", name, err)
	}
}

// describe names events by type, failures by code.
func describe(events []Event) (s string) {
	for _, e := range events {
		if f, ok := e.(Failure); ok {
			s += string(f.Err.Code) + " "
			continue
		}
		s += fmt.Sprintf("%T ", e)
	}
	return s
}

// TestRecordedConversation lets two connections with recorded keys make the recorded bodies, byte for byte, and receive
// them.
func TestRecordedConversation(t *testing.T) {
	r := loadRecorded(t).Conversation
	w := newWorld(t, 7)
	a, b := newActor(t, w, "alice"), newActor(t, w, "bob")

	a.script.add(r.Initiator.Private1, r.Initiator.Private2)
	a.script.skip(32, 2)
	a.script.add(r.QueueOfInitiator.RecipientPrivate)
	c, effects := Create(a.env(), "a", CreateOptions{Kind: link.Invitation})
	a.conn = c
	a.take(effects)
	server := queue.Server{Hosts: []string{"smp.example.org"}}
	a.created(a.todo[0], link.Address{Server: server, SenderID: "initiator's queue"}, queue.ModeMessaging)
	l := mustEvent[LinkReady](a.node).Link
	if !bytes.Equal(l.Keys.AppendRange(nil), r.LinkKeys) {
		t.Error("keys of the link")
	}

	first, err := envelope.ParsePlaintext(r.Bodies[0].Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	info := first.(envelope.JoinerInfo)
	b.script.add(r.Joiner.Private1, r.Joiner.Private2, r.Joiner.RatchetPrivate, r.QueueOfInitiator.SenderPrivate)
	b.script.skip(32, 3)
	b.script.add(r.QueueOfJoiner.RecipientPrivate)
	c, effects, err = Join(b.env(), "b", JoinOptions{l, func([32]byte) ([]byte, error) { return info.Info, nil }})
	if err != nil {
		t.Fatal(err)
	}
	b.conn = c
	b.take(effects)
	if ad := b.conn.ratchet.AD(); !bytes.Equal(ad[:], r.AssociatedData) || !bytes.Equal(b.conn.params, r.JoinerParams) {
		t.Error("agreement differs")
	}
	newQueue := b.do(OperationDone{b.todo[0].Name()})
	b.script.add(nonceOf(t, r.Bodies[0].Body))
	confirmation := b.created(newQueue, info.Queues[0].Address, queue.ModeMessaging)
	b.same("confirmation", confirmation, r.Bodies[0].Body)
	b.do(OperationDone{confirmation.Name()})

	// The recorded continue, queue addresses and so on are about queues that this connection does not have.
	wants := []string{
		"conn.Confirmation ", "", "conn.Info conn.Connected ", "AGENT A_PROHIBITED ", "conn.Message ", "conn.Message ",
		"conn.Receipts ", "AGENT A_QUEUE ", "AGENT A_QUEUE ", "AGENT A_QUEUE ", "AGENT A_QUEUE ", "", "",
		"conn.ResyncChanged ", "AGENT A_PROHIBITED ",
	}
	for i, body := range r.Bodies {
		from, to := b, a
		if body.By == "initiator" {
			from, to = a, b
		}
		switch i {
		case 0:
		case 1:
			from.sameStandardConfirmation(body, r.Authorization)
		case 2:
			from.script.add(r.QueueOfJoiner.SenderPrivate)
			info, err := envelope.ParsePlaintext(body.Plaintext)
			if err != nil {
				t.Fatal(err)
			}
			secure := from.do(Allow{mustEvent[Confirmation](from.node).ID, info.(envelope.InitiatorInfo).Info})
			from.script.add(nonceOf(t, body.Body))
			op := from.do(OperationDone{secure.Name()})
			from.same(body.Name, op, body.Body)
			from.do(OperationDone{op.Name()})
		case 13:
			from.sameRatchetKey(body)
		case 14: // the invitation is not made in a connection
		default:
			from.sameMessage(body)
		}
		if got := describe(to.receive(body)); got != wants[i] {
			t.Errorf("%s: events %q, want %q", body.Name, got, wants[i])
		}
	}
	for _, n := range []*actor{a, b} {
		for _, m := range all[Message](n.node) {
			if m.Integrity != (envelope.Integrity{}) {
				t.Errorf("%s: message %d: %v", n.name, m.SenderID, m.Integrity)
			}
		}
	}
	for queue, q := range map[*receiveQueue]recordedQueue{&a.conn.receive[0]: r.QueueOfInitiator, &b.conn.receive[0]: r.QueueOfJoiner} {
		if !bytes.Equal(queue.secret[:], q.Secret) {
			t.Error("secret of a queue")
		}
	}
}

// sameStandardConfirmation makes the recorded confirmation with a key in it; the private part of that key is not recorded.
func (a *actor) sameStandardConfirmation(body recordedBody, authorization []byte) {
	a.t.Helper()
	key, err := keys.Parse(authorization)
	if err != nil {
		a.t.Fatal(err)
	}
	s := a.conn.begin(a.env())
	q := s.primary()
	params := loadRecorded(a.t).Conversation.JoinerParams
	m, err := s.enqueue(q, outgoing{kind: kindConfirmation, agent: 7, params: params, keyed: true}, envelope.RatchetConfirmation,
		func(int64, []byte) plaintext { return plaintext{text: body.Plaintext} })
	if err != nil {
		a.t.Fatal(err)
	}
	a.script.add(nonceOf(a.t, body.Body))
	x := s.sealerOf(q, m)
	x.client.Version, x.header.SenderKey = 2, key
	a.same(body.Name, Deliver{sealer: x}, body.Body)
	s.drop(q, m)
	s.save()
}

// sameMessage makes a recorded message.
func (a *actor) sameMessage(body recordedBody) {
	a.t.Helper()
	p, err := envelope.ParsePlaintext(body.Plaintext)
	if err != nil {
		a.t.Fatal(err)
	}
	a.script.add(nonceOf(a.t, body.Body))
	var op Operation
	if m, ok := p.(envelope.Numbered).Content.(envelope.ClientMessage); ok {
		op = a.do(Send{Body: m.Body})
	} else {
		s := a.conn.begin(a.env())
		s.enqueueContent(kindHello, p.(envelope.Numbered).Content)
		effects := s.finish()
		op = effects[len(effects)-1].(Operation)
		a.take(effects)
	}
	a.same(body.Name, op, body.Body)
	a.do(OperationDone{op.Name()})
}

// sameRatchetKey makes the recorded ratchet key.
func (a *actor) sameRatchetKey(body recordedBody) {
	a.t.Helper()
	e, err := envelope.Parse(body.Plaintext)
	if err != nil {
		a.t.Fatal(err)
	}
	a.script.add(nonceOf(a.t, body.Body))
	s := a.conn.begin(a.env())
	s.sendRatchetKey(e.(*envelope.RatchetKey).Keys)
	effects := s.finish()
	a.take(effects)
	op := effects[len(effects)-1].(Operation)
	a.same(body.Name, op, body.Body)
	a.do(OperationDone{op.Name()})
}

// TestRecordedJoiners receives what a running agent of the public implementation sent to initiators.
func TestRecordedJoiners(t *testing.T) {
	for _, live := range loadRecorded(t).Live {
		t.Run(live.Name, func(t *testing.T) {
			w := newWorld(t, 7)
			a := newActor(t, w, "alice")
			want, err := link.Parse(live.Link)
			if err != nil {
				t.Fatal(err)
			}
			a.script.add(live.Private1, live.Private2)
			a.script.skip(32, 2)
			a.script.add(live.QueuePrivate)
			c, effects := Create(a.env(), "a", CreateOptions{Kind: link.Invitation})
			a.conn = c
			a.take(effects)
			a.created(a.todo[0], want.Queues[0].Address, want.Queues[0].Mode)
			if got := mustEvent[LinkReady](a.node).Link.Text(); got != live.Link {
				t.Errorf("link\n%s\nwant\n%s", got, live.Link)
			}
			for i, b := range live.Bodies {
				events := describe(a.receive(b))
				p, err := envelope.ParsePlaintext(b.Plaintext)
				if err != nil {
					t.Fatal(err)
				}
				switch p := p.(type) {
				case envelope.JoinerInfo:
					conf := mustEvent[Confirmation](a.node)
					if !bytes.Equal(conf.Info, p.Info) || !bytes.Equal(a.conn.receive[0].secret[:], live.QueueSecret) {
						t.Error("info or secret")
					}
					if len(b.PrivateHeader) > 0 {
						a.conn.confirmation.reply.Mode = queue.ModeNone // the recording initiator answered in the standard form
					}
					a.answerRecorded(conf, b.PrivateHeader)
				case envelope.Numbered:
					a.checkRecorded(i, p, events)
				}
			}
		})
	}
}

// answerRecorded allows, and lets everything succeed.
func (a *actor) answerRecorded(conf Confirmation, key []byte) {
	a.t.Helper()
	op := a.do(Allow{conf.ID, []byte("info")})
	if len(key) > 0 {
		secure := op.(SecureQueue)
		if !bytes.Equal(secure.SenderKey.DER(), key) {
			a.t.Error("key of the sender")
		}
		op = a.do(OperationDone{op.Name()})
	}
	for op != nil {
		op = a.do(OperationDone{op.Name()})
	}
}

func (a *actor) checkRecorded(i int, p envelope.Numbered, events string) {
	a.t.Helper()
	switch c := p.Content.(type) {
	case envelope.ClientMessage:
		m := mustEvent[Message](a.node)
		if !bytes.Equal(m.Body, c.Body) || m.SenderID != p.Number || m.Integrity != (envelope.Integrity{}) {
			a.t.Errorf("body %d: %+v", i, m)
		}
	case envelope.Hello:
		for _, op := range a.todo {
			if d, ok := op.(Deliver); ok && d.number == 3 {
				a.do(OperationDone{op.Name()})
			}
		}
		mustEvent[Connected](a.node)
	case envelope.Receipts:
		if events != "" { // for a message that was not sent here
			a.t.Errorf("body %d: events %q", i, events)
		}
	default:
		a.t.Errorf("body %d is a %T", i, c)
	}
}

// TestRecordedRequest receives what a running agent of the public implementation posted to a contact address.
func TestRecordedRequest(t *testing.T) {
	r := loadRecorded(t).Request
	w := newWorld(t, 7)
	a := newActor(t, w, "alice")
	a.script.skip(32, 2)
	a.script.add(r.QueuePrivate)
	c, effects := Create(a.env(), "a", CreateOptions{Kind: link.Contact})
	a.conn = c
	a.take(effects)
	a.created(a.todo[0], link.Address{Server: a.relay.server, SenderID: "s"}, queue.ModeContact)
	a.receive(recordedBody{Name: "request", Body: r.Body})
	got := mustEvent[Request](a.node)
	if len(got.Info) == 0 || got.Link.Kind != link.Invitation || !got.Compatible {
		t.Errorf("request with %d bytes of info, compatible %v", len(got.Info), got.Compatible)
	}
	if b := w.node("bob"); b.join(got.Link, "info") != nil {
		t.Error("recorded invitation cannot be joined")
	}
}
