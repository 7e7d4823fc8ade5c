package oplog

import (
	"encoding/binary"
	"fmt"

	"github.com/coterie-im/coterie/internal/kv"
)

// Records: prefix · u32 index of admission → str16(body) · signature 64. Nothing else is stored; ranks and states come
// back by admitting the operations again in the same order.

func (l *Log) store(tx kv.Tx, i int32) {
	if tx != nil {
		tx.Put(recordKey(l.prefix, uint32(i)), l.nodes[i].op.AppendSigned(nil))
	}
}

func recordKey(prefix []byte, i uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), prefix...), i)
}

// Load reads a log that New and Add stored below prefix; no other keys may have that prefix. Admission is once for ever:
// neither signatures nor the rules of admission are checked again. ErrStore if there is no log or the records are
// damaged.
func Load(tx kv.Tx, prefix []byte) (*Log, error) {
	var l *Log
	var err error
	var n uint32
	tx.Scan(prefix, nil, func(key, value []byte) bool {
		if string(key) != string(recordKey(prefix, n)) {
			err = ErrStore
			return false
		}
		op, bad := DecodeSigned(value)
		switch {
		case bad != nil:
			err = fmt.Errorf("%w: %w", ErrStore, bad)
		case op.isGenesis() != (n == 0):
			err = ErrStore
		case n == 0:
			l = start(prefix, op)
		default:
			err = l.readmit(op)
		}
		n++
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

func (l *Log) readmit(op *Op) error {
	if _, known := l.byID[op.id]; known || len(l.unknownParents(op)) > 0 {
		return ErrStore
	}
	x, st, ok := l.place(op, l.indexes(op.Parents))
	if !ok {
		return ErrStore
	}
	l.admit(x, st)
	return nil
}
