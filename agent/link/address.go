package link

import (
	"slices"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

// Address is where a queue's sender finds it: the relay, and the queue's ID for senders (docs/protocol.md, "Links").
//
//	address = server str8(sender ID)
//	server  = list8(str8 host) str8(port) str8(fingerprint)
type Address struct {
	Server   queue.Server // the password is never part of an address
	SenderID queue.ID
}

// Same tells whether both name one queue: equal hosts in the same order, equal port and ID. Fingerprints do not count.
func (a Address) Same(b Address) bool {
	return slices.Equal(a.Server.Hosts, b.Server.Hosts) && a.Server.Port == b.Server.Port && a.SenderID == b.SenderID
}

// Append appends the address.
func (a Address) Append(dst []byte) []byte { return a.SenderID.Append(a.Server.Append(dst)) }

// ReadAddress reads an address.
func ReadAddress(r *wire.Reader) Address {
	return Address{Server: queue.ReadServer(r), SenderID: queue.ReadID(r)}
}

// Queue is the address of a queue as links and the add-queue message carry it: with a range of client versions, of
// which the sender chooses one.
//
//	queue = range address str8(X25519 SPKI) mode suffix
type Queue struct {
	Client queue.VersionRange
	Address
	DH   keys.Public // X25519 key of the recipient
	Mode queue.Mode
}

// At returns the queue information for one version out of the range.
func (q Queue) At(version queue.Version) Info {
	return Info{Version: version, Address: q.Address, DH: q.DH, Mode: q.Mode}
}

// Append appends the binary form.
func (q Queue) Append(dst []byte) []byte {
	dst = q.Client.Append(dst)
	dst = q.Address.Append(dst)
	dst = q.DH.Append(dst)
	messaging := q.Mode == queue.ModeMessaging
	switch {
	case q.Client.Min >= ClientQueueMode:
		return appendMode(dst, q.Mode)
	case q.Client.Min >= ClientSenderSecures, q.Client.Max >= ClientSenderSecures && messaging:
		return wire.AppendBool(dst, messaging)
	default:
		return dst
	}
}

// ReadQueue reads the binary form.
func ReadQueue(r *wire.Reader) Queue {
	return Queue{
		Client:  queue.ReadVersionRange(r),
		Address: ReadAddress(r),
		DH:      keys.Read(r, keys.X25519),
		Mode:    readModeSuffix(r),
	}
}

// Info is the address of a queue for the one client version that was agreed: in confirmations and in the queue-key
// message.
//
//	version ≥ 4   version address str8(X25519 SPKI) ["M" | "C"]
//	version 3     version address str8(X25519 SPKI) ["T"]          T: messaging
//	version 2     version address str8(X25519 SPKI)
//	version 1     version str8(first host) str8(port) str8(fingerprint) str8(sender ID) str8(X25519 SPKI)
//
// A missing suffix is not marked, so that a reader takes the first byte of what follows for it if that is M, C, T or F.
// Whoever writes something behind it that may start so, as connection info may, should have version 4 and a mode.
type Info struct {
	Version queue.Version
	Address
	DH   keys.Public // X25519 key: the recipient's, in the queue-key message the sender's
	Mode queue.Mode
}

// Append appends the binary form.
func (i Info) Append(dst []byte) []byte {
	dst = wire.AppendU16(dst, uint16(i.Version))
	if i.Version < ClientManyHosts {
		dst = wire.AppendStr8(dst, []byte(i.Server.Hosts[0]))
		dst = wire.AppendStr8(dst, []byte(i.Server.Port))
		dst = wire.AppendStr8(dst, i.Server.Fingerprint[:])
		dst = i.SenderID.Append(dst)
	} else {
		dst = i.Address.Append(dst)
	}
	dst = i.DH.Append(dst)
	switch {
	case i.Version >= ClientQueueMode:
		return appendMode(dst, i.Mode)
	case i.Version == ClientSenderSecures && i.Mode == queue.ModeMessaging:
		return wire.AppendBool(dst, true)
	default:
		return dst
	}
}

// ReadInfo reads the binary form.
func ReadInfo(r *wire.Reader) Info {
	i := Info{Version: queue.Version(r.U16())}
	if i.Version < ClientManyHosts {
		i.Address = readSingleHost(r)
	} else {
		i.Address = ReadAddress(r)
	}
	i.DH = keys.Read(r, keys.X25519)
	i.Mode = readModeSuffix(r)
	return i
}

// readSingleHost reads an address of version 1, whose host is not a list.
func readSingleHost(r *wire.Reader) Address {
	host, port, fingerprint := string(r.Str8()), string(r.Str8()), r.Str8()
	a := Address{SenderID: queue.ReadID(r)}
	if r.Err() == nil && !(queue.ValidHost(host) && queue.ValidPort(port) && len(fingerprint) == queue.FingerprintSize) {
		r.Fail("relay address of version 1")
	}
	if r.Err() != nil {
		return Address{}
	}
	a.Server = queue.Server{Fingerprint: [queue.FingerprintSize]byte(fingerprint), Hosts: []string{host}, Port: port}
	return a
}

// appendMode appends the letter of a mode; no mode is no byte.
func appendMode(dst []byte, m queue.Mode) []byte {
	if m == queue.ModeNone {
		return dst
	}
	return append(dst, byte(m))
}

// readModeSuffix reads what any version may have written, whatever the version is. Any other byte belongs to what
// follows.
func readModeSuffix(r *wire.Reader) queue.Mode {
	m := queue.ModeNone
	switch b, _ := r.Peek(); b {
	case 'M', 'T':
		m = queue.ModeMessaging
	case 'C', 'F':
		m = queue.ModeContact
	default:
		return m
	}
	r.U8()
	return m
}
