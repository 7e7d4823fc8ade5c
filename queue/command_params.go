package queue

import (
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
)

// The parameters of each command, writing beside reading.

func (c NEW) appendParams(dst []byte, v Version) []byte {
	dst = c.RecipientDH.Append(c.RecipientKey.Append(dst))
	switch {
	case c.Password == "" && v >= VersionSecureSender:
		dst = wire.AppendAbsent(dst)
	case c.Password != "" && v >= VersionSecureSender:
		dst = wire.AppendStr8(wire.AppendPresent(dst), []byte(c.Password))
	case c.Password != "":
		dst = wire.AppendStr8(append(dst, 'A'), []byte(c.Password))
	}
	if c.Subscribe {
		dst = append(dst, 'S')
	} else {
		dst = append(dst, 'C')
	}
	switch {
	case v < VersionSecureSender:
		return dst
	case v < VersionLinks:
		return wire.AppendBool(dst, c.Mode == ModeMessaging)
	}
	dst = appendQueueRequest(dst, c.Mode, c.Link)
	if v < VersionNotifierInNew {
		return dst
	}
	if c.Notifier == nil {
		return wire.AppendAbsent(dst)
	}
	return c.Notifier.append(wire.AppendPresent(dst))
}

func decodeNEW(r *wire.Reader, v Version) Command {
	c := NEW{RecipientKey: readAuthKey(r), RecipientDH: readDHKey(r)}
	if v >= VersionSecureSender {
		if r.Opt() {
			c.Password = readPassword(r)
		}
	} else if tag, _ := r.Peek(); tag == 'A' {
		r.U8()
		c.Password = readPassword(r)
	}
	switch r.U8() {
	case 'S':
		c.Subscribe = true
	case 'C':
	default:
		r.Fail("subscription mode")
	}
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
	c.Mode, c.Link = readQueueRequest(r)
	if v >= VersionNotifierInNew && r.Opt() {
		n := readNotifierKeys(r)
		c.Notifier = &n
	}
	return c
}

func readPassword(r *wire.Reader) string {
	password := string(r.Str8())
	if r.Err() == nil && !ValidPassword(password) {
		r.Fail("password")
	}
	return password
}

// appendQueueRequest appends the optional mode with the optional link data.
func appendQueueRequest(dst []byte, mode Mode, link *LinkData) []byte {
	if mode == ModeNone {
		return wire.AppendAbsent(dst)
	}
	dst = append(wire.AppendPresent(dst), byte(mode))
	if link == nil {
		return wire.AppendAbsent(dst)
	}
	dst = wire.AppendPresent(dst)
	if mode == ModeContact {
		dst = link.LinkID.Append(dst)
	}
	dst = link.SenderID.Append(dst)
	return wire.AppendStr16(wire.AppendStr16(dst, link.Fixed), link.User)
}

func readQueueRequest(r *wire.Reader) (Mode, *LinkData) {
	if !r.Opt() {
		return ModeNone, nil
	}
	mode := ReadMode(r)
	if !r.Opt() {
		return mode, nil
	}
	link := new(LinkData)
	if mode == ModeContact {
		link.LinkID = ReadID(r)
	}
	link.SenderID = ReadID(r)
	link.Fixed, link.User = r.Str16(), r.Str16()
	return mode, link
}

func (k NotifierKeys) append(dst []byte) []byte { return k.DH.Append(k.Key.Append(dst)) }

func readNotifierKeys(r *wire.Reader) NotifierKeys {
	return NotifierKeys{Key: readAuthKey(r), DH: readDHKey(r)}
}

func (c KEY) appendParams(dst []byte, _ Version) []byte  { return c.Key.Append(dst) }
func (c SKEY) appendParams(dst []byte, _ Version) []byte { return c.Key.Append(dst) }
func (c LKEY) appendParams(dst []byte, _ Version) []byte { return c.Key.Append(dst) }
func (c NKEY) appendParams(dst []byte, _ Version) []byte { return c.append(dst) }

func decodeKEY(r *wire.Reader, _ Version) Command  { return KEY{readAuthKey(r)} }
func decodeSKEY(r *wire.Reader, _ Version) Command { return SKEY{readAuthKey(r)} }
func decodeLKEY(r *wire.Reader, _ Version) Command { return LKEY{readAuthKey(r)} }
func decodeNKEY(r *wire.Reader, _ Version) Command { return NKEY{readNotifierKeys(r)} }

func (c RKEY) appendParams(dst []byte, _ Version) []byte {
	if len(c.Keys) == 0 || len(c.Keys) > 255 {
		panic("queue: RKEY needs 1 to 255 keys")
	}
	dst = append(dst, byte(len(c.Keys)))
	for _, k := range c.Keys {
		dst = k.Append(dst)
	}
	return dst
}

func decodeRKEY(r *wire.Reader, _ Version) Command {
	n := r.U8()
	if n == 0 {
		r.Fail("no keys")
	}
	var list []keys.Public
	for range n {
		if r.Err() != nil {
			break
		}
		list = append(list, readAuthKey(r))
	}
	return RKEY{list}
}

func (c LSET) appendParams(dst []byte, _ Version) []byte {
	return wire.AppendStr16(wire.AppendStr16(c.LinkID.Append(dst), c.Fixed), c.User)
}

func decodeLSET(r *wire.Reader, _ Version) Command {
	return LSET{LinkID: ReadID(r), Fixed: r.Str16(), User: r.Str16()}
}

func (c ACK) appendParams(dst []byte, _ Version) []byte { return c.MessageID.Append(dst) }

