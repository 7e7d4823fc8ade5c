package ratchet

import (
	"bytes"
	"io"

	"github.com/coterie-im/coterie/internal/keys"
)

// agree picks the version for parameters that span a range; ErrVersion if there is none.
func (o Options) agree(peer VersionRange) (uint16, error) {
	v := min(peer.Max, o.maxVersion())
	if v < max(peer.Min, MinVersion) {
		return 0, ErrVersion
	}
	return v, nil
}

// single checks the version of parameters that must be for one.
func (o Options) single(peer VersionRange) (uint16, error) {
	if peer.Min != peer.Max || peer.Min < MinVersion || peer.Max > o.maxVersion() {
		return 0, ErrVersion
	}
	return peer.Min, nil
}

// NewInitiator makes the state of the side that published keys, from the parameters in the joiner's confirmation
// (docs/protocol.md, "Key agreement"). It cannot send until it has decrypted the joiner's first message. The keys can be
// cleared afterwards, but a joiner may repeat its confirmation as long as this side has not answered.
//
// ErrVersion if the version is not supported, ErrAgreement for keys that give no secret, ErrKEMState if the joiner
// accepted a KEM key that was not proposed.
func NewInitiator(own *Keys, joiner Params, o Options) (*State, error) {
	version, err := o.single(joiner.Versions)
	if err != nil {
		return nil, err
	}
	var kem *kemState
	var kemSecret []byte
	if joiner.KEM.accepted() {
		if kemSecret, err = own.kem.decapsulate(o.KEM, joiner.KEM.Ciphertext, ErrAgreement); err != nil {
			return nil, err
		}
		defer clear(kemSecret)
		kem = &kemState{
			public:     bytes.Clone(own.kem.public),
			private:    bytes.Clone(own.kem.private),
			ciphertext: bytes.Clone(joiner.KEM.Ciphertext),
		}
	}
	s1, s2 := rawKey(joiner.Key1), rawKey(joiner.Key2)
	a, err := newAgreement(
		dh{&own.first, &s2}, dh{&own.second, &s1}, dh{&own.second, &s2}, kemSecret)
	if err != nil {
		return nil, err
	}
	return &State{
		kem:          o.KEM,
		version:      version,
		maxVersion:   o.maxVersion(),
		ad:           associatedData(&s1, &own.first.public),
		own:          own.second,
		root:         a.root,
		nextSend:     a.nextHeaderKey,
		nextReceive:  a.headerKey,
		largeHeaders: o.wantsKEM(),
		kemWanted:    o.wantsKEM(),
		kemState:     kem,
		changed:      true,
	}, nil
}

// NewJoiner makes the state of the side that received an invitation, and the parameters (for one version) that its
// confirmation must carry. It can send at once. Repeated confirmations must carry the same parameters, so store both.
//
// ErrVersion if the versions do not overlap, ErrAgreement if the invitation's keys give no secret or its KEM part is not
// one that an invitation can have. Other errors are those of rand.
func NewJoiner(rand io.Reader, invitation Params, o Options) (*State, Params, error) {
	version, err := o.agree(invitation.Versions)
	if err != nil {
		return nil, Params{}, err
	}
	if invitation.KEM.accepted() {
		return nil, Params{}, ErrAgreement
	}
	var kem KEM
	if o.wantsKEM() && version >= 3 {
		kem = o.KEM
	}
	own, err := GenerateKeys(rand, kem)
	if err != nil {
		return nil, Params{}, err
	}
	defer func() { own.first, own.second = keyPair{}, keyPair{} }() // the state shares the KEM keys
	var kemSecret []byte
	if kem != nil && !invitation.KEM.absent() {
		if own.kem.ciphertext, kemSecret, err = encapsulate(rand, kem, invitation.KEM.Public, ErrAgreement); err != nil {
			return nil, Params{}, err
		}
		defer clear(kemSecret)
	}
	s, err := newSending(rand, own, kemSecret, invitation, version, o)
	if err != nil {
		return nil, Params{}, err
	}
	return s, own.Params(VersionRange{version, version}), nil
}

