package envelope

// This file is the wire: every tag between two agents with its layout. Str8 and str16 are strings with a length of one
// and two bytes, opt is '0' or '1' and the value, list8 is a count of one byte and the items, rest is all that remains.
//
// Layouts of what is nested: keys are ratchet.Params for one version, address, queue and info are link.Address,
// link.Queue and link.Info.

// Agent envelopes: version(u16) tag …, inside the box of a queue.
const (
	tagConfirmation = 'C' // opt(keys) rest(ratchet message)   keys: from the joiner only
	tagMessage      = 'M' // rest(ratchet message)
	tagInvitation   = 'I' // str16(link text) rest(connection info)
	tagRatchetKey   = 'R' // keys rest(info)
)

// Plaintexts: tag …, inside the ratchet message of a confirmation or message.
const (
	tagInitiatorInfo = 'I' // rest(connection info)
	tagJoinerInfo    = 'D' // list8(info, not empty) rest(connection info)
	tagRatchetInfo   = 'R' // rest; plain, as the info of a ratchet key
	tagNumbered      = 'M' // number(i64) str8(hash of the previous message) message
)

// Messages: tag …, inside a numbered plaintext. Lists are not empty.
const (
	tagHello     = "H"  // nothing
	tagBody      = "M"  // rest(client message)
	tagReceipts  = "V"  // list8( number(i64) str8(hash) str16(info) )
	tagContinue  = "QC" // address
	tagAddQueue  = "QA" // list8( queue opt(address) )
	tagQueueKey  = "QK" // list8( info str8(authorization key) )
	tagUseQueue  = "QU" // list8( address bool(primary) )
	tagTestQueue = "QT" // list8( address )
	tagReady     = "E"  // number(i64)
)
