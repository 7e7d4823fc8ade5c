package agent

import (
	"context"
	"strings"
	"time"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/grouproto/oplog"
)

// groupLinkPrefix begins a group link: coterie:/group/<group ID as base64url>#<link of a member's address>.
const groupLinkPrefix = "coterie:/group/"

// IsGroupLink tells whether a text is meant as a group link (docs/groups.md, "Joining by link").
func IsGroupLink(text string) bool { return strings.HasPrefix(text, groupLinkPrefix) }

// groupLink writes a group link.
func groupLink(group grouproto.GroupID, address string) string {
	return groupLinkPrefix + group.Text() + "#" + address
}

// parseGroupLink reads a group link. The address is checked and written again as its owner publishes it.
func parseGroupLink(text string) (group grouproto.GroupID, address string, err error) {
	wrong := &conn.Error{Code: conn.CodeLink, Kind: conn.OurFault, Detail: "not a group link"}
	rest, ok := strings.CutPrefix(text, groupLinkPrefix)
	id, address, found := strings.Cut(rest, "#")
	if !ok || !found {
		return group, "", wrong
	}
	if group, err = oplog.ParseID(id); err != nil || group.Text() != id {
		return group, "", wrong
	}
	request, err := link.Parse(address)
	if err != nil || request.Kind != link.Contact {
		return group, "", wrong
	}
	return group, request.Text(), nil
}

// GroupLink makes an address at which anybody who has the returned group link can ask for the group, and publishes it in
// the settings (GLINK). The setting "join" says who gets in. Repeated it returns the same link. It waits for a relay to
// make the queue; when ctx ends before, the agent goes on trying.
func (a *Agent) GroupLink(ctx context.Context, g GroupID) (string, error) {
	var group grouproto.GroupID
	id, err := call(ctx, a, func(t *turn) (ConnectionID, error) {
		if len(t.config.Relays) == 0 {
			return "", ErrNoRelay
		}
		if _, err := t.groupCommand(g, grouproto.Publish{}); err != nil {
			return "", err
		}
		e, err := t.groupEntry(g)
		if err != nil {
			return "", err
		}
		group = e.core.ID()
		return ConnectionID(e.core.Address()), nil
	})
	if err != nil {
		return "", err
	}
	address, err := a.waitLink(ctx, id)
	if err != nil {
		return "", err
	}
	return groupLink(group, address), nil
}

// GroupUnlink withdraws the address (GUNLINK): its queue is deleted, the setting unset, and requests that wait at it are
// forgotten. ErrNoLink if there is none.
func (a *Agent) GroupUnlink(ctx context.Context, g GroupID) error {
	return do(ctx, a, func(t *turn) error {
		e, err := t.groupEntry(g)
		if err != nil {
			return err
		}
		if e.core.Address() == "" {
			return ErrNoLink
		}
		_, err = t.groupCommand(g, grouproto.Unpublish{})
		return err
	})
}

// AskOptions say how a group is asked for.
type AskOptions struct {
	// Text is shown to who decides, up to 8,192 bytes.
	Text []byte
	// Password for groups that ask for one, up to 255 bytes.
	Password []byte
	// Card as in GroupOptions; who decides sees it.
	Card []byte
	// Key makes a repeat of the call return the same group; see package doc.
	Key string
}

// GroupAsk asks for a group with a group link (GASK). The returned group has the status "asking" until a holder of an
// address invites; then the rest happens by itself, as after GroupJoin. If nothing comes of it, GroupChanged says so and
// the status is gone. Asking again for the same group, with the link of another member, asks there too; ErrMember when one
// is in the group already.
func (a *Agent) GroupAsk(ctx context.Context, text string, o AskOptions) (GroupID, error) {
	group, address, err := parseGroupLink(text)
	if err != nil {
		return "", err
	}
	return call(ctx, a, func(t *turn) (GroupID, error) {
		if len(t.config.Relays) == 0 {
			return "", ErrNoRelay
		}
		return once(t, o.Key, "group ask", []any{text, o.Text, o.Password, o.Card}, func() (GroupID, error) {
			for _, id := range t.findGroups(group) {
				e, err := t.groupEntry(id)
				if err != nil || e.core.Info().Status != grouproto.StatusAsking {
					continue
				}
				_, err = t.groupCommand(id, grouproto.AskAt{Address: []byte(address), Text: o.Text, Password: o.Password})
				return id, err
			}
			if t.inGroup(group) {
				return "", ErrMember
			}
			id := GroupID(t.randomName())
			core, effects, err := grouproto.Ask(t.groupEnv(id), grouproto.AskOptions{
				Group: group, Address: []byte(address), Text: o.Text, Password: o.Password, Card: o.Card,
			})
			if err != nil {
				return "", err
			}
			t.addGroup(id, core, effects)
			return id, nil
		})
	})
}