func decodeACK(r *wire.Reader, _ Version) Command { return ACK{ReadID(r)} }

func (c SEND) appendParams(dst []byte, _ Version) []byte {
	return append(append(wire.AppendBool(dst, c.Notify), ' '), c.Body...)
}

func decodeSEND(r *wire.Reader, _ Version) Command {
	notify := readFlags(r)
	return SEND{notify, r.Rest()}
}

// readFlags reads message flags and the space behind them: T or F, then bytes of the future up to the space.
func readFlags(r *wire.Reader) (notify bool) {
	notify = r.Bool()
	for r.Err() == nil && r.U8() != ' ' {
	}
	return notify
}

func (c PRXY) appendParams(dst []byte, _ Version) []byte {
	dst = c.Server.Append(dst)
	if c.Server.Password == "" {
		return wire.AppendAbsent(dst)
	}
	return wire.AppendStr8(wire.AppendPresent(dst), []byte(c.Server.Password))
}

func decodePRXY(r *wire.Reader, _ Version) Command {
	c := PRXY{ReadServer(r)}
	if r.Opt() {
		c.Server.Password = readPassword(r)
	}
	return c
}

func (c PFWD) appendParams(dst []byte, _ Version) []byte {
	return append(c.Key.Append(wire.AppendU16(dst, uint16(c.Version))), c.Sealed...)
}

func decodePFWD(r *wire.Reader, _ Version) Command {
	return PFWD{Version: Version(r.U16()), Key: readDHKey(r), Sealed: r.Rest()}
}

func (c RFWD) appendParams(dst []byte, _ Version) []byte { return append(dst, c.Sealed...) }

func decodeRFWD(r *wire.Reader, _ Version) Command { return RFWD{r.Rest()} }

// Commands without parameters append nothing.

func (SUB) appendParams(dst []byte, _ Version) []byte   { return dst }
func (SUBS) appendParams(dst []byte, _ Version) []byte  { return dst }
func (LDEL) appendParams(dst []byte, _ Version) []byte  { return dst }
func (NDEL) appendParams(dst []byte, _ Version) []byte  { return dst }
func (GET) appendParams(dst []byte, _ Version) []byte   { return dst }
func (OFF) appendParams(dst []byte, _ Version) []byte   { return dst }
func (DEL) appendParams(dst []byte, _ Version) []byte   { return dst }
func (QUE) appendParams(dst []byte, _ Version) []byte   { return dst }
func (PING) appendParams(dst []byte, _ Version) []byte  { return dst }
func (LGET) appendParams(dst []byte, _ Version) []byte  { return dst }
func (NSUB) appendParams(dst []byte, _ Version) []byte  { return dst }
func (NSUBS) appendParams(dst []byte, _ Version) []byte { return dst }

// Tag returns "NEW".
func (NEW) Tag() string { return "NEW" }

// Tag returns "SUB".
func (SUB) Tag() string { return "SUB" }

// Tag returns "SUBS".
func (SUBS) Tag() string { return "SUBS" }

// Tag returns "KEY".
func (KEY) Tag() string { return "KEY" }

// Tag returns "RKEY".
func (RKEY) Tag() string { return "RKEY" }

// Tag returns "LSET".
func (LSET) Tag() string { return "LSET" }

// Tag returns "LDEL".
func (LDEL) Tag() string { return "LDEL" }

// Tag returns "NKEY".
func (NKEY) Tag() string { return "NKEY" }

// Tag returns "NDEL".
func (NDEL) Tag() string { return "NDEL" }

// Tag returns "GET".
func (GET) Tag() string { return "GET" }

// Tag returns "ACK".
func (ACK) Tag() string { return "ACK" }

// Tag returns "OFF".
func (OFF) Tag() string { return "OFF" }

// Tag returns "DEL".
func (DEL) Tag() string { return "DEL" }

// Tag returns "QUE".
func (QUE) Tag() string { return "QUE" }

// Tag returns "SKEY".
func (SKEY) Tag() string { return "SKEY" }

// Tag returns "SEND".
func (SEND) Tag() string { return "SEND" }

// Tag returns "PING".
func (PING) Tag() string { return "PING" }

// Tag returns "LKEY".
func (LKEY) Tag() string { return "LKEY" }

// Tag returns "LGET".
func (LGET) Tag() string { return "LGET" }

// Tag returns "NSUB".
func (NSUB) Tag() string { return "NSUB" }

// Tag returns "NSUBS".
func (NSUBS) Tag() string { return "NSUBS" }

// Tag returns "PRXY".
func (PRXY) Tag() string { return "PRXY" }

// Tag returns "PFWD".
func (PFWD) Tag() string { return "PFWD" }

// Tag returns "RFWD".
func (RFWD) Tag() string { return "RFWD" }

func (NEW) command()   {}
func (SUB) command()   {}
func (SUBS) command()  {}
func (KEY) command()   {}
func (RKEY) command()  {}
func (LSET) command()  {}
func (LDEL) command()  {}
func (NKEY) command()  {}
func (NDEL) command()  {}
func (GET) command()   {}
func (ACK) command()   {}
func (OFF) command()   {}
func (DEL) command()   {}
func (QUE) command()   {}
func (SKEY) command()  {}
func (SEND) command()  {}
func (PING) command()  {}
func (LKEY) command()  {}
func (LGET) command()  {}
func (NSUB) command()  {}
func (NSUBS) command() {}
func (PRXY) command()  {}
func (PFWD) command()  {}
func (RFWD) command()  {}
