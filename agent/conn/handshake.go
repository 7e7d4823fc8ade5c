package conn

import (
	"crypto/ecdh"
	"crypto/sha256"
	"errors"

	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// create starts an initiator, requester or contact address.
func (s *step) create(r role, o CreateOptions) {
	s.role, s.phase, s.agent = r, creating, s.env.supports().agent.Max
	s.clientData, s.hasData = o.ClientData, o.ClientData != nil
	mode := queue.ModeMessaging
	if r == address {
		mode = queue.ModeContact
	} else {
		s.keys = s.newKeys().AppendBinary(nil)
	}
	s.addReceiveQueue(mode, s.env.supports().client.Max)
}

func (s *step) newKeys() *ratchet.Keys {
	k, err := ratchet.GenerateKeys(s.env.Rand, nil)
	if err != nil {
		panic("conn: source of randomness: " + err.Error())
	}
	return k
}

// addReceiveQueue asks for an own queue, with fresh keys.
func (s *step) addReceiveQueue(mode queue.Mode, client queue.Version) *receiveQueue {
	s.receive = append(s.receive, receiveQueue{
		slot:   s.receiveSlots,
		status: queueMissing,
		mode:   mode,
		client: client,
		key:    newSigningKey(s.env.Rand),
		relay:  newAgreementKey(s.env.Rand),
		dh:     newAgreementKey(s.env.Rand),
	})
	s.receiveSlots++
	return &s.receive[len(s.receive)-1]
}

// addSendQueue records the peer's queue with own keys for it. It fails for keys without a shared secret.
func (s *step) addSendQueue(i link.Info) error {
	private := agreementKey(newAgreementKey(s.env.Rand))
	secret, err := agree(private, i.DH)
	if err != nil {
		return err
	}
	s.send = append(s.send, sendQueue{
		slot:   s.sendSlots,
		status: queueNew,
		mode:   i.Mode,
		client: i.Version,
		server: i.Server,
		id:     i.SenderID,
		key:    newSigningKey(s.env.Rand),
		dh:     keys.FromX25519(private.PublicKey()),
		secret: secret,
	})
	s.sendSlots++
	return nil
}

// ownLink is the link of a contact address.
func (s *step) ownLink() link.Request {
	r := link.Request{
		Kind:   link.Contact,
		Agent:  s.env.supports().agent,
		Queues: []link.Queue{s.linkQueue(&s.receive[0])},
	}
	if s.hasData {
		r.ClientData = append([]byte{}, s.clientData...)
	}
	return r
}

// invitation is the own link of an initiator.
func (s *step) invitation() link.Request {
	r := s.ownLink()
	r.Kind = link.Invitation
	k, err := ratchet.DecodeKeys(s.keys)
	if err != nil {
		s.damaged(err)
		return r
	}
	r.Keys = k.Params(s.env.ratchetRange())
	k.Clear()
	return r
}

// queueCreated is the relay's answer to NEW.
func (s *step) queueCreated(in QueueCreated) {
	q := s.receiveSlot(in.Op.slot)
	if q == nil || in.Op.kind != opNew || q.status != queueMissing || in.Op.number != q.attempt {
		return
	}
	relay, err := agree(agreementKey(q.relay), in.ServerKey)
	if err != nil || !in.valid() {
		s.newFailed(q, OperationFailed{in.Op, Permanent, CodeInternal})
		return
	}
	q.relay, q.server, q.id, q.sender = relay, in.Server, in.Recipient, in.Sender
	q.server.Password = "" // not part of an address
	q.status, q.retry, q.tries = queueNew, retry{}, 0
	if q.mode == queue.ModeMessaging && in.Mode != queue.ModeMessaging {
		q.mode = queue.ModeNone // a relay that knows no modes makes a queue that its sender cannot secure
	}
	if s.deletion != notDeleting || s.phase != creating {
		return
	}
	switch s.role {
	case address:
		s.phase = serving
		s.emit(LinkReady{s.ownLink()})
	case requester:
		r := s.invitation()
		s.nameLink(r)
		if len(s.info) > envelope.MaxRequestInfo(len(r.Text())) {
			s.giveUp(over(CodeLarge, "connection info"))
			return
		}
		s.phase = requesting
	default:
		s.phase = invited
		r := s.invitation()
		s.nameLink(r)
		s.emit(LinkReady{r})
	}
}

// valid tells whether IDs and address can be stored and put in links.
func (in QueueCreated) valid() bool {
	if len(in.Recipient) == 0 || len(in.Recipient) > 255 || len(in.Sender) == 0 || len(in.Sender) > 255 || len(in.Server.Hosts) > 255 {
		return false
	}
	for _, host := range in.Server.Hosts {
		if !queue.ValidHost(host) {
			return false
		}
	}
	return len(in.Server.Hosts) > 0 && queue.ValidPort(in.Server.Port)
}

// nameLink keeps the hash by which the handshake's binding names the invitation.
func (s *step) nameLink(r link.Request) { s.linkHash = sha256.Sum256(r.Binary()) }

// join starts a joiner or requester; the error refuses the call.
func (s *step) join(o JoinOptions) error {
	agent, ok := s.env.supports().agent.Negotiate(o.Link.Agent)
	if !ok || len(o.Link.Queues) == 0 {
		return refuse(CodeVersion, "agent version of the link")
	}
	client, ok := s.env.supports().client.Negotiate(o.Link.Queues[0].Client)
	if !ok {
		return refuse(CodeVersion, "queue version of the link")
	}
	peer := o.Link.Queues[0].At(client)
	if o.Link.Kind == link.Contact {
		return s.joinContact(peer, agent, o)
	}
	return s.joinInvitation(peer, agent, o)
}

func (s *step) joinInvitation(peer link.Info, agent queue.Version, o JoinOptions) error {
	state, params, err := ratchet.NewJoiner(s.env.Rand, o.Link.Keys, s.env.ratchetOptions())
	switch {
	case errors.Is(err, ratchet.ErrVersion):
		return refuse(CodeVersion, "encryption version of the link")
	case err != nil:
		return refuse(CodeLink, err.Error())
	}
	s.role, s.phase, s.agent = joiner, securing, agent
	if err := s.addSendQueue(peer); err != nil {
		return refuse(CodeLink, "key of the queue")
	}
	s.ratchet, s.hasRatchet = state, true
	s.params = params.AppendSingle(nil)
	s.nameLink(o.Link)
	s.binding = s.bind(s.params)
	if s.info, err = o.Info(s.binding); err != nil {
		return err
	}
	if len(s.info) > envelope.MaxInitiatorInfo(s.pq, agent) {
		return refuse(CodeLarge, "connection info")
	}
	return nil
}

func (s *step) joinContact(peer link.Info, agent queue.Version, o JoinOptions) error {
	if _, err := agree(agreementKey(newAgreementKey(s.env.Rand)), peer.DH); err != nil {
		return refuse(CodeLink, "key of the queue")
	}
	info, err := o.Info([32]byte{})
	if err != nil {
		return err
	}
	// The text of the own link is longer than this, but its length depends on the relay that will be chosen.
	if len(info) > envelope.MaxRequestInfo(0) {
		return refuse(CodeLarge, "connection info")
	}
	s.create(requester, CreateOptions{})
	s.info = info
	s.post = &post{queue: peer, agent: agent, created: s.now}
	return nil
}

// bind names the handshake, see InfoFunc. params are the joiner's, for one version.
func (s *step) bind(params []byte) [32]byte {
	const label = "coterie/bind/1"
	ad := s.ratchet.AD()
	e2e := sha256.Sum256(params)
	b := wire.AppendStr8(nil, []byte(label))
	b = append(append(append(b, s.linkHash[:]...), e2e[:]...), ad[:]...)
	return sha256.Sum256(b)
}

// advance takes the steps of the handshake that need nobody else.
func (s *step) advance() {
	if s.stalled != "" || s.deletion != notDeleting {
		return
	}
	switch s.phase {
	case securing:
		if q := s.primary(); q.fast() && q.status == queueNew {
			return
		}
		s.phase = replying
		s.addReceiveQueue(queue.ModeMessaging, s.primary().client)
	case replying:
		if s.receive[0].status != queueMissing {
			s.confirmJoining()
		}
	case allowing:
		own, peer := &s.receive[0], s.primary()
		if !own.senderKey.IsZero() && own.status == queueConfirmed || peer.fast() && peer.status == queueNew {
			return
		}
		s.answer()
	case keying:
		if s.receive[0].status != queueConfirmed {
			s.phase = greeting
			s.enqueueContent(kindHello, envelope.Hello{})
		}
	}
}

// confirmJoining queues the joiner's confirmation.
func (s *step) confirmJoining() {
	q := s.primary()
	own := &s.receive[0]
	reply := link.Info{
		Version: own.client,
		Address: own.address(),
		DH:      keys.FromX25519(agreementKey(own.dh).PublicKey()),
		Mode:    own.mode,
	}
	p := envelope.JoinerInfo{Queues: []link.Info{reply}, Info: s.info}
	if len(s.info) > p.MaxInfo(s.pq, s.agent) {
		s.giveUp(over(CodeLarge, "connection info"))
		return
	}
	if s.confirm(q, outgoing{params: s.params, keyed: !q.fast()}, p) {
		s.phase = confirming
		s.params, s.info = nil, nil
	}
}

// answer queues the initiator's confirmation.
func (s *step) answer() {
	q := s.primary()
	if s.confirm(q, outgoing{keyed: !q.fast()}, envelope.InitiatorInfo{Info: s.info}) {
		s.phase = answering
		s.info, s.confirmation = nil, nil
	}
}

// confirm queues a confirmation.
func (s *step) confirm(q *sendQueue, m outgoing, p envelope.Plaintext) bool {
	m.kind, m.notify, m.agent = kindConfirmation, kindConfirmation.notifies(), s.agent
	_, err := s.enqueue(q, m, envelope.ConfirmationLength(s.pq, s.agent), func(int64, []byte) plaintext {
		return plaintext{text: p.Append(nil)}
	})
	if err != nil {
		s.giveUp(over(CodeInternal, err.Error()))
	}
	return err == nil
}

// giveUp ends a handshake that cannot go on, or a connection that cannot be used any more.
func (s *step) giveUp(err *Error) {
	s.phase = failed
	s.fail(err)
	for i := range s.send {
		q := &s.send[i]
		s.dropAll(q)
	}
}

// connect completes the handshake.
func (s *step) connect() {
	s.phase = connected
	clear(s.keys)
	s.keys, s.params, s.info, s.confirmation = nil, nil, nil, nil
	s.emit(Connected{})
}

// agree returns the secret shared with the owner of an X25519 key.
func agree(private *ecdh.PrivateKey, public keys.Public) (box.Secret, error) {
	k, err := public.X25519()
	if err != nil {
		return box.Secret{}, err
	}
	return box.Agree(private, k)
}

// mustAgree is agree with a key that was tried before.
func mustAgree(private *ecdh.PrivateKey, public keys.Public) box.Secret {
	secret, err := agree(private, public)
	if err != nil {
		panic("conn: " + err.Error())
	}
	return secret
}
