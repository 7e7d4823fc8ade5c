package store

import (
	"cmp"
	"database/sql"
	"fmt"
	"slices"

	"github.com/coterie-im/coterie/internal/wire"
)

// A transaction that changes many records, as a message to a large group does, would write a page for nearly each of
// them. It writes one row instead, an entry of the journal, which is sealed as a whole: that is what makes it durable.
// The content of the journal is kept in memory beside the table of records and goes there later, when it has grown, when
// it has been there for some time (Tx.Fold), and when the store is opened or closed; what was changed many times until
// then is written once.
//
// An entry, before it is sealed:
//
//	format(1)  u32 count, u64 number: owners that were deleted
//	until the end: u64 owner  u32 length, key  0, or 1 u32 length, value: a record that was deleted, or written
const journalFormat = 1

// journalLimits say when there is a journal. They are the same for every store but those of tests.
type journalLimits struct {
	from int // records that a transaction changes at least for a journal to be begun
	rows int // a transaction that would pass this or size moves everything to the table
	size int // bytes
}

var usualJournal = journalLimits{from: 16, rows: 512, size: 16 << 20}

// changes are records as they have become, by owner and key; nil: deleted.
type changes map[uint64]map[string][]byte

func (c changes) set(owner uint64, key string, value []byte) {
	of := c[owner]
	if of == nil {
		of = map[string][]byte{}
		c[owner] = of
	}
	of[key] = value
}

// journal is what the rows of the journal say together.
type journal struct {
	records changes
	rows    int
	size    int // of the entries, in bytes
}

// recordID names a record.
type recordID struct {
	owner uint64
	key   string
}

// pending are the records that a transaction has changed and not written.
type pending struct {
	list   []pendingRecord // in the order of the first changes
	at     map[recordID]int
	dead   []uint64 // owners with records in the journal that were deleted
	fold   bool     // move the journal to the table
	folded bool     // that was done
	entry  int      // size of the entry that was added to the journal, 0: none
}

// pendingRecord is a record that has changed; nil: it was deleted.
type pendingRecord struct {
	recordID
	value []byte
}

const (
	maxSpareRecords = 1 << 13 // pending records whose memory is used again
	maxSpareEntry   = 4 << 20 // bytes of an entry, likewise
)

// reset empties p and keeps its memory for the next transaction, unless it is much.
func (p *pending) reset() {
	list, at := p.list, p.at
	clear(list)
	if len(list) > maxSpareRecords {
		list, at = nil, nil
	}
	clear(at)
	*p = pending{list: list[:0], at: at}
}

// value returns a record as it has become.
func (p *pending) value(owner uint64, key []byte) (value []byte, ok bool) {
	i, ok := p.at[recordID{owner, string(key)}]
	if !ok {
		return nil, false
	}
	return p.list[i].value, true
}

// recent returns a record that the table does not know yet, nil if it was deleted.
func (tx *Tx) recent(owner uint64, key []byte) (value []byte, ok bool) {
	if value, ok = tx.pending.value(owner, key); ok {
		return value, true
	}
	value, ok = tx.journaled()[owner][string(key)]
	return value, ok
}

// journaled returns what the journal says to this transaction.
func (tx *Tx) journaled() changes {
	if tx.writable {
		return tx.store.journal.records
	}
	if tx.journal == nil {
		tx.journal = &journal{}
		tx.loadJournal(tx.journal)
	}
	return tx.journal.records
}

// change notes a record to be written, or to be deleted if value is nil.
func (tx *Tx) change(owner uint64, key, value []byte) {
	if !tx.writable {
		panic("store: write in a read-only transaction")
	}
	tx.changed = true
	p := &tx.pending
	if i, again := p.at[recordID{owner, string(key)}]; again {
		p.list[i].value = value
		return
	}
	if p.at == nil {
		p.at = map[recordID]int{}
	}
	id := recordID{owner, string(key)}
	p.at[id] = len(p.list)
	p.list = append(p.list, pendingRecord{id, value})
}

