package store

import (
	"errors"
	"unsafe"
)

// errUnknownBody reports the use of a body that is not stored: a core released it too often.
var errUnknownBody = errors.New("body is not stored")

// Bodies returns the message bodies of the store as agent/conn uses them: each content is stored once and counted.
func (tx *Tx) Bodies() *Bodies { return &Bodies{tx: tx} }

// Bodies are message bodies that wait in one or many outboxes, within a transaction. A body that goes to all members of a
// group costs the store one row, and a transaction one write of it, however many uses begin and end.
type Bodies struct{ tx *Tx }

// bodyUses are the bodies that a transaction has to do with.
type bodyUses struct {
	all   map[string]*bodyUse // by reference
	order []*bodyUse          // in which they are written
	last  []byte              // what was added last; a fan-out adds one slice many times
	ref   []byte              // of last
}

type bodyUse struct {
	ref    []byte
	stored int64  // uses on disk
	uses   int64  // uses as the transaction leaves them
	body   []byte // content if it was needed
	known  bool   // the content is in body
}

// use returns a body's entry in the transaction, nil after a failure.
func (b *Bodies) use(ref []byte) *bodyUse {
	tx := b.tx
	if u, ok := tx.bodies.all[string(ref)]; ok {
		return u
	}
	u := &bodyUse{ref: ref}
	tx.row("find body", countBody, []any{ref}, &u.stored)
	if tx.err != nil {
		return nil
	}
	u.uses = u.stored
	if tx.bodies.all == nil {
		tx.bodies.all = map[string]*bodyUse{}
	}
	tx.bodies.all[string(ref)] = u
	tx.bodies.order = append(tx.bodies.order, u)
	return u
}

// Add stores a body, or counts one use more, and returns its reference. The caller does not change the body before the
// transaction ends.
func (b *Bodies) Add(body []byte) (ref []byte) {
	tx := b.tx
	if tx.dead() {
		return nil
	}
	last := &tx.bodies
	if len(body) == 0 || len(body) != len(last.last) || unsafe.SliceData(body) != unsafe.SliceData(last.last) {
		last.last, last.ref = body, tx.store.seals.body.tag(nil, body)
	}
	u := b.use(last.ref)
	if u == nil {
		return last.ref
	}
	tx.changed = true
	u.uses++
	u.body, u.known = body, true
	return last.ref
}

// Get returns a body; a reference that is not stored fails the transaction.
func (b *Bodies) Get(ref []byte) []byte {
	tx := b.tx
	if tx.dead() {
		return nil
	}
	u := b.use(ref)
	if u == nil {
		return nil
	}
	if u.uses <= 0 {
		tx.fail("read body", errUnknownBody)
		return nil
	}
	if u.known {
		return u.body
	}
	var sealed []byte
	if !tx.row("read body", getBody, []any{ref}, &sealed) {
		tx.fail("read body", errUnknownBody)
		return nil
	}
	body, err := tx.store.seals.body.open(ref, sealed)
	tx.fail("read body", err)
	u.body, u.known = body, err == nil
	return body
}

// Release takes one use back and removes the body after the last.
func (b *Bodies) Release(ref []byte) {
	tx := b.tx
	if tx.dead() {
		return
	}
	u := b.use(ref)
	if u == nil {
		return
	}
	if u.uses <= 0 {
		tx.fail("release body", errUnknownBody)
		return
	}
	tx.changed = true
	u.uses--
}

// writeBodies brings the uses to disk, before a commit.
func (tx *Tx) writeBodies() {
	for _, u := range tx.bodies.order {
		switch {
		case u.uses == u.stored:
		case u.uses == 0:
			tx.exec("drop body", dropBody, u.ref)
		case u.stored > 0:
			tx.exec("use body", useBody, u.uses, u.ref)
		default:
			sealed, err := tx.store.seals.body.seal(u.ref, u.body)
			if err != nil {
				tx.fail("store body", err)
				return
			}
			tx.exec("store body", putBody, u.ref, u.uses, sealed)
		}
	}
	tx.bodies = bodyUses{}
}
