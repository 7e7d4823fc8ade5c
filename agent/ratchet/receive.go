package ratchet

import (
	"crypto/subtle"
	"errors"
	"io"
	"math"
)

// Decrypt opens a message. Store the state afterwards whatever it returns: messages and headers that are malformed or
// not for us (ErrBadMessage, ErrHeader, ErrKEMState, too large a gap in the previous chain, errors of rand) leave it as
// it was; ErrDuplicate, ErrEarlier, ErrTooManySkipped and ErrAuthentication may have moved it on, and then it must not
// be used as it was before. rand is read only in ratchet steps.
//
// The steps are those of docs/protocol.md, "Encrypting and decrypting".
func (s *State) Decrypt(rand io.Reader, b []byte) (plaintext []byte, err error) {
	m, err := parseMessage(b)
	if err != nil {
		return nil, err
	}
	h, by, err := s.openHeader(&m)
	if err != nil {
		return nil, err
	}
	if by.key == skippedHeaderKey {
		k := s.skipped.take(by.chain, by.index)
		defer k.clear()
		return s.openBody(&m, &k)
	}

	next := *s
	if h.maxVersion > next.version {
		next.version = max(next.version, min(h.maxVersion, next.maxVersion))
	}
	var gap []skippedKey
	if by.key == nextHeaderKey {
		gap, err = next.skipTo(h.previous)
		if errors.Is(err, ErrDuplicate) {
			// Not a message once more: the peer counts fewer messages in its last chain than it has sent. It has gone back to an
			// old copy of its state, and no message of the new chain will ever open.
			err = ErrHeader
		}
		if err != nil {
			return nil, err
		}
		if err := next.step(rand, &h); err != nil {
			clear(gap)
			return nil, err
		}
	}
	next.changed = true
	oldHeaderKey, oldKEM := s.receiving.headerKey, s.kemState
	*s = next
	if oldKEM != nil && oldKEM != s.kemState {
		clear(oldKEM.private)
	}
	s.skipped.add(&oldHeaderKey, gap)

	// From here on what has changed stays, also if the message fails.
	gap, err = s.skipTo(h.number)
	if err != nil {
		return nil, err
	}
	s.skipped.add(&s.receiving.headerKey, gap)
	k := s.nextReceiving()
	defer k.clear()
	return s.openBody(&m, &k)
}

// openedBy tells which key opened a header, and so what the message is.
type openedBy struct {
	key          headerKey
	chain, index int // of the message's key in skippedKeys, with skippedHeaderKey
}

type headerKey int

const (
	skippedHeaderKey headerKey = iota // a skipped message whose key is kept
	sameHeaderKey                     // any other message of the receiving chain
	nextHeaderKey                     // a message of a new chain: ratchet step
)

// openHeader tries the header keys of skipped messages, then the current and the next one. ErrHeader if none fits.
func (s *State) openHeader(m *message) (header, openedBy, error) {
	for i := range s.skipped.chains {
		c := &s.skipped.chains[i]
		content, ok := open(&c.headerKey, m.headerIV, m.headerTag, m.headerContent, s.ad[:])
		if !ok {
			continue
		}
		h, err := parseHeader(content, m.version)
		if err != nil {
			return header{}, openedBy{}, err
		}
		if index, ok := c.find(h.number); ok {
			return h, openedBy{skippedHeaderKey, i, index}, nil
		}
		switch {
		case s.canReceive && subtle.ConstantTimeCompare(c.headerKey[:], s.receiving.headerKey[:]) == 1:
			return h, openedBy{key: sameHeaderKey}, nil
		case subtle.ConstantTimeCompare(c.headerKey[:], s.nextReceive[:]) == 1:
			return h, openedBy{key: nextHeaderKey}, nil
		}
		return header{}, openedBy{}, ErrHeader
	}
	if s.canReceive {
		if content, ok := open(&s.receiving.headerKey, m.headerIV, m.headerTag, m.headerContent, s.ad[:]); ok {
			h, err := parseHeader(content, m.version)
			return h, openedBy{key: sameHeaderKey}, err
		}
	}
	if content, ok := open(&s.nextReceive, m.headerIV, m.headerTag, m.headerContent, s.ad[:]); ok {
		h, err := parseHeader(content, m.version)
		return h, openedBy{key: nextHeaderKey}, err
	}
	return header{}, openedBy{}, ErrHeader
}

// openBody opens the body with a message's key. A body that authenticates but has malformed padding is taken as one
// that does not open: only the peer can make it.
func (s *State) openBody(m *message, k *skippedKey) ([]byte, error) {
	plaintext, ok := open(&k.key, k.iv[:], m.tag, m.body, bodyAD(&s.ad, m.encHeader))
	if !ok {
		return nil, ErrAuthentication
	}
	return plaintext, nil
}

// skipTo moves the receiving chain, if there is one, forward so that n is the next number, and returns the keys of the
// messages between.
func (s *State) skipTo(n uint32) ([]skippedKey, error) {
	if !s.canReceive {
		return nil, nil
	}
	switch from, to := uint64(s.nr), uint64(n); {
	case from > to+1:
		return nil, &CountError{ErrEarlier, uint32(from - to - 1)}
	case from == to+1:
		return nil, ErrDuplicate
	case to-from > MaxSkip, n == math.MaxUint32: // the number after n must be one, too
		return nil, &CountError{ErrTooManySkipped, uint32(min(to+1-from, math.MaxUint32))}
	}
	var gap []skippedKey
	for s.nr < n {
		gap = append(gap, s.nextReceiving())
	}
	return gap, nil
}

// nextReceiving advances the receiving chain by one message and returns its key.
func (s *State) nextReceiving() skippedKey {
	k := skippedKey{number: s.nr}
	s.receiving.key, k.key, k.iv, _ = chainKDF(&s.receiving.key)
	s.nr++
	return k
}

// step makes a ratchet step: a new receiving chain from the peer's new key, and a new sending chain from a new own key.
func (s *State) step(rand io.Reader, h *header) error {
	receivingKEM, sendingKEM, err := s.kemStep(rand, h.kem)
	if err != nil {
		return err
	}
	defer clear(receivingKEM)
	defer clear(sendingKEM)
	own, err := generateKeyPair(rand)
	if err != nil {
		return err
	}
	peer := rawKey(h.key)
	receiving, err1 := s.own.shared(&peer)
	sending, err2 := own.shared(&peer)
	defer clear(receiving[:])
	defer clear(sending[:])
	if errors.Join(err1, err2) != nil {
		return ErrHeader // a key of low order, which an honest peer does not send
	}
	s.own = own
	s.sending.headerKey, s.receiving.headerKey = s.nextSend, s.nextReceive
	s.root, s.receiving.key, s.nextReceive = rootKDF(&s.root, &receiving, receivingKEM)
	s.root, s.sending.key, s.nextSend = rootKDF(&s.root, &sending, sendingKEM)
	s.canSend, s.canReceive = true, true
	s.pn, s.ns, s.nr = s.ns, 0, 0
	return nil
}