// Resynchronise makes the new state after both sides have exchanged new keys in ratchet-key messages
// (docs/protocol.md, "Ratchet re-synchronisation"). The order of the key hashes decides the roles; sending tells whether
// this side can send at once (and so must). A KEM key in either set only proposes. Errors are those of NewInitiator.
func Resynchronise(rand io.Reader, own *Keys, peer Params, o Options) (s *State, sending bool, err error) {
	version, err := o.single(peer.Versions)
	if err != nil {
		return nil, false, err
	}
	if peer.KEM.accepted() {
		return nil, false, ErrAgreement
	}
	ownHash, peerHash := own.Params(peer.Versions).Hash(), peer.Hash()
	if bytes.Compare(ownHash[:], peerHash[:]) <= 0 {
		s, err = NewInitiator(own, peer, o)
		return s, false, err
	}
	mine := Keys{first: own.first, second: own.second}
	if own.kem != nil && version >= 3 {
		mine.kem = &kemState{public: bytes.Clone(own.kem.public), private: bytes.Clone(own.kem.private)}
	}
	s, err = newSending(rand, &mine, nil, peer, version, o)
	return s, true, err
}

// newSending makes the state of the side that sends first: the agreement with peer, and one root step with a new ratchet key.
func newSending(rand io.Reader, own *Keys, kemSecret []byte, peer Params, version uint16, o Options) (*State, error) {
	r1, r2 := rawKey(peer.Key1), rawKey(peer.Key2)
	a, err := newAgreement(
		dh{&own.second, &r1}, dh{&own.first, &r2}, dh{&own.second, &r2}, kemSecret)
	if err != nil {
		return nil, err
	}
	ratchetKey, err := generateKeyPair(rand)
	if err != nil {
		return nil, err
	}
	shared, err := ratchetKey.shared(&r2)
	if err != nil {
		return nil, err
	}
	defer clear(shared[:])
	s := &State{
		kem:          o.KEM,
		version:      version,
		maxVersion:   o.maxVersion(),
		ad:           associatedData(&own.first.public, &r1),
		own:          ratchetKey,
		canSend:      true,
		nextReceive:  a.nextHeaderKey,
		largeHeaders: own.kem != nil,
		kemWanted:    own.kem != nil,
		kemSending:   kemSecret != nil,
		kemState:     own.kem,
		changed:      true,
	}
	s.sending.headerKey = a.headerKey
	s.root, s.sending.key, s.nextSend = rootKDF(&a.root, &shared, kemSecret)
	return s, nil
}

// agreement is the result of the key agreement.
type agreement struct{ headerKey, nextHeaderKey, root secret }

// dh is one X448 computation.
type dh struct {
	own  *keyPair
	peer *[keySize]byte
}

func newAgreement(one, two, three dh, kemSecret []byte) (agreement, error) {
	var shared [3][keySize]byte
	defer clear(shared[:])
	for i, d := range []dh{one, two, three} {
		var err error
		if shared[i], err = d.own.shared(d.peer); err != nil {
			return agreement{}, err
		}
	}
	var a agreement
	a.headerKey, a.nextHeaderKey, a.root = agreementKDF(&shared[0], &shared[1], &shared[2], kemSecret)
	return a, nil
}

func associatedData(joiner, initiator *[keySize]byte) (ad [ADSize]byte) {
	copy(ad[:], joiner[:])
	copy(ad[keySize:], initiator[:])
	return ad
}

// rawKey returns the bytes of an X448 key; zeros, with which there is no agreement, if it is of another kind.
func rawKey(k keys.Public) (raw [keySize]byte) {
	if k.Algorithm() == keys.X448 {
		copy(raw[:], k.Raw())
	}
	return raw
}
