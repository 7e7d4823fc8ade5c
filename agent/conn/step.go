package conn

import (
	"hash/maphash"
	"time"

	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/scratch"
)

// step is one input being handled.
type step struct {
	*Conn
	env     Env
	now     time.Time // env.Now in milliseconds, as it is stored
	effects []Effect
}

func (c *Conn) begin(env Env) *step {
	return &step{Conn: c, env: env, now: env.Now.UTC().Truncate(time.Millisecond)}
}

// emit adds an event.
func (s *step) emit(e Event) { s.effects = append(s.effects, e) }

// fail reports an error that belongs to no call.
func (s *step) fail(err *Error) { s.emit(Failure{err}) }

// damaged reports records that do not parse, which only a broken store or program can cause.
func (s *step) damaged(err error) {
	s.fail(&Error{Code: CodeInternal, Kind: Over, Detail: err.Error()})
	s.phase = failed
}

// finish lets the handshake go on, derives operations from the state and stores everything.
func (s *step) finish() []Effect {
	s.advance()
	s.unpark()
	s.rotate()
	s.sendContinues()
	s.sendOwed()
	s.endDeletion()
	if !s.gone {
		s.operate()
		s.save()
	}
	return s.effects
}

func (s *step) save() {
	b := scratch.Record()
	defer scratch.PutRecord(b)
	*b = s.state.append(*b)
	s.put(recordState, *b, &s.stateKept)
	*b = s.progress.append((*b)[:0])
	s.put(recordProgress, *b, &s.progressKept)
	if s.ratchet != nil {
		s.ratchet.Save(s.env.Tx, []byte{recordRatchet})
	}
}

// keptSeed makes the hashes of what is stored unpredictable, so that nobody can choose values with the same one. That
// two have the same by chance happens once in 2⁶⁴ changes.
var keptSeed = maphash.MakeSeed()

// put writes one of the records of the state, if it has changed.
func (s *step) put(name byte, value []byte, kept *uint64) {
	if h := maphash.Bytes(keptSeed, value); h != *kept {
		s.env.Tx.Put([]byte{name}, value)
		*kept = h
	}
}

// erase removes all records; the connection is gone.
func (s *step) erase() {
	for i := range s.send {
		for _, m := range s.outbox(&s.send[i]) {
			if m != nil && len(m.body) > 0 {
				s.env.Bodies.Release(m.body)
			}
		}
	}
	var names [][]byte
	s.env.Tx.Scan(nil, nil, func(name, _ []byte) bool {
		names = append(names, append([]byte(nil), name...))
		return true
	})
	for _, name := range names {
		s.env.Tx.Delete(name)
	}
	*s.Conn = Conn{id: s.id, gone: true}
}

// ratchetOptions are those of every agreement: no KEM yet.
func (e Env) ratchetOptions() ratchet.Options {
	return ratchet.Options{MaxVersion: e.supports().ratchet}
}

func (e Env) ratchetRange() ratchet.VersionRange {
	return ratchet.VersionRange{Min: ratchet.MinVersion, Max: e.supports().ratchet}
}
