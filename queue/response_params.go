package queue

import (
	"github.com/coterie-im/coterie/internal/wire"
)

// The parameters of each response, writing beside reading.

// appendOptionalID appends an ID that is absent when empty.
func appendOptionalID(dst []byte, id ID) []byte {
	if id == "" {
		return wire.AppendAbsent(dst)
	}
	return id.Append(wire.AppendPresent(dst))
}

func readOptionalID(r *wire.Reader) ID {
	if !r.Opt() {
		return ""
	}
	id := ReadID(r)
	if id == "" {
		r.Fail("empty ID")
	}
	return id
}

func (c SOK) appendParams(dst []byte, _ Version) []byte { return appendOptionalID(dst, c.ServiceID) }

func decodeSOK(r *wire.Reader, _ Version) Response { return SOK{readOptionalID(r)} }

func (c SOKS) appendParams(dst []byte, _ Version) []byte { return wire.AppendI64(dst, c.Count) }
func (c ENDS) appendParams(dst []byte, _ Version) []byte { return wire.AppendI64(dst, c.Count) }

func decodeSOKS(r *wire.Reader, _ Version) Response { return SOKS{r.I64()} }
func decodeENDS(r *wire.Reader, _ Version) Response { return ENDS{r.I64()} }

func (c IDS) appendParams(dst []byte, v Version) []byte {
	dst = c.ServerDH.Append(c.SenderID.Append(c.RecipientID.Append(dst)))
	switch {
	case v < VersionSecureSender:
		return dst
	case v < VersionLinks:
		return wire.AppendBool(dst, c.Mode == ModeMessaging)
	case c.Mode == ModeNone:
		dst = wire.AppendAbsent(dst)
	default:
		dst = append(wire.AppendPresent(dst), byte(c.Mode))
	}
	dst = appendOptionalID(dst, c.LinkID)
	if v >= VersionServices {
		dst = appendOptionalID(dst, c.ServiceID)
	}
	switch {
	case v < VersionNotifierInNew:
		return dst
	case c.Notifier == nil:
		return wire.AppendAbsent(dst)
	default:
		return c.Notifier.appendParams(wire.AppendPresent(dst), v)
	}
}

func decodeIDS(r *wire.Reader, v Version) Response {
	c := IDS{RecipientID: ReadID(r), SenderID: ReadID(r), ServerDH: readDHKey(r)}
	switch {
	case v < VersionSecureSender:
		return c
	case v < VersionLinks:
		c.Mode = ModeContact
		if r.Bool() {
			c.Mode = ModeMessaging
		}
		return c
	}
	if r.Opt() {
		c.Mode = ReadMode(r)
	}
	c.LinkID = readOptionalID(r)
	if v >= VersionServices {
		c.ServiceID = readOptionalID(r)
	}
	if v >= VersionNotifierInNew && r.Opt() {
		n := NID{NotifierID: ReadID(r), ServerDH: readDHKey(r)}
		c.Notifier = &n
	}
	return c
}

func (c NID) appendParams(dst []byte, _ Version) []byte {
	return c.ServerDH.Append(c.NotifierID.Append(dst))
}

func decodeNID(r *wire.Reader, _ Version) Response {
	return NID{NotifierID: ReadID(r), ServerDH: readDHKey(r)}
}

func (c MSG) appendParams(dst []byte, _ Version) []byte { return append(c.ID.Append(dst), c.Sealed...) }

func decodeMSG(r *wire.Reader, _ Version) Response { return MSG{ReadID(r), r.Rest()} }

func (c NMSG) appendParams(dst []byte, _ Version) []byte {
	return wire.AppendStr8(append(dst, c.Nonce[:]...), c.Sealed)
}

func decodeNMSG(r *wire.Reader, _ Version) Response {
	var c NMSG
	r.Copy(c.Nonce[:])
	c.Sealed = r.Str8()
	return c
}

func (c LNK) appendParams(dst []byte, _ Version) []byte {
	return wire.AppendStr16(wire.AppendStr16(c.SenderID.Append(dst), c.Fixed), c.User)
}

func decodeLNK(r *wire.Reader, _ Version) Response {
	return LNK{SenderID: ReadID(r), Fixed: r.Str16(), User: r.Str16()}
}

func (c PKEY) appendParams(dst []byte, _ Version) []byte {
	return c.Key.Append(c.Versions.Append(wire.AppendStr8(dst, c.SessionID)))
}