// forgetOwner drops what is pending for an owner that is deleted, and what the journal says of it.
func (tx *Tx) forgetOwner(owner uint64) {
	p := &tx.pending
	if slices.ContainsFunc(p.list, func(r pendingRecord) bool { return r.owner == owner }) {
		p.list = slices.DeleteFunc(p.list, func(r pendingRecord) bool { return r.owner == owner })
		clear(p.at)
		for i, r := range p.list {
			p.at[r.recordID] = i
		}
	}
	if len(tx.store.journal.records[owner]) > 0 {
		p.dead = append(p.dead, owner)
	}
}

// addRecent brings the names of a class that the table has up to date.
func (tx *Tx) addRecent(owner uint64, c int, names []string) []string {
	gone := map[string]bool{} // what has changed
	for key, value := range tx.journaled()[owner] {
		if class([]byte(key)) == c {
			gone[key] = value == nil
		}
	}
	for _, r := range tx.pending.list {
		if r.owner == owner && class([]byte(r.key)) == c {
			gone[r.key] = r.value == nil
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, changed := gone[name]
		return changed
	})
	for key, deleted := range gone {
		if !deleted {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return names
}

// Fold moves the content of the journal to the table of records with this transaction. Until then the file holds former
// values of records, used keys of ratchets among them, so it must not be put off for long.
func (tx *Tx) Fold() {
	if tx.dead() || tx.store.journal.rows == 0 {
		return
	}
	tx.pending.fold, tx.changed = true, true
}

// Journal tells whether the journal holds anything, see Tx.Fold. It is for the goroutine that begins transactions.
func (s *Store) Journal() bool { return s.journal.rows > 0 }

// writeRecords brings pending changes to disk, before a commit.
func (tx *Tx) writeRecords() {
	p, j, limits := &tx.pending, &tx.store.journal, &tx.store.limits
	changed := len(p.list) + len(p.dead)
	tx.store.written.Records += len(p.list)
	size := p.size()
	switch {
	case tx.dead() || changed == 0 && !p.fold:
	case j.rows == 0 && changed < limits.from:
		for _, r := range p.list {
			tx.writeRecord(r)
		}
	case p.fold || j.rows >= limits.rows || j.size+size > limits.size:
		tx.foldJournal()
	default:
		tx.appendJournal(size)
	}
}

// foldJournal writes what the journal says, as this transaction leaves it, and empties the journal.
func (tx *Tx) foldJournal() {
	p, j := &tx.pending, &tx.store.journal
	all := slices.Clone(p.list)
	for owner, records := range j.records {
		if slices.Contains(p.dead, owner) {
			continue
		}
		for key, value := range records {
			if _, again := p.at[recordID{owner, key}]; !again {
				all = append(all, pendingRecord{recordID{owner, key}, value})
			}
		}
	}
	slices.SortFunc(all, func(x, y pendingRecord) int { return cmp.Or(cmp.Compare(x.owner, y.owner), cmp.Compare(x.key, y.key)) })
	for _, r := range all {
		tx.writeRecord(r)
	}
	if j.rows > 0 {
		tx.exec("empty journal", dropJournal)
	}
	p.folded = true
}

// writeRecord writes a record to the table, or deletes it there.
func (tx *Tx) writeRecord(r pendingRecord) {
	c, key, context := tx.store.seals.record, []byte(r.key), number(r.owner)
	tag := c.tag(context, key)
	if r.value == nil {
		tx.exec("delete record", deleteRecord, r.owner, class(key), tag)
		return
	}
	sealed, err := tx.store.seals.value.seal(rowOf(r.owner, tag), r.value)
	if err != nil {
		tx.fail("write record", err)
		return
	}
	tx.exec("write record", putRecord, r.owner, class(key), tag, c.conceal(tag, key), sealed)
}

// appendJournal writes pending changes as an entry of the journal.
func (tx *Tx) appendJournal(size int) {
	s := tx.store
	s.journalSeq++ // also lost by a rollback: a number is sealed with an entry
	entry := tx.pending.append(slices.Grow(s.spareEntry[:0], size))
	sealed, err := s.seals.journal.appendSealed(s.spareSealed[:0], number(s.journalSeq), entry)
	clear(entry)
	if err != nil {
		tx.fail("write journal", err)
		return
	}
	tx.exec("write journal", putJournal, s.journalSeq, sealed)
	tx.pending.entry = size
	if s.spareEntry, s.spareSealed = entry, sealed; size > maxSpareEntry {
		s.spareEntry, s.spareSealed = nil, nil
	}
}

// journalCommitted takes over what the transaction has written.
func (tx *Tx) journalCommitted() {
	p, j := &tx.pending, &tx.store.journal
	switch {
	case p.folded:
		*j = journal{}
	case p.entry > 0:
		j.add(p.dead, p.list)
		j.rows, j.size = j.rows+1, j.size+p.entry
	}
}

// endPending leaves the memory of what was pending to the next transaction.
func (tx *Tx) endPending() {
	p := tx.pending
	tx.pending = pending{}
	p.reset()
	tx.store.spare = p
}

// add takes in what an entry says.
func (j *journal) add(dead []uint64, records []pendingRecord) {
	for _, owner := range dead {
		delete(j.records, owner)
	}
	if j.records == nil {
		j.records = changes{}
	}
	for _, r := range records {
		j.records.set(r.owner, r.key, r.value)
	}
}

// loadJournal reads the rows of the journal.
func (tx *Tx) loadJournal(j *journal) {
	tx.rows("read journal", listJournal, func(r *sql.Rows) error {
		var seq uint64
		var sealed []byte
		if err := r.Scan(&seq, &sealed); err != nil {
			return err
		}
		entry, err := tx.store.seals.journal.open(number(seq), sealed)
		if err != nil {
			return err
		}
		dead, records, err := decodeEntry(entry)
		if err != nil {
			return err
		}
		j.add(dead, records)
		j.rows, j.size = j.rows+1, j.size+len(entry)
		return nil
	})
}

// openJournal empties a journal that the last process has left.
func (s *Store) openJournal() error {
	tx, err := s.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	tx.row("last journal entry", lastJournal, nil, &s.journalSeq)
	tx.loadJournal(&s.journal)
	tx.Fold()
	return tx.Commit()
}

// closeJournal empties the journal. If that fails the next Open does it.
func (s *Store) closeJournal() {
	if s.open || s.conn == nil || s.statements == nil || s.journal.rows == 0 {
		return
	}
	if tx, err := s.Begin(); err == nil {
		tx.Fold()
		_ = tx.Commit()
	}
}

const recordHead = 8 + 4 + 1 // owner, length of the key, deleted or not

// size is the length of what append appends.
func (p *pending) size() int {
	n := 1 + 4 + 8*len(p.dead)
	for _, r := range p.list {
		n += recordHead + len(r.key)
		if r.value != nil {
			n += 4 + len(r.value)
		}
	}
	return n
}

func (p *pending) append(dst []byte) []byte {
	dst = wire.AppendU32(append(dst, journalFormat), uint32(len(p.dead)))
	for _, owner := range p.dead {
		dst = wire.AppendU64(dst, owner)
	}
	for _, r := range p.list {
		dst = wire.AppendU32(wire.AppendU64(dst, r.owner), uint32(len(r.key)))
		dst = append(dst, r.key...)
		if r.value == nil {
			dst = append(dst, 0)
			continue
		}
		dst = append(wire.AppendU32(append(dst, 1), uint32(len(r.value))), r.value...)
	}
	return dst
}

// decodeEntry reads what append wrote; ErrDamaged for everything else.
func decodeEntry(b []byte) (dead []uint64, records []pendingRecord, err error) {
	r := wire.NewReader(b)
	if r.U8() != journalFormat {
		return nil, nil, fmt.Errorf("%w: unknown format of the journal", ErrDamaged)
	}
	for n := r.U32(); n > 0 && r.Err() == nil; n-- {
		dead = append(dead, r.U64())
	}
	for r.Err() == nil && r.Len() > 0 {
		owner := r.U64()
		key := string(r.Fixed(int(r.U32())))
		var value []byte
		switch r.U8() {
		case 0:
		case 1:
			value = append([]byte{}, r.Fixed(int(r.U32()))...)
		default:
			r.Fail("record of the journal")
		}
		records = append(records, pendingRecord{recordID{owner, key}, value})
	}
	if err := r.Done(); err != nil {
		return nil, nil, fmt.Errorf("%w: journal: %w", ErrDamaged, err)
	}
	return dead, records, nil
}
