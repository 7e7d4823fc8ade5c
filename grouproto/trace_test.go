package grouproto

import (
	"fmt"
	"io"
	"strings"

	"github.com/coterie-im/coterie/grouproto/oplog"
)

// A trace is what a person reads to understand a failed simulation: one line per input and effect, with names instead of
// keys and the fields of frames that matter.

// traceTo writes everything that happens from now on.
func (s *sim) traceTo(w io.Writer) {
	s.trace = func(n *node, in Input, e Effect) {
		at := s.now.Format("02 15:04:05.000")
		switch {
		case in != nil:
			if line := s.inputText(n, in); line != "" {
				fmt.Fprintf(w, "%s %s\n", at, line)
			}
		case e != nil:
			if line := s.effectText(n, e); line != "" {
				fmt.Fprintf(w, "%s     %s\n", at, line)
			}
		}
	}
}

func (s *sim) connText(conn string) string {
	c := s.conns[conn]
	if c == nil || c.peer == nil {
		return "(" + conn + ")"
	}
	return c.peer.owner.name + "(" + conn[:min(4, len(conn))] + ")"
}

func (s *sim) inputText(n *node, in Input) string {
	switch in := in.(type) {
	case Tick, Sent:
		return ""
	case Message:
		return fmt.Sprintf("%s → %s: %s", s.connText(in.Conn), n.name, s.bodyText(in.Body))
	case LinkReady:
		return fmt.Sprintf("%s has made a request (%s)", n.name, in.Conn)
	case Conf:
		return fmt.Sprintf("%s → %s: confirmation, %s", s.connText(in.Conn), n.name, s.helloText(in.Info))
	case Info:
		return fmt.Sprintf("%s → %s: answer, %s", s.connText(in.Conn), n.name, s.helloText(in.Info))
	case Connected:
		return fmt.Sprintf("%s is connected with %s", n.name, s.connText(in.Conn))
	case SendFailed:
		return fmt.Sprintf("%s cannot send to %s: %v", n.name, s.connText(in.Conn), in.Reason)
	case Failed:
		return fmt.Sprintf("%s lost %s: %v", n.name, s.connText(in.Conn), in.Reason)
	case Send:
		return fmt.Sprintf("%s sends %q", n.name, in.Body)
	case Remove:
		return fmt.Sprintf("%s removes %s, contest %v", n.name, s.keysText(in.Members), in.Contest)
	case SetRole:
		return fmt.Sprintf("%s makes %s %v", n.name, s.nameOf(in.Member), in.Role)
	case Repair:
		return fmt.Sprintf("%s repairs %s", n.name, s.nameOf(in.Member))
	case Invite:
		return fmt.Sprintf("%s invites %s", n.name, in.Contact)
	case ContactFrame:
		return fmt.Sprintf("%s → %s over the contact: %s", in.Contact, n.name, s.frameText(in.Frame))
	default:
		return fmt.Sprintf("%s: %T", n.name, in)
	}
}

func (s *sim) effectText(n *node, e Effect) string {
	switch e := e.(type) {
	case Done:
		if e.Err != nil {
			return fmt.Sprintf("%s is refused: %v", n.name, e.Err)
		}
		return ""
	case SendConn:
		return fmt.Sprintf("%s ⇒ %s: %s", n.name, s.connText(e.Conn), s.bodyText(e.Body))
	case SendContact:
		return fmt.Sprintf("%s ⇒ %s over the contact: %s", n.name, e.Contact, s.frameText(e.Frame))
	case NewConn:
		return fmt.Sprintf("%s makes %s", n.name, e.Conn)
	case JoinConn:
		return fmt.Sprintf("%s joins %s as %s", n.name, e.Link, e.Conn)
	case DeleteConn:
		return fmt.Sprintf("%s deletes %s", n.name, s.connText(e.Conn))
	case Notice:
		return fmt.Sprintf("%s is told %s", n.name, s.eventText(e.Event))
	}
	return ""
}

func (s *sim) eventText(e Event) string {
	switch e := e.(type) {
	case Warned:
		names := [...]string{"", "equivocation", "disputed", "sweep", "hello", "upgrade", "limit", "card"}
		return fmt.Sprintf("warning %s about %s", names[e.Warning], s.nameOf(e.Member))
	case MessageReceived:
		m := e.Message
		return fmt.Sprintf("message %s by %s, vouched %v: %.40q", s.messageText(m.ID), s.nameOf(m.Via), m.Vouched, m.Body)
	case MessageReplaced:
		return fmt.Sprintf("message %s is really %.40q", s.messageText(e.Message.ID), e.Message.Body)
	case MessageRefuted:
		return fmt.Sprintf("message %s is false", s.messageText(e.ID))
	case MessageConfirmed:
		return fmt.Sprintf("message %s confirmed", s.messageText(e.ID))
	case MemberAdded:
		return fmt.Sprintf("%s added by %s as %v", s.nameOf(e.Member), s.nameOf(e.By), e.Role)
	case MemberRemoved:
		return fmt.Sprintf("%s removed by %s", s.nameOf(e.Member), s.nameOf(e.By))
	case Removed:
		return fmt.Sprintf("removed by %s, contestable %v", s.nameOf(e.By), e.Contestable)
	case MemberLeft:
		return s.nameOf(e.Member) + " left"
	case MemberRestored:
		return s.nameOf(e.Member) + " restored"
	case PairConnected:
		return "connected with " + s.nameOf(e.Member)
	case PairWaiting:
		return fmt.Sprintf("waits for %s: %v", s.nameOf(e.Member), e.Reason)
	case MemberPaused:
		return fmt.Sprintf("%s paused: %v", s.nameOf(e.Member), e.Reason)
	case RoleChanged:
		return fmt.Sprintf("%s is %v", s.nameOf(e.Member), e.Role)
	default:
		return strings.TrimPrefix(fmt.Sprintf("%T", e), "grouproto.")
	}
}

