package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"

	agentstore "github.com/coterie-im/coterie/agent/store"
)

// kindDevices owns what is kept about the own devices. The number is stored, like those of the other kinds.
const kindDevices agentstore.Kind = 66

var (
	devices      = agentstore.Owner{Kind: kindDevices}
	keyOwn       = []byte("self")
	keyParcel    = []byte("parcel")
	keyNextItem  = []byte("next")
	prefixItem   = []byte("item/")
	prefixLink   = []byte("link/")
	prefixPiece  = []byte("piece/")
	prefixShared = []byte("shared/")
)

// Own is what is kept about oneself: the profile, and the group of the own devices. That a group is such a one stands here
// and nowhere else: nobody can say it from outside.
type Own struct {
	Profile json.RawMessage `json:"profile,omitempty"`
	Given   json.RawMessage `json:"given,omitempty"` // the profile that the program was started with last
	Stamp   Stamp           `json:"stamp,omitzero"`  // of the profile

	Group string `json:"group,omitempty"` // the agent's name of the group of devices; empty: there is none
	Self  string `json:"self,omitempty"`  // own member key there
	Begun int    `json:"begun,omitempty"` // how many such groups were begun here
	Clock uint64 `json:"clock,omitempty"` // the largest count of a stamp that was given or seen
}

// Own returns what is kept about oneself.
func (b *Batch) Own() (Own, error) {
	value, ok := b.tx.Records(devices).Get(keyOwn)
	if !ok {
		return Own{}, nil
	}
	return decode[Own](value)
}

// SetOwn stores it.
func (b *Batch) SetOwn(o Own) error { return b.put(keyOwn, o) }

func (b *Batch) put(key []byte, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b.tx.Records(devices).Put(key, value)
	return nil
}

// DeviceLink is a connection that is there to bring a device into the group of devices, and nothing else.
type DeviceLink struct {
	Connection   string `json:"connection"`
	Link         string `json:"link"`
	Made         bool   `json:"made,omitempty"`         // here; otherwise it was made on the other device
	Group        string `json:"group,omitempty"`        // the group of devices, if this device is in it
	Name         string `json:"name,omitempty"`         // of the device that joins
	Code         string `json:"code,omitempty"`         // shown by the device that joins, and known to it only
	Proof        []byte `json:"proof,omitempty"`        // that who used the link knows the code
	Confirmation string `json:"confirmation,omitempty"` // for the agent, once somebody used the link
	Confirmed    bool   `json:"confirmed,omitempty"`    // the code was typed here
	Invitation   string `json:"invitation,omitempty"`   // into the group of devices, once it was sent
	Member       string `json:"member,omitempty"`       // member key of the device, once it has accepted
}

// DeviceLink returns the record of a connection, if it is one for a device.
func (b *Batch) DeviceLink(connection string) (l DeviceLink, ok bool, err error) {
	value, ok := b.tx.Records(devices).Get(append(bytes.Clone(prefixLink), connection...))
	if !ok {
		return DeviceLink{}, false, nil
	}
	l, err = decode[DeviceLink](value)
	return l, err == nil, err
}

// PutDeviceLink stores the record of a connection for a device.
func (b *Batch) PutDeviceLink(l DeviceLink) error {
	return b.put(append(bytes.Clone(prefixLink), l.Connection...), l)
}

// DropDeviceLink removes it.
func (b *Batch) DropDeviceLink(connection string) {
	b.tx.Records(devices).Delete(append(bytes.Clone(prefixLink), connection...))
}

// DeviceLinks returns all of them.
func (b *Batch) DeviceLinks() (all []DeviceLink, err error) {
	return scan[DeviceLink](b, prefixLink)
}

func scan[T any](b *Batch, prefix []byte) (all []T, err error) {
	b.tx.Records(devices).Scan(prefix, nil, func(_, value []byte) bool {
		var v T
		if v, err = decode[T](value); err == nil {
			all = append(all, v)
		}
		return err == nil
	})
	return all, err
}

// Enqueue adds something that the other devices are to be told.
func (b *Batch) Enqueue(item []byte) {
	records := b.tx.Records(devices)
	var next uint64
	if v, ok := records.Get(keyNextItem); ok && len(v) == 8 {
		next = binary.BigEndian.Uint64(v)
	}
	records.Put(binary.BigEndian.AppendUint64(bytes.Clone(prefixItem), next), item)
	records.Put(keyNextItem, binary.BigEndian.AppendUint64(nil, next+1))
}

