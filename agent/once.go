package agent

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

const (
	onceKept      = 14 * 24 * time.Hour // how long results are kept for repeats
	cleanInterval = time.Hour
)

// onceRecord is the result of a call that was given a key.
type onceRecord struct {
	Call   []byte          `json:"call"` // hash of the call's name and arguments
	At     time.Time       `json:"at"`
	Result json.RawMessage `json:"result"`
}

// once runs a call that creates something, or returns what it returned when it was run before with the same key. A call
// without a key is always run. name and arguments must be those of the repeat, else ErrKeyReused. Results are kept two
// weeks.
func once[T any](t *turn, key, name string, arguments any, run func() (T, error)) (result T, err error) {
	if key == "" {
		return run()
	}
	args, err := json.Marshal(arguments)
	if err != nil {
		return result, fmt.Errorf("arguments of %s: %w", name, err)
	}
	hash := sha256.Sum256(append([]byte(name+"\x00"), args...))
	at := sha256.Sum256([]byte(key))
	record := recordKey(classOnce, string(at[:]))
	var have onceRecord
	if t.get(record, &have) {
		if !slices.Equal(have.Call, hash[:]) {
			return result, ErrKeyReused
		}
		err = json.Unmarshal(have.Result, &result)
		return result, err
	}
	if result, err = run(); err != nil {
		return result, err
	}
	b, err := json.Marshal(result)
	if err != nil {
		return result, fmt.Errorf("result of %s: %w", name, err)
	}
	t.put(record, onceRecord{Call: hash[:], At: t.now, Result: b})
	return result, nil
}

// clean is the hourly housekeeping.
func (t *turn) clean() error {
	var old [][]byte
	t.records().Scan([]byte{classOnce}, nil, func(k, v []byte) bool {
		var r onceRecord
		if json.Unmarshal(v, &r) != nil || t.now.Sub(r.At) > onceKept {
			old = append(old, slices.Clone(k))
		}
		return true
	})
	for _, k := range old {
		t.drop(k)
	}
	t.onCommit(func() {
		t.loop.cleanAt = t.now.Add(cleanInterval)
		t.closeIdle()
	})
	return nil
}