func (s *sim) bodyText(body []byte) string {
	frames, err := splitBody(body)
	if err != nil {
		return "malformed body"
	}
	var out []string
	for _, f := range frames {
		out = append(out, s.frameText(f))
	}
	if len(out) > 6 {
		out = append(out[:6], fmt.Sprintf("and %d more", len(out)-6))
	}
	return strings.Join(out, "; ")
}

func (s *sim) helloText(info []byte) string {
	h, err := decodeHello(info)
	if err != nil {
		return "no hello"
	}
	return fmt.Sprintf("hello of %s for %s, attempt %d, heads %s", s.nameOf(h.From), s.nameOf(h.To), h.Attempt, idsText(h.Heads))
}

func (s *sim) frameText(b []byte) string {
	d, err := decodeFrame(b)
	if err != nil {
		return "malformed " + d.tag.String()
	}
	if d.frame == nil {
		return "unknown frame"
	}
	return d.tag.String() + " " + s.fieldsText(d.frame)
}

func (s *sim) fieldsText(f frame) string {
	offerText := func(o offer) string {
		return fmt.Sprintf("%s for %s, %s, attempt %d", s.nameOf(o.Initiator), s.nameOf(o.Responder), o.Link, o.Attempt)
	}
	switch f := f.(type) {
	case *opsFrame:
		return fmt.Sprintf("%s, flags %d", s.opsText(f.Ops), f.Flags)
	case *memInvFrame:
		return offerText(f.Offer) + ", " + s.opsText(f.Ops)
	case *invMemFrame:
		var out []string
		for _, o := range f.Offers {
			out = append(out, offerText(o))
		}
		return strings.Join(out, " + ")
	case *needFrame:
		return fmt.Sprintf("of %s for %s, hops %d", s.nameOf(f.Initiator), s.nameOf(f.Responder), f.Hops)
	case *msgFrame:
		return s.contentText(f.Message)
	case *fwdFrame:
		return "of " + s.nameOf(f.Author) + ": " + s.contentText(f.Message)
	case *noneFrame:
		var out []string
		for _, e := range f.Ranges {
			out = append(out, fmt.Sprintf("%s/%d-%d: %d", s.nameOf(e.Author), e.Range.From, e.Range.To, e.Why))
		}
		return strings.Join(out, ", ")
	case *rcvdFrame:
		return fmt.Sprintf("up to %d, missing %v, heads %s", f.UpTo, f.Missing, idsText(f.Heads))
	case *syncFrame:
		var out []string
		for _, id := range f.List {
			out = append(out, s.messageText(id))
		}
		return fmt.Sprintf("flags %d, heads %s, digest %x, [%s]", f.Flags, idsText(f.Heads), f.Digest[:2], strings.Join(out, " "))
	case *wantFrame:
		var out []string
		for _, e := range f.Messages {
			out = append(out, fmt.Sprintf("%s/%d-%d", s.nameOf(e.Author), e.Range.From, e.Range.To))
		}
		return fmt.Sprintf("operations %s, messages %v", idsText(f.Ops), out)
	case *conFrame:
		return fmt.Sprintf("%d pairs", len(f.Pairs))
	case *memFrame:
		return fmt.Sprintf("%d members", len(f.Members))
	case *accFrame:
		return s.nameOf(f.Member) + ", " + offerText(f.Offer)
	}
	return ""
}

func (s *sim) contentText(m *message) string {
	var parents []string
	for _, p := range m.Parents {
		parents = append(parents, s.messageText(p))
	}
	return fmt.Sprintf("%d, prev %x, parents [%s], heads %s, %.40q", m.Number, m.Prev[:2], strings.Join(parents, " "), idsText(m.Heads), m.Body)
}

func (s *sim) messageText(id MessageID) string {
	return fmt.Sprintf("%s/%d:%x", s.nameOf(id.Author), id.Number, id.Hash[:2])
}

func (s *sim) keysText(keys []Key) string {
	var out []string
	for _, k := range keys {
		out = append(out, s.nameOf(k))
	}
	return strings.Join(out, ", ")
}

func idsText(ids []OpID) string {
	var out []string
	for _, id := range ids {
		out = append(out, fmt.Sprintf("%x", id[:2]))
	}
	return strings.Join(out, ",")
}

func (s *sim) opsText(ops []*oplog.Op) string {
	var out []string
	for _, op := range ops {
		id := op.ID()
		out = append(out, fmt.Sprintf("%x %s", id[:2], s.opText(op)))
	}
	if len(out) > 6 {
		out = append(out[:6], fmt.Sprintf("and %d more", len(out)-6))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func (s *sim) opText(op *oplog.Op) string {
	who := fmt.Sprintf("%s#%d after %s ", s.nameOf(op.Author), op.Seq, idsText(op.Parents))
	switch a := op.Action.(type) {
	case *oplog.Genesis:
		return who + "genesis"
	case *oplog.Add:
		return who + "adds " + s.nameOf(a.Member) + " as " + a.Role.String()
	case *oplog.Remove:
		for _, r := range a.Members {
			who += fmt.Sprintf("removes %s from %d ", s.nameOf(r.Member), r.Cut)
		}
		return who
	case *oplog.RoleChange:
		return who + "makes " + s.nameOf(a.Member) + " " + a.Role.String()
	case *oplog.Set:
		return fmt.Sprintf("%ssets %s to %.20q", who, a.Setting.Name, a.Setting.Value)
	default:
		return who + strings.TrimPrefix(fmt.Sprintf("%T", a), "*oplog.")
	}
}
