package grouproto

// Tag names a frame.
type Tag uint8

// Tags of direct connections, whose payloads belong to package directconn.
const (
	TagDirectInv Tag = 16
	TagDirectRej Tag = 17
)

// Counts are agent messages, counted by the most important frame they carry.
type Counts struct {
	Invitations   int // G_INV, G_ACC, G_REJ over contact connections
	Confirmations int // of pair connections, hellos inside
	Log           int // G_OPS and G_MEM for a new member
	Offers        int // G_INV_MEM
	Forwarded     int // G_MEM_INV
	Reports       int // G_CON, G_DONE
	Messages      int // G_MSG
	Operations    int // G_OPS
	Receipts      int // G_RCVD
	Sync          int // G_SYNC, G_WANT, G_NONE, G_NEED
	Copies        int // G_FWD
	Direct        int // G_DINV, G_DREJ
}