// GroupRefuse refuses a GroupRequest event (GREJECT); who asked is told.
func (a *Agent) GroupRefuse(ctx context.Context, g GroupID, request string) error {
	return do(ctx, a, func(t *turn) error {
		if !t.groupAsked(g, request) {
			return ErrNoInvitation
		}
		_, err := t.groupCommand(g, grouproto.RefuseRequest{Request: request})
		return err
	})
}

// RequestInfo is a request for a group that waits for GroupAdd or GroupRefuse.
type RequestInfo struct {
	Request string    `json:"request"`
	Text    []byte    `json:"text,omitempty"`
	Card    []byte    `json:"card,omitempty"` // what who asks says about itself
	Expires time.Time `json:"expires"`
}

func requestInfos(g *groupEntry) (all []RequestInfo) {
	for _, r := range g.core.Requests() {
		all = append(all, RequestInfo{r.Request, r.Text, r.Card, r.Expiry.UTC()})
	}
	return all
}

// groupAsked tells whether a name is that of a request that waits at a group's address.
func (t *turn) groupAsked(g GroupID, request string) bool {
	e, err := t.groupEntry(g)
	if err != nil {
		return false
	}
	for _, r := range e.core.Requests() {
		if r.Request == request {
			return true
		}
	}
	return false
}

// groupDoorEffect does what a group wants with addresses and doors: connections of its own, on which frames travel as on
// those of contacts.
func (t *turn) groupDoorEffect(g *groupEntry, effect grouproto.Effect) {
	switch f := effect.(type) {
	case grouproto.NewAddress:
		id := ConnectionID(f.Conn)
		if _, err := t.conn(id); err == nil {
			return
		}
		core, effects := conn.Create(t.connEnv(id), id, conn.CreateOptions{Kind: link.Contact})
		t.addConn(core, connMeta{Kind: KindAddress, State: stateCreating, Group: g.id}, effects)
	case grouproto.OpenDoor:
		request, err := link.Parse(string(f.Address))
		if err != nil || request.Kind != link.Contact {
			t.doorFailed(g.id, f.Door, grouproto.ReasonRefused)
			return
		}
		t.joinDoor(g, f.Door, request, f.Info)
	case grouproto.AcceptDoor:
		t.acceptDoor(g, f)
	case grouproto.RefuseDoor:
		if e, err := t.conn(ConnectionID(f.Address)); err == nil && t.stepConn(e, conn.Answered{Request: f.Request}) != nil {
			t.log.Info("request at a group's address is gone already")
		}
	case grouproto.SendDoor:
		t.sendDoor(g, f)
	}
}

// joinDoor joins an address, or the link that came with a request, unless that is done.
func (t *turn) joinDoor(g *groupEntry, door string, request link.Request, info []byte) {
	id := ConnectionID(door)
	if _, err := t.conn(id); err == nil {
		return
	}
	core, effects, err := conn.Join(t.connEnv(id), id, conn.JoinOptions{
		Link: request,
		Info: func([32]byte) ([]byte, error) { return info, nil },
	})
	if err != nil {
		t.log.Info("door cannot be joined", "error", err)
		t.doorFailed(g.id, door, reasonOf(err))
		return
	}
	t.addConn(core, connMeta{Kind: KindJoiner, State: stateJoining, Group: g.id, Door: true}, effects)
}