// Dequeue takes what was enqueued first, as long as take wants it.
func (b *Batch) Dequeue(take func(item []byte) bool) {
	records := b.tx.Records(devices)
	var taken [][]byte
	records.Scan(prefixItem, nil, func(key, value []byte) bool {
		if !take(value) {
			return false
		}
		taken = append(taken, bytes.Clone(key))
		return true
	})
	for _, key := range taken {
		records.Delete(key)
	}
}

// Enqueued returns how much waits.
func (b *Batch) Enqueued() (n int) {
	b.tx.Records(devices).Scan(prefixItem, nil, func(_, _ []byte) bool { n++; return true })
	return n
}

// Parcel is a message to the own devices that is being sent: until that is certain it is sent again, unchanged.
type Parcel struct {
	Group string `json:"group"`
	Key   string `json:"key"`
	Body  []byte `json:"body"`
}

// Parcel returns what is being sent.
func (b *Batch) Parcel() (p Parcel, ok bool, err error) {
	value, ok := b.tx.Records(devices).Get(keyParcel)
	if !ok {
		return Parcel{}, false, nil
	}
	p, err = decode[Parcel](value)
	return p, err == nil, err
}

// SetParcel stores what is being sent.
func (b *Batch) SetParcel(p Parcel) error { return b.put(keyParcel, p) }

// DropParcel forgets it.
func (b *Batch) DropParcel() { b.tx.Records(devices).Delete(keyParcel) }

// Shared notes what the other devices were told of a conversation, and returns whether that is new.
func (b *Batch) Shared(c Conversation, told string) bool {
	key := append(bytes.Clone(prefixShared), c.ID[:]...)
	if have, ok := b.tx.Records(devices).Get(key); ok && string(have) == told {
		return false
	}
	b.tx.Records(devices).Put(key, []byte(told))
	return true
}

// ForgetDevices removes what waits for other devices, and what they were told.
func (b *Batch) ForgetDevices() {
	records := b.tx.Records(devices)
	b.DropParcel()
	for _, prefix := range [][]byte{prefixItem, prefixPiece, prefixShared} {
		var keys [][]byte
		records.Scan(prefix, nil, func(key, _ []byte) bool {
			keys = append(keys, bytes.Clone(key))
			return true
		})
		for _, key := range keys {
			records.Delete(key)
		}
	}
}

// PutPiece keeps a piece of something that has not come whole, and returns all pieces of it. Of all together at most most
// are kept; those whose names come first go first.
func (b *Batch) PutPiece(whole string, number uint16, piece []byte, most int) (pieces [][]byte) {
	records := b.tx.Records(devices)
	prefix := append(append(bytes.Clone(prefixPiece), whole...), '/')
	records.Put(binary.BigEndian.AppendUint16(bytes.Clone(prefix), number), piece)
	var all [][]byte
	records.Scan(prefixPiece, nil, func(key, _ []byte) bool {
		all = append(all, bytes.Clone(key))
		return true
	})
	for i := range max(0, len(all)-most) {
		records.Delete(all[i])
	}
	records.Scan(prefix, nil, func(_, value []byte) bool {
		pieces = append(pieces, bytes.Clone(value))
		return true
	})
	return pieces
}

// DropPieces forgets the pieces of something.
func (b *Batch) DropPieces(whole string) {
	records := b.tx.Records(devices)
	var keys [][]byte
	records.Scan(append(append(bytes.Clone(prefixPiece), whole...), '/'), nil, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key))
		return true
	})
	for _, key := range keys {
		records.Delete(key)
	}
}

// Change is something that a batch has changed: a message, or a conversation.
type Change struct {
	Conversation Conversation
	Message      *Message // nil: the conversation itself
}

// Changes returns what the batch has changed so far, in order.
func (b *Batch) Changes() []Change { return b.changes }

// Settle forgets what has changed so far: it is dealt with.
func (b *Batch) Settle() { b.changes = nil }

// Adopt makes a conversation that was known from another device one of this one: ref is the agent's name of it now.
func (b *Batch) Adopt(c Conversation, ref string) (Conversation, error) {
	records := b.tx.Records(app)
	records.Delete(refKey(c.Kind, c.Ref))
	c.Ref, c.Remote, c.Device, c.Ended = ref, false, "", false
	records.Put(refKey(c.Kind, ref), c.ID[:])
	return c, b.Update(c)
}

// ByGenesis returns the newest conversation of a group that all its members call genesis, first among those of this
// device; ErrUnknown if there is none.
func (b *Batch) ByGenesis(genesis string) (Conversation, error) {
	all, err := b.Conversations()
	if err != nil {
		return Conversation{}, err
	}
	found, err := Conversation{}, ErrUnknown
	for _, c := range all {
		if c.Kind == Group && c.Genesis == genesis && (err != nil || !c.Remote || found.Remote) {
			found, err = c, nil
		}
	}
	return found, err
}
