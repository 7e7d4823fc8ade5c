package oplog

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/internal/wire"
)

// Records: prefix · u32 index of admission → str16(body) · signature 64. Nothing else is stored of what is admitted;
// ranks and states come back by admitting the operations again in the same order. Behind them are the operations that
// could not be judged, in the order in which they came: prefix · u32 2³²-1 · u64 serial → u8 version(1) ·
// u8 flags (1 = handed over by somebody else than its author) · str16(body) · signature 64.

const keptVersion = 1

func (l *Log) store(tx kv.Tx, i int32) {
	if tx != nil {
		tx.Put(recordKey(l.prefix, uint32(i)), l.nodes[i].op.AppendSigned(nil))
	}
}

func recordKey(prefix []byte, i uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), prefix...), i)
}

func (l *Log) storeKept(tx kv.Tx, i int32) {
	if tx == nil {
		return
	}
	k := l.kept.nodes[i]
	b := []byte{keptVersion, 0}
	if k.vouched {
		b[1] = 1
	}
	tx.Put(keptKey(l.prefix, k.serial), k.op.AppendSigned(b))
}

func keptKey(prefix []byte, serial uint64) []byte {
	return wire.AppendU64(recordKey(prefix, math.MaxUint32), serial)
}

// Load reads a log that New, Add and Judge stored below prefix; no other keys may have that prefix. Admission is once for
// ever: neither signatures nor the rules of admission are checked again. ErrStore if there is no log or the records are
// damaged, with ErrVersion if a program that knows later versions wrote them.
func Load(tx kv.Tx, prefix []byte, options ...Option) (*Log, error) {
	var l *Log
	var err error
	var n uint32
	kept := string(recordKey(prefix, math.MaxUint32))
	tx.Scan(prefix, nil, func(key, value []byte) bool {
		switch {
		case l != nil && len(key) == len(kept)+8 && string(key[:len(kept)]) == kept:
			err = l.loadKept(binary.BigEndian.Uint64(key[len(kept):]), value)
		case string(key) != string(recordKey(prefix, n)):
			err = ErrStore
		default:
			l, err = l.loadAdmitted(prefix, value, options)
			n++
		}
		return err == nil
	})
	if err == nil && l == nil {
		err = ErrStore
	}
	if err != nil {
		return nil, err
	}
	l.count = Counters{}
	return l, nil
}

// loadAdmitted takes the next record of an admitted operation; the first makes the log.
func (l *Log) loadAdmitted(prefix, value []byte, options []Option) (*Log, error) {
	op, err := DecodeSigned(value)
	if err == nil && l != nil {
		op, err = op.read(l.known)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	case op.Action == nil:
		return nil, fmt.Errorf("%w: %w", ErrStore, ErrVersion)
	case op.isGenesis() != (l == nil):
		return nil, ErrStore
	case l != nil:
		return l, l.readmit(op)
	}
	l = start(prefix, op)
	for _, set := range options {
		set(l)
	}
	return l, nil
}

func (l *Log) readmit(op *Op) error {
	if l.admitted(op.id) || len(l.unknownParents(op)) > 0 {
		return ErrStore
	}
	x, st, ok := l.place(op, l.indexes(op.Parents))
	if !ok {
		return ErrStore
	}
	l.admit(x, st)
	return nil
}

// loadKept takes the record of an operation that could not be judged when it was stored.
func (l *Log) loadKept(serial uint64, value []byte) error {
	if len(value) < 2 || value[0] != keptVersion {
		return ErrStore
	}
	op, err := DecodeSigned(value[2:])
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if l.Has(op.id) || op.Group != l.Group() || len(l.unknownParents(op)) > 0 {
		return ErrStore
	}
	k := &keptOp{op: op, vouched: value[1]&1 != 0}
	k.past, k.kept = l.reach(op.Parents)
	l.kept.serial = serial
	l.insertKept(k)
	l.kept.ripe = l.kept.ripe || k.kept.n == 0 && op.version <= l.known
	return nil
}
