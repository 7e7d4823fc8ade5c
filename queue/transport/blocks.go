package transport

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha512"

	"github.com/coterie-im/coterie/internal/box"
)

// chain encrypts the blocks of one direction (version 11 and later): every block has its own key and nonce, derived
// from a chain key that moves on with each block, also when a block does not open.
type chain struct {
	key [32]byte
}

// newChains derives the two first chain keys from the session keys.
func newChains(own *ecdh.PrivateKey, peer *ecdh.PublicKey, sessionID []byte) (toClient, toServer *chain, err error) {
	secret, err := box.Agree(own, peer)
	if err != nil {
		return nil, nil, err
	}
	defer secret.Clear()
	both, err := hkdf.Key(sha512.New, secret[:], sessionID, "SimpleXSbChainInit", 64)
	if err != nil {
		return nil, nil, err
	}
	defer clear(both)
	return &chain{key: [32]byte(both[:32])}, &chain{key: [32]byte(both[32:])}, nil
}

// next moves the chain and returns the key and nonce of the next block.
func (c *chain) next() (key box.Secret, nonce [box.NonceSize]byte) {
	out, err := hkdf.Key(sha512.New, c.key[:], nil, "SimpleXSbChain", 88)
	if err != nil {
		panic(err) // fails only for outputs longer than 255 hashes
	}
	defer clear(out)
	copy(c.key[:], out[:32])
	return box.Secret(out[32:64]), [box.NonceSize]byte(out[64:])
}

// seal appends the block of a payload of at most MaxEncryptedPayload bytes.
func (c *chain) seal(dst, payload []byte) []byte {
	key, nonce := c.next()
	defer key.Clear()
	block, err := box.SealPadded(dst, &key, nonce[:], payload, BlockSize-box.Overhead)
	if err != nil {
		panic(err) // the caller has checked the length
	}
	return block
}

// open appends the padded payload of a block.
func (c *chain) open(dst, block []byte) ([]byte, error) {
	key, nonce := c.next()
	defer key.Clear()
	return box.Open(dst, &key, nonce[:], block)
}
