package grouproto

import (
	"encoding/binary"

	"github.com/coterie-im/coterie/internal/wire"
)

// Frames of a peer beyond its rate are stored and taken later, in their order; beyond mostDelayed they are dropped and
// the client is warned. Messages that were dropped are gaps, operations are found by heads.

func delayKey(p *peer, serial uint32) []byte {
	return wire.AppendU32(record('d', p.key[:]), serial)
}

func (s *step) delay(p *peer, frame []byte) {
	if p.delayed >= mostDelayed {
		s.warnLimit(p, LimitFrames)
		return
	}
	s.wide = true
	s.hit(LimitFrames)
	s.env.Tx.Put(delayKey(p, p.delayedN), frame)
	p.delayedN++
	p.delayed++
	s.delayed++
}

// loadDelayed counts the frames that wait.
func (g *Group) loadDelayed(k, _ []byte) error {
	if len(k) != 36 || g.peers[Key(k[:32])] == nil {
		return ErrRecords
	}
	p := g.peers[Key(k[:32])]
	p.delayed++
	p.delayedN = binary.BigEndian.Uint32(k[32:]) + 1
	g.delayed++
	return nil
}

// takeDelayed takes as many delayed frames as the rate allows now.
func (s *step) takeDelayed() {
	if s.delayed == 0 {
		return
	}
	for _, p := range s.everybody() {
		for p.delayed > 0 && p.frames.take(s.env.Now, 1, peerBurst, peerRate) {
			var key, frame []byte
			s.env.Tx.Scan(record('d', p.key[:]), nil, func(k, v []byte) bool {
				key, frame = k, v
				return false
			})
			if key == nil {
				s.delayed -= p.delayed
				p.delayed = 0
				break
			}
			s.env.Tx.Delete(key)
			p.delayed--
			s.delayed--
			d, err := decodeFrame(frame)
			if err == nil && d.frame != nil && d.tag.row().at&s.where(p) != 0 {
				s.touch(p)
				s.handle(p, d.frame)
			}
		}
	}
}

// mayAsk tells whether a peer gets an answer to another G_WANT or G_SYNC now. Somebody who asked again and again while we
// were away is not reported for what arrives at once.
func (s *step) mayAsk(p *peer) bool {
	most := float64(s.limits().WantsMinute)
	few := p.questions.take(s.env.Now, 1, manyQuestions*most, most/60)
	if p.wants.take(s.env.Now, 1, most, most/60) {
		return true
	}
	if few {
		s.hit(LimitQuestions)
	} else {
		s.warnLimit(p, LimitQuestions)
	}
	return false
}

// manyQuestions is how many times what is answered in a minute, in G_WANT and G_SYNC of a member at once, is worth a
// warning.
const manyQuestions = 6

const (
	warnBurst  = 8         // warnings of one kind about one member told at once
	warnRate   = 1 / 600.0 // and per second
	directRate = 1 / 60.0  // frames of package directconn of one member per second, beyond mostDirect at once
	relayBurst = 512       // offers and G_NEED of one peer that are passed on at once
	relayRate  = 1.0       // and per second; what is dropped is repeated by its sender
)

// mayRelay tells whether something else of a peer is passed on now.
func (s *step) mayRelay(p *peer) bool { return p.relays.take(s.env.Now, 1, relayBurst, relayRate) }
