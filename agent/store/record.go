package store

import (
	"bytes"
	"database/sql"
	"slices"
	"strings"

	"github.com/coterie-im/coterie/internal/kv"
)

// Kind says what sort of thing owns records.
type Kind uint8

// The kinds of owners. Numbers are stored: never change or reuse one.
const (
	// Agent is the agent itself; its only owner has the empty ID.
	Agent Kind = iota + 1
	// Connection is a connection, by its ID.
	Connection
	// Group is a group, by its local ID.
	Group
	// Direct is the direct-connection core of a group, by the group's local ID.
	Direct
)

// Owner names who records belong to.
type Owner struct {
	Kind Kind
	ID   string // up to 255 bytes
}

// Records returns an owner's records; the owner appears with the first Put.
func (tx *Tx) Records(o Owner) kv.Tx { return &records{tx: tx, owner: o} }

// Owners returns the IDs of the owners of a kind, oldest first.
func (tx *Tx) Owners(k Kind) (ids []string) {
	tx.rows("list owners", listOwners, func(r *sql.Rows) error {
		var n uint64
		var tag, hidden []byte
		if err := r.Scan(&n, &tag, &hidden); err != nil {
			return err
		}
		name, err := tx.store.seals.owner.reveal([]byte{byte(k)}, tag, hidden)
		ids = append(ids, string(name))
		return err
	}, k)
	return ids
}

// HasOwner tells whether an owner has, or had, records and was not deleted.
func (tx *Tx) HasOwner(o Owner) bool {
	_, ok := tx.ownerNumber(o)
	return ok
}

// DeleteOwner removes an owner with all its records.
func (tx *Tx) DeleteOwner(o Owner) {
	n, ok := tx.ownerNumber(o)
	if !ok {
		return
	}
	tx.forgetOwner(n)
	tx.exec("delete records", deleteRecords, n)
	tx.exec("delete owner", deleteOwner, n)
	delete(tx.store.owners, o)
	tx.index.forget(n)
}

func (tx *Tx) ownerNumber(o Owner) (n uint64, ok bool) {
	if tx.dead() {
		return 0, false
	}
	if tx.writable {
		n, ok = tx.store.owners[o]
	} else {
		n, ok = tx.owners[o]
	}
	if ok {
		return n, true
	}
	tag := tx.store.seals.owner.tag([]byte{byte(o.Kind)}, []byte(o.ID))
	if !tx.row("find owner", getOwner, []any{o.Kind, tag}, &n) {
		return 0, false
	}
	tx.remember(o, n)
	return n, true
}

func (tx *Tx) remember(o Owner, n uint64) {
	if !tx.writable {
		if tx.owners == nil {
			tx.owners = map[Owner]uint64{}
		}
		tx.owners[o] = n
		return
	}
	if len(tx.store.owners) >= maxOwners {
		clear(tx.store.owners)
	}
	tx.store.owners[o] = n
}

func (tx *Tx) makeOwner(o Owner) (n uint64, ok bool) {
	if n, ok = tx.ownerNumber(o); ok {
		return n, true
	}
	if tx.dead() {
		return 0, false
	}
	c := tx.store.seals.owner
	tag := c.tag([]byte{byte(o.Kind)}, []byte(o.ID))
	res := tx.exec("make owner", putOwner, o.Kind, tag, c.conceal(tag, []byte(o.ID)))
	if res == nil {
		return 0, false
	}
	id, err := res.LastInsertId()
	if err != nil {
		tx.fail("make owner", err)
		return 0, false
	}
	tx.remember(o, uint64(id))
	tx.made = append(tx.made, o)
	return uint64(id), true
}

// records is one owner's kv.Tx. Keys are found by their tags; only their first byte is kept readable, so that the
// names of one class can be listed without the others.
type records struct {
	tx    *Tx
	owner Owner
}

// maxOwners bounds how many owners' numbers are remembered; above it all are looked up again by need.
const maxOwners = 100_000

func class(key []byte) int {
	if len(key) == 0 {
		return -1
	}
	return int(key[0])
}

// rowOf is the associated data of a value.
func rowOf(owner uint64, tag []byte) []byte { return append(number(owner), tag...) }

// Get implements kv.Tx.
func (r *records) Get(key []byte) ([]byte, bool) {
	n, ok := r.tx.ownerNumber(r.owner)
	if !ok {
		return nil, false
	}
	return r.get(n, key)
}

func (r *records) get(n uint64, key []byte) ([]byte, bool) {
	tx := r.tx
	if tx.dead() {
		return nil, false
	}
	if value, ok := tx.recent(n, key); ok {
		return value, value != nil
	}
	if tx.dead() {
		return nil, false // the journal could not be read
	}
	tag := tx.store.seals.record.tag(number(n), key)
	var sealed []byte
	if !tx.row("read record", getRecord, []any{n, class(key), tag}, &sealed) {
		return nil, false
	}
	value, err := tx.store.seals.value.open(rowOf(n, tag), sealed)
	tx.fail("read record", err)
	return value, err == nil
}

// Put implements kv.Tx.
func (r *records) Put(key, value []byte) {
	tx := r.tx
	n, ok := tx.makeOwner(r.owner)
	if !ok {
		return
	}
	tx.change(n, key, append(make([]byte, 0, len(value)), value...))
	tx.index.add(n, key)
}

// Delete implements kv.Tx.
func (r *records) Delete(key []byte) {
	n, ok := r.tx.ownerNumber(r.owner)
	if !ok {
		return
	}
	r.tx.change(n, key, nil)
	r.tx.index.remove(n, key)
}

// Scan implements kv.Tx.
func (r *records) Scan(prefix, from []byte, yield func(key, value []byte) bool) {
	n, ok := r.tx.ownerNumber(r.owner)
	if !ok {
		return
	}
	first, last := class(prefix), class(prefix)
	if len(prefix) == 0 {
		first, last = class(from), 255
	}
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	for c := first; c <= last; c++ {
		names := r.names(n, c)
		at, _ := slices.BinarySearch(names, string(from))
		for _, name := range names[at:] {
			if !strings.HasPrefix(name, string(prefix)) {
				return
			}
			value, ok := r.get(n, []byte(name))
			if !ok || !yield([]byte(name), value) {
				return
			}
		}
	}
}

// names returns the sorted keys of a class of an owner.
func (r *records) names(n uint64, c int) []string {
	if names, ok := r.tx.index.get(n, c); ok {
		return names
	}
	var names []string
	r.tx.rows("list records", listRecords, func(rows *sql.Rows) error {
		var tag, hidden []byte
		if err := rows.Scan(&tag, &hidden); err != nil {
			return err
		}
		name, err := r.tx.store.seals.record.reveal(number(n), tag, hidden)
		names = append(names, string(name))
		return err
	}, n, c)
	if r.tx.err != nil {
		return nil
	}
	names = r.tx.addRecent(n, c, names)
	if r.tx.err != nil {
		return nil
	}
	r.tx.index.set(n, c, names)
	return names
}
