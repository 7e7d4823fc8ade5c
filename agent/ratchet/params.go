package ratchet

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// VersionRange is a range of versions, both ends included; Min equals Max in a set of parameters for one version.
type VersionRange struct{ Min, Max uint16 }

// Params are the public parameters of one side of a key agreement: two X448 keys and, if wanted, a KEM key. Invitations
// carry them for a range of versions, confirmations and ratchet-key messages for one.
type Params struct {
	Versions   VersionRange
	Key1, Key2 keys.Public // X448
	KEM        KEMParams
}

// KEMParams is the KEM part of parameters and headers: absent if both are empty, proposed with a public key, accepted
// with a ciphertext for the peer's key and an own new public key.
type KEMParams struct{ Public, Ciphertext []byte }

func (k KEMParams) absent() bool   { return len(k.Public) == 0 }
func (k KEMParams) accepted() bool { return len(k.Public) > 0 && len(k.Ciphertext) > 0 }

// At returns the parameters for one version.
func (p Params) At(version uint16) Params {
	p.Versions = VersionRange{version, version}
	return p
}

// Hash returns the SHA-256 hash of the two raw keys, by which ratchet re-synchronisation recognises and orders key sets.
func (p Params) Hash() [32]byte { return sha256.Sum256(append(p.Key1.Raw(), p.Key2.Raw()...)) }

// Format hides the parameters from every formatting verb: keys are never printed.
func (p Params) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("ratchet parameters")) }

// AppendSingle appends the form for one version, which confirmations and ratchet-key messages carry (docs/protocol.md,
// "Envelopes"):
//
//	version  str8(X448 SPKI)  str8(X448 SPKI)  [opt(kem) if version ≥ 3]
//	kem = 'P' str16(public key) | 'A' str16(ciphertext) str16(public key)
//
// It panics unless the range is one version.
func (p Params) AppendSingle(dst []byte) []byte {
	if p.Versions.Min != p.Versions.Max {
		panic("ratchet: parameters for a range where one version is needed")
	}
	dst = wire.AppendU16(dst, p.Versions.Max)
	dst = p.Key2.Append(p.Key1.Append(dst))
	if p.Versions.Max < 3 {
		return dst
	}
	return p.KEM.appendOpt(dst)
}

// ReadSingle reads the form for one version, whatever the version is.
func ReadSingle(r *wire.Reader) Params {
	v := r.U16()
	p := Params{Versions: VersionRange{v, v}, Key1: keys.Read(r, keys.X448), Key2: keys.Read(r, keys.X448)}
	if v >= 3 {
		p.KEM = readOptKEM(r)
	}
	return finish(r, p)
}

// AppendRange appends the form for a range of versions, which binary connection requests carry (docs/protocol.md,
// "Binary forms"):
//
//	min max  str8(X448 SPKI)  str8(X448 SPKI)  opt(kem)
func (p Params) AppendRange(dst []byte) []byte {
	dst = wire.AppendU16(wire.AppendU16(dst, p.Versions.Min), p.Versions.Max)
	dst = p.Key2.Append(p.Key1.Append(dst))
	return p.KEM.appendOpt(dst)
}

// ReadRange reads the form for a range of versions. As only invitations have it, an accepted KEM is an error.
func ReadRange(r *wire.Reader) Params {
	var p Params
	p.Versions = VersionRange{r.U16(), r.U16()}
	if p.Versions.Min > p.Versions.Max {
		r.Fail("version range upside down")
	}
	p.Key1, p.Key2 = keys.Read(r, keys.X448), keys.Read(r, keys.X448)
	p.KEM = readOptKEM(r)
	if p.KEM.accepted() {
		r.Fail("KEM ciphertext in an invitation")
	}
	return finish(r, p)
}

// finish keeps what was read before an error from being taken for parameters.
func finish(r *wire.Reader, p Params) Params {
	if r.Err() != nil {
		return Params{}
	}
	return p
}

func (k KEMParams) appendOpt(dst []byte) []byte {
	switch {
	case k.accepted():
		dst = append(wire.AppendPresent(dst), 'A')
		dst = wire.AppendStr16(dst, k.Ciphertext)
	case k.absent():
		return wire.AppendAbsent(dst)
	default:
		dst = append(wire.AppendPresent(dst), 'P')
	}
	return wire.AppendStr16(dst, k.Public)
}

// readOptKEM reads an optional KEM part. Sizes are left to the KEM that has to use it, but empty values, which would
// read as absent, are refused here.
func readOptKEM(r *wire.Reader) KEMParams {
	if !r.Opt() {
		return KEMParams{}
	}
	var k KEMParams
	switch r.U8() {
	case 'A':
		k.Ciphertext = bytes.Clone(r.Str16())
		if len(k.Ciphertext) == 0 {
			r.Fail("empty KEM ciphertext")
		}
	case 'P':
	default:
		r.Fail("KEM neither proposed nor accepted")
	}
	k.Public = bytes.Clone(r.Str16())
	if len(k.Public) == 0 {
		r.Fail("empty KEM key")
	}
	return k
}
