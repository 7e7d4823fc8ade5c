package store

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/coterie-im/coterie/internal/wire"
)

// How a store is sealed. A random master key is wrapped by a key that comes from the passphrase (Argon2id) or the raw
// key (HKDF). Every column has two keys of its own, derived from the master key with HKDF-SHA256.
//
//   - Content (values, bodies, events, routes, entries of the journal) is XChaCha20-Poly1305 with a random nonce. Table, column and row are
//     associated data, so that content moved to another place does not open.
//   - Names (owners, record keys, cursors) must be found again, so they are hidden deterministically in the manner of
//     SIV (RFC 5297): tag = keyed BLAKE2b-192 over context and name; the stored name is XORed with XChaCha20 under
//     the tag as nonce. Equal names within one context look equal, nothing else shows but their length.
const (
	masterSize = 32
	tagSize    = chacha20.NonceSizeX
)

// column is one sealed column.
type column struct {
	place []byte // table and column, first part of the associated data
	aead  cipher.AEAD
	mac   []byte // key of tags
	hide  []byte // key of the stream that hides names
	rand  io.Reader
}

// seals are the columns of one store.
type seals struct {
	owner, record, value, body, event, cursor, route, journal *column
	all                                                       []*column
}

func newSeals(master []byte, random io.Reader) *seals {
	s := &seals{}
	for place, at := range map[string]**column{
		"owner.name": &s.owner, "record.name": &s.record, "record.value": &s.value, "body.sealed": &s.body,
		"event.sealed": &s.event, "cursor.name": &s.cursor, "route.sealed": &s.route,
		"journal.sealed": &s.journal,
	} {
		content := expand(master, nil, "coterie/store/content/1/"+place)
		aead, err := chacha20poly1305.NewX(content)
		if err != nil {
			panic(err) // wrong key length cannot happen
		}
		clear(content)
		*at = &column{
			place: []byte(place),
			aead:  aead,
			mac:   expand(master, nil, "coterie/store/tag/1/"+place),
			hide:  expand(master, nil, "coterie/store/name/1/"+place),
			rand:  random,
		}
		s.all = append(s.all, *at)
	}
	return s
}

func (s *seals) clear() {
	for _, c := range s.all {
		clear(c.mac)
		clear(c.hide)
	}
}

// expand is HKDF-SHA256 to 32 bytes.
func expand(secret, salt []byte, info string) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, info, masterSize)
	if err != nil {
		panic(err) // only for lengths that are not used here
	}
	return key
}

// seal returns nonce and box of content for a row.
func (c *column) seal(row, content []byte) ([]byte, error) {
	return c.appendSealed(nil, row, content)
}

// appendSealed appends what seal returns.
func (c *column) appendSealed(dst, row, content []byte) ([]byte, error) {
	dst = slices.Grow(dst, chacha20poly1305.NonceSizeX+len(content)+chacha20poly1305.Overhead)
	nonce := dst[len(dst) : len(dst)+chacha20poly1305.NonceSizeX]
	if _, err := io.ReadFull(c.rand, nonce); err != nil {
		return dst, fmt.Errorf("random nonce: %w", err)
	}
	return c.aead.Seal(dst[:len(dst)+len(nonce)], nonce, content, c.associated(row)), nil
}

// open is the reverse of seal; ErrDamaged if the content is not what was sealed for this row.
func (c *column) open(row, sealed []byte) ([]byte, error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return nil, fmt.Errorf("%w: %s too short", ErrDamaged, c.place)
	}
	nonce, box := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	content, err := c.aead.Open(nil, nonce, box, c.associated(row))
	if err != nil {
		return nil, fmt.Errorf("%w: %s does not open", ErrDamaged, c.place)
	}
	return content, nil
}

func (c *column) associated(row []byte) []byte {
	return append(wire.AppendStr8(make([]byte, 0, 1+len(c.place)+len(row)), c.place), row...)
}

// tag names a name within its context.
func (c *column) tag(context, name []byte) []byte {
	var h hash.Hash
	h, err := blake2b.New(tagSize, c.mac)
	if err != nil {
		panic(err) // only for lengths that are not used here
	}
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(context)))
	h.Write(length[:])
	h.Write(context)
	h.Write(name)
	return h.Sum(nil)
}

// conceal hides a name whose tag is known; it is its own reverse.
func (c *column) conceal(tag, name []byte) []byte {
	stream, err := chacha20.NewUnauthenticatedCipher(c.hide, tag)
	if err != nil {
		panic(err) // only for lengths that are not used here
	}
	out := make([]byte, len(name))
	stream.XORKeyStream(out, name)
	return out
}