func decodePKEY(r *wire.Reader, _ Version) Response {
	return PKEY{SessionID: r.Str8(), Versions: ReadVersionRange(r), Key: ReadCertifiedKey(r)}
}

// Append appends the counted list of certificates and the signed key. It panics if the chain is empty.
func (k CertifiedKey) Append(dst []byte) []byte {
	if len(k.Chain) == 0 || len(k.Chain) > 255 {
		panic("queue: a chain has 1 to 255 certificates")
	}
	dst = append(dst, byte(len(k.Chain)))
	for _, certificate := range k.Chain {
		dst = wire.AppendStr16(dst, certificate)
	}
	return wire.AppendStr16(dst, k.SignedKey)
}

// ReadCertifiedKey reads what Append writes; the parts are not looked at.
func ReadCertifiedKey(r *wire.Reader) CertifiedKey {
	n := r.U8()
	if n == 0 {
		r.Fail("no certificates")
	}
	var k CertifiedKey
	for range n {
		if r.Err() != nil {
			break
		}
		k.Chain = append(k.Chain, r.Str16())
	}
	k.SignedKey = r.Str16()
	return k
}

func (c RRES) appendParams(dst []byte, _ Version) []byte { return append(dst, c.Sealed...) }
func (c PRES) appendParams(dst []byte, _ Version) []byte { return append(dst, c.Sealed...) }

func decodeRRES(r *wire.Reader, _ Version) Response { return RRES{r.Rest()} }
func decodePRES(r *wire.Reader, _ Version) Response { return PRES{r.Rest()} }

func (c INFO) appendParams(dst []byte, _ Version) []byte { return c.Info.append(dst) }

func decodeINFO(r *wire.Reader, _ Version) Response {
	info, err := parseQueueInfo(r.Rest())
	if err != nil {
		r.Fail("queue information")
	}
	return INFO{info}
}

func (c ERR) appendParams(dst []byte, v Version) []byte { return append(dst, c.Err.at(v)...) }

func decodeERR(r *wire.Reader, _ Version) Response {
	e, err := ParseError(r.Rest())
	if err != nil {
		r.Fail("unknown error")
	}
	return ERR{e}
}

// Responses without parameters append nothing.

func (OK) appendParams(dst []byte, _ Version) []byte   { return dst }
func (END) appendParams(dst []byte, _ Version) []byte  { return dst }
func (DELD) appendParams(dst []byte, _ Version) []byte { return dst }
func (PONG) appendParams(dst []byte, _ Version) []byte { return dst }

// Tag returns "OK".
func (OK) Tag() string { return "OK" }

// Tag returns "SOK".
func (SOK) Tag() string { return "SOK" }

// Tag returns "SOKS".
func (SOKS) Tag() string { return "SOKS" }

// Tag returns "ENDS".
func (ENDS) Tag() string { return "ENDS" }

// Tag returns "IDS".
func (IDS) Tag() string { return "IDS" }

// Tag returns "NID".
func (NID) Tag() string { return "NID" }

// Tag returns "MSG".
func (MSG) Tag() string { return "MSG" }

// Tag returns "NMSG".
func (NMSG) Tag() string { return "NMSG" }

// Tag returns "LNK".
func (LNK) Tag() string { return "LNK" }

// Tag returns "PKEY".
func (PKEY) Tag() string { return "PKEY" }

// Tag returns "RRES".
func (RRES) Tag() string { return "RRES" }

// Tag returns "PRES".
func (PRES) Tag() string { return "PRES" }

// Tag returns "END".
func (END) Tag() string { return "END" }

// Tag returns "DELD".
func (DELD) Tag() string { return "DELD" }

// Tag returns "INFO".
func (INFO) Tag() string { return "INFO" }

// Tag returns "ERR".
func (ERR) Tag() string { return "ERR" }

// Tag returns "PONG".
func (PONG) Tag() string { return "PONG" }

func (OK) response()   {}
func (SOK) response()  {}
func (SOKS) response() {}
func (ENDS) response() {}
func (IDS) response()  {}
func (NID) response()  {}
func (MSG) response()  {}
func (NMSG) response() {}
func (LNK) response()  {}
func (PKEY) response() {}
func (RRES) response() {}
func (PRES) response() {}
func (END) response()  {}
func (DELD) response() {}
func (INFO) response() {}
func (ERR) response()  {}
func (PONG) response() {}
