package grouproto

// Counts are agent messages that a group asked for since it was loaded, each counted once, by what it was sent for: the
// first of these that it carries, in the order of the fields of docs/groups.md, "Cost". Retries of the connection layer
// are not in them.
type Counts struct {
	Invitations   int // G_INV, G_ACC over contact connections
	Confirmations int // of pair connections, hellos inside
	Messages      int // G_MSG
	Log           int // the log for a new member, G_MEM
	Offers        int // G_INV_MEM
	Forwarded     int // G_MEM_INV
	Operations    int // G_OPS otherwise
	Reports       int // G_CON, G_DONE
	Direct        int // G_DINV, G_DREJ; G_INV, G_ACC, G_REJ of other groups over pairs of this one
	Copies        int // G_FWD, G_NONE
	Sync          int // G_SYNC, G_WANT, G_NEED
	Receipts      int // G_RCVD
	Doors         int // requests at addresses, the two confirmations of a door, and what goes over it but G_INV and G_ACC
}

// Total is the number of agent messages.
func (c Counts) Total() int {
	return c.Invitations + c.Confirmations + c.Messages + c.Log + c.Offers + c.Forwarded + c.Operations + c.Reports +
		c.Direct + c.Copies + c.Sync + c.Receipts + c.Doors
}

// Minus returns c without what was in before.
func (c Counts) Minus(before Counts) Counts {
	return Counts{
		c.Invitations - before.Invitations, c.Confirmations - before.Confirmations, c.Messages - before.Messages,
		c.Log - before.Log, c.Offers - before.Offers, c.Forwarded - before.Forwarded, c.Operations - before.Operations,
		c.Reports - before.Reports, c.Direct - before.Direct, c.Copies - before.Copies, c.Sync - before.Sync,
		c.Receipts - before.Receipts, c.Doors - before.Doors,
	}
}

// Plus returns the sum of c and d.
func (c Counts) Plus(d Counts) Counts {
	return c.Minus(Counts{}.Minus(d))
}

// purpose is what an agent message is sent for; of several in one message the smallest counts.
type purpose uint8

const (
	forMessages purpose = iota
	forLog
	forOffers
	forForwarded
	forOperations
	forReports
	forDirect
	forCopies
	forSync
	forReceipts
)

// count counts one message.
func (c *Counts) count(p purpose) {
	switch p {
	case forMessages:
		c.Messages++
	case forLog:
		c.Log++
	case forOffers:
		c.Offers++
	case forForwarded:
		c.Forwarded++
	case forOperations:
		c.Operations++
	case forReports:
		c.Reports++
	case forDirect:
		c.Direct++
	case forCopies:
		c.Copies++
	case forSync:
		c.Sync++
	case forReceipts:
		c.Receipts++
	}
}
