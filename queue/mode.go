package queue

import "github.com/coterie-im/coterie/internal/wire"

// Mode says what a queue is for; it decides how the sender's key may be set.
type Mode byte

// The queue modes. Queues made at versions below 9 have none.
const (
	ModeNone      Mode = 0
	ModeMessaging Mode = 'M' // for one sender, who may secure it (SKEY)
	ModeContact   Mode = 'C' // for everybody who knows its address
)

// String returns "messaging", "contact" or "none".
func (m Mode) String() string {
	switch m {
	case ModeMessaging:
		return "messaging"
	case ModeContact:
		return "contact"
	default:
		return "none"
	}
}

// ReadMode reads the one letter of a mode; ModeNone has none.
func ReadMode(r *wire.Reader) Mode {
	switch m := Mode(r.U8()); m {
	case ModeMessaging, ModeContact:
		return m
	default:
		r.Fail("queue mode")
		return ModeNone
	}
}