// reveal returns a name and checks it against its tag.
func (c *column) reveal(context, tag, hidden []byte) ([]byte, error) {
	if len(tag) != tagSize {
		return nil, fmt.Errorf("%w: %s", ErrDamaged, c.place)
	}
	name := c.conceal(tag, hidden)
	if subtle.ConstantTimeCompare(c.tag(context, name), tag) != 1 {
		return nil, fmt.Errorf("%w: %s does not open", ErrDamaged, c.place)
	}
	return name, nil
}

// Names in the meta table.
const (
	metaDerivation = "derivation" // u32 time, u32 memory, u8 threads, str8 salt
	metaMaster     = "master"     // nonce and box of the master key
)

// unseal opens the master key of the store, or makes one for a new store.
func unseal(c *sql.Conn, key Key, random io.Reader) (*seals, error) {
	ctx := context.Background()
	var params, wrapped []byte
	err := c.QueryRowContext(ctx, "SELECT a.value, b.value FROM meta a, meta b WHERE a.name = ? AND b.name = ?",
		metaDerivation, metaMaster).Scan(&params, &wrapped)
	if errors.Is(err, sql.ErrNoRows) {
		master := make([]byte, masterSize)
		defer clear(master)
		if _, err := io.ReadFull(random, master); err != nil {
			return nil, fmt.Errorf("master key: %w", err)
		}
		if err := wrap(c, key, master, random); err != nil {
			return nil, err
		}
		return newSeals(master, random), nil
	}
	if err != nil {
		return nil, describe("read master key", err)
	}
	master, err := unwrap(key, params, wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(master)
	return newSeals(master, random), nil
}

func unwrap(key Key, params, wrapped []byte) ([]byte, error) {
	r := wire.NewReader(params)
	d := derivation{time: r.U32(), memory: r.U32(), threads: r.U8(), salt: r.Str8()}
	if r.Done() != nil || d.time > maxArgonTime || d.memory > maxArgonMemory || (d.time > 0 && d.threads == 0) {
		return nil, fmt.Errorf("%w: parameters of the key derivation", ErrDamaged)
	}
	k, err := key.wrappingKey(d)
	if err != nil {
		return nil, err
	}
	defer clear(k)
	aead, err := chacha20poly1305.NewX(k)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if len(wrapped) != aead.NonceSize()+masterSize+aead.Overhead() {
		return nil, fmt.Errorf("%w: master key", ErrDamaged)
	}
	master, err := aead.Open(nil, wrapped[:aead.NonceSize()], wrapped[aead.NonceSize():], params)
	if err != nil {
		return nil, ErrKey
	}
	return master, nil
}

// wrap stores the master key under key, with a new salt.
func wrap(c *sql.Conn, key Key, master []byte, random io.Reader) error {
	d := derivation{salt: make([]byte, 16)}
	if len(key.passphrase) > 0 {
		d.time, d.memory, d.threads = argonTime, argonMemory, argonThreads
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	for _, b := range [][]byte{d.salt, nonce} {
		if _, err := io.ReadFull(random, b); err != nil {
			return fmt.Errorf("master key: %w", err)
		}
	}
	k, err := key.wrappingKey(d)
	if err != nil {
		return err
	}
	defer clear(k)
	params := wire.AppendU32(wire.AppendU32(nil, d.time), d.memory)
	params = wire.AppendStr8(append(params, d.threads), d.salt)
	aead, err := chacha20poly1305.NewX(k)
	if err != nil {
		return fmt.Errorf("master key: %w", err)
	}
	ctx := context.Background()
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return describe("store master key", err)
	}
	defer func() { _ = tx.Rollback() }()
	for name, value := range map[string][]byte{metaDerivation: params, metaMaster: aead.Seal(nonce, nonce, master, params)} {
		if _, err := tx.ExecContext(ctx, "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", name, value); err != nil {
			return describe("store master key", err)
		}
	}
	return describe("store master key", tx.Commit())
}

// ChangeKey wraps the master key of a closed store for another passphrase or raw key; content is not written again.
// Somebody who has an old copy of the file and the old passphrase still opens that copy, and with its master key
// everything written later.
func ChangeKey(path string, from, to Key, random io.Reader) error {
	s, err := Open(Options{Path: path, Key: from, Rand: random})
	if err != nil {
		return err
	}
	defer s.Close()
	var params, wrapped []byte
	err = s.conn.QueryRowContext(context.Background(), "SELECT a.value, b.value FROM meta a, meta b WHERE a.name = ? AND b.name = ?",
		metaDerivation, metaMaster).Scan(&params, &wrapped)
	if err != nil {
		return describe("read master key", err)
	}
	master, err := unwrap(from, params, wrapped)
	if err != nil {
		return err
	}
	defer clear(master)
	return wrap(s.conn, to, master, s.seals.owner.rand)
}
