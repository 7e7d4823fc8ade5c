package conn

import (
	"bytes"
	"fmt"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/scratch"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// sealer makes the body of a message. It holds nothing that changes, so it is safe in any goroutine.
type sealer struct {
	client envelope.Client // version, key and nonce
	header envelope.PrivateHeader
	secret box.Secret

	agent  queue.Version
	kind   messageKind // confirmation, or any other for a message envelope
	params []byte      // of a confirmation

	keys []byte // ratchet.MessageKeys; nil: envelope is complete
	text []byte // plaintext without body
	body []byte

	complete []byte // envelope of an invitation or ratchet key
}

// Format hides keys and content from every formatting verb.
func (sealer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[message]")) }

// appendSealed appends the body; after an error dst is as it was.
func (s sealer) appendSealed(dst []byte) ([]byte, error) {
	if s.keys == nil {
		return s.client.AppendSealed(dst, &s.secret, s.header, s.complete)
	}
	inner := scratch.Get()
	defer scratch.Put(inner)
	var err error
	if *inner, err = s.sealRatchet(*inner); err != nil {
		return dst, err
	}
	return s.client.AppendSealed(dst, &s.secret, s.header, *inner)
}

// sealRatchet appends the agent envelope around the ratchet message, which is its last part.
func (s sealer) sealRatchet(dst []byte) ([]byte, error) {
	k, err := ratchet.DecodeMessageKeys(s.keys)
	if err != nil {
		return dst, fmt.Errorf("keys of outgoing message: %w", err)
	}
	defer k.Clear()
	if dst, err = s.appendHead(dst); err != nil {
		return dst, err
	}
	plain := scratch.Get()
	defer scratch.Put(plain)
	*plain = append(append(*plain, s.text...), s.body...)
	if dst, err = k.Seal(dst, *plain); err != nil {
		return dst, fmt.Errorf("outgoing message: %w", err)
	}
	return dst, nil
}

// appendHead appends what stands before the ratchet message.
func (s sealer) appendHead(dst []byte) ([]byte, error) {
	if s.kind != kindConfirmation {
		return (&envelope.Message{Agent: s.agent}).Append(dst), nil
	}
	c := &envelope.Confirmation{Agent: s.agent}
	if len(s.params) > 0 {
		r := wire.NewReader(s.params)
		p := ratchet.ReadSingle(r)
		if err := r.Done(); err != nil {
			return dst, fmt.Errorf("parameters of outgoing confirmation: %w", err)
		}
		c.Keys = &p
	}
	return c.Append(dst), nil
}

// sealerOf prepares the delivery of a queued message. Each attempt has a nonce of its own.
func (s *step) sealerOf(q *sendQueue, m *outgoing) sealer {
	x := sealer{
		client: envelope.Client{Version: q.client},
		secret: q.secret,
		agent:  s.env.supports().agent.Max,
		kind:   m.kind,
		keys:   bytes.Clone(m.keys), // the message's own are cleared once it is delivered
		text:   m.text,
	}
	randomBytes(s.env.Rand, x.client.Nonce[:])
	if m.kind == kindConfirmation {
		x.client.Key = q.dh
		x.agent, x.params = m.agent, m.params
		if m.keyed {
			x.header.SenderKey = q.key.public()
		}
	}
	if m.kind == kindRatchetKey {
		x.complete, x.keys = m.text, nil
	}
	if len(m.body) > 0 {
		x.body = s.env.Bodies.Get(m.body)
	}
	return x
}