func (t *turn) acceptDoor(g *groupEntry, f grouproto.AcceptDoor) {
	if _, err := t.conn(ConnectionID(f.Door)); err == nil {
		return
	}
	e, err := t.conn(ConnectionID(f.Address))
	if err != nil {
		t.doorFailed(g.id, f.Door, grouproto.ReasonNotAvailable)
		return
	}
	asked, ok := e.core.Request(t.connEnv(e.id), f.Request)
	if !ok || asked.Link.Kind != link.Invitation {
		t.doorFailed(g.id, f.Door, grouproto.ReasonRefused)
	} else {
		t.joinDoor(g, f.Door, asked.Link, nil)
	}
	if ok && t.stepConn(e, conn.Answered{Request: f.Request}) != nil {
		t.log.Info("request at a group's address is gone already")
	}
}

// sendDoor sends a frame over a door, or keeps it until the door can send.
func (t *turn) sendDoor(g *groupEntry, f grouproto.SendDoor) {
	t.groupSendConn(g, grouproto.SendConn{Conn: f.Door, Body: appendGroupFrame(f.Frame), Notify: true})
}

func (t *turn) doorFailed(g GroupID, name string, why grouproto.Reason) {
	t.groupInput(g, grouproto.DoorFailed{Door: name, Reason: why})
}

// groupDoorEvent takes an event of an address or a door to its group.
func (t *turn) groupDoorEvent(e *connEntry, event conn.Event) {
	name := string(e.id)
	in := func(i grouproto.Input) { t.groupInput(e.meta.Group, i) }
	switch ev := event.(type) {
	case conn.LinkReady:
		if e.meta.Kind != KindAddress {
			return // the door's own link went with the request
		}
		e.meta.Link = ev.Link.Text()
		t.setState(e, stateAddress)
		t.saveMeta(e)
		in(grouproto.AddressReady{Conn: name, Link: []byte(e.meta.Link)})
		t.answerLink(e.id, linkResult{link: e.meta.Link})
	case conn.Request:
		if !ev.Compatible {
			_ = t.stepConn(e, conn.Answered{Request: ev.ID}) // it was stored in this very step
			return
		}
		in(grouproto.DoorAsked{Request: ev.ID, Info: ev.Info})
	case conn.Confirmation:
		t.setState(e, stateConnecting)
		if err := t.stepConn(e, conn.Allow{Confirmation: ev.ID}); err != nil {
			t.doorFailed(e.meta.Group, name, reasonOf(err))
		}
	case conn.Joined:
		t.setState(e, stateConnecting)
	case conn.Connected:
		t.setState(e, stateConnected)
		in(grouproto.DoorOpen{Door: name})
	case conn.Message:
		if frame, ok := groupFrame(ev.Body); ok {
			in(grouproto.DoorFrame{Door: name, Frame: frame})
		}
		t.later(func() { t.ackGroupConn(e.id, ev.ID) })
	case conn.Receipts:
		t.later(func() { t.ackGroupConn(e.id, ev.ID) })
	case conn.Waiting:
		t.doorWaits(e, ev.Err)
	case conn.SendFailed:
		t.doorFailed(e.meta.Group, name, reasonOf(ev.Err))
	case conn.ResyncChanged:
		if ev.State == conn.ResyncRequired {
			t.doorFailed(e.meta.Group, name, grouproto.ReasonRefused)
		}
	case conn.Failure:
		if ev.Err.Kind == conn.PeerFault {
			t.log.Info("bad message at a group's address or door", "error", ev.Err)
			return
		}
		t.setState(e, stateFailed)
		t.answerLink(e.id, linkResult{err: ev.Err})
		t.doorFailed(e.meta.Group, name, reasonOf(ev.Err))
	}
}

// doorWaits tells the client that a relay does not answer: its own, which the address is to be at, or that of a member whom
// it asks. About relays that strangers choose it is told nothing.
func (t *turn) doorWaits(e *connEntry, why *conn.Error) {
	g, err := t.groupEntry(e.meta.Group)
	if err != nil {
		return
	}
	switch status := g.core.Info().Status; {
	case e.meta.Kind == KindAddress, status == grouproto.StatusAsking, status == grouproto.StatusJoining:
		t.report(g.id.Entity(), failed(why))
	}
}
