package grouproto

import (
	"slices"
	"strconv"
	"time"
)

// receiptsUpTo is the group size up to which receipts are on without the setting `receipts`.
const receiptsUpTo = 50

// receiptsOn tells whether receipts are sent: in groups of up to 50, above if the setting `receipts` names a size that is
// not exceeded.
func (g *Group) receiptsOn() bool {
	if g.st == nil {
		return false
	}
	most := receiptsUpTo
	if v, _, ok := g.st.Setting("receipts"); ok {
		if n, err := strconv.ParseUint(string(v), 10, 31); err == nil {
			most = int(n)
		}
	}
	return g.st.Len() <= most
}

// receiptEvery is how often one author gets a receipt at most.
func (g *Group) receiptEvery() time.Duration {
	return max(rideTime, time.Duration(g.st.Len())*200*time.Millisecond)
}

// receiptWanted notes that something changed that an author would like to know.
func (s *step) receiptWanted(p *peer) {
	if p.receiptDue.IsZero() && !p.ended() && s.receiptsOn() {
		s.touch(p)
		p.receiptDue = s.env.Now.Add(rideTime)
		if t := p.receiptLast.Add(s.receiptEvery()); t.After(p.receiptDue) {
			p.receiptDue = t
		}
	}
}

// receipts sends the receipts that are due (G_RCVD).
func (s *step) receipts() {
	if s.main.status != StatusMember {
		return
	}
	for _, p := range s.present() {
		switch {
		case p.receiptDue.IsZero():
		case p.ready() == nil: // it is told when it is connected again
		case s.due(p.receiptDue):
			s.postReceipt(p)
		}
	}
}

// rideReceipt sends a receipt that is wanted along with something else, unless there was one a moment ago.
func (s *step) rideReceipt(p *peer) {
	if !p.receiptDue.IsZero() && s.main.status == StatusMember && !s.env.Now.Before(p.receiptLast.Add(s.receiptEvery())) {
		s.postReceipt(p)
	}
}

func (s *step) postReceipt(p *peer) {
	s.touch(p)
	p.receiptDue, p.receiptLast = time.Time{}, s.env.Now
	f := &rcvdFrame{Heads: s.log.AllHeads()}
	if c := s.chains[p.key]; c != nil {
		f.UpTo, f.Missing = c.receipt()
	}
	s.post(p, f, forReceipts, s.env.Now)
}

// received takes a receipt.
func (s *step) received(p *peer, f *rcvdFrame) {
	upTo := min(f.UpTo, s.main.next)
	var missing []Range
	for _, m := range f.Missing {
		if m.From < upTo {
			missing = append(missing, Range{m.From, min(m.To, upTo-1)})
		}
	}
	if upTo == p.delivered && slices.Equal(missing, p.missing) || upTo < p.delivered {
		return
	}
	p.delivered, p.missing = upTo, missing
	if s.tellsProgress() {
		s.notice(MessageDelivered{Member: p.key, UpTo: upTo, Missing: missing})
	}
}
