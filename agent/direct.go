package agent

import (
	"bytes"
	"context"

	"github.com/coterie-im/coterie/directconn"
	"github.com/coterie-im/coterie/grouproto"
)

// DirectOptions say how a member is asked for a direct connection.
type DirectOptions struct {
	// Text is shown to the member, up to 4,096 bytes.
	Text []byte
	// Info is given to the peer when the connection is made, like the info of Allow.
	Info []byte
}

// GroupDirect asks a member of a group for a direct connection (GDIRECT). DirectReady or DirectEnded follow.
func (a *Agent) GroupDirect(ctx context.Context, g GroupID, m MemberID, o DirectOptions) (request string, err error) {
	return call(ctx, a, func(t *turn) (string, error) {
		peer, self, err := t.directPeer(g, m)
		if err != nil {
			return "", err
		}
		if e, err := t.groupEntry(g); err != nil {
			return "", err
		} else if err := e.core.MayAsk(peer.Member); err != nil {
			return "", err
		}
		done, err := t.directCommand(directconn.Ask{Peer: peer, Self: self, Text: o.Text})
		if err != nil {
			return "", err
		}
		t.changeDirect(peer, func(r *directRecord) { r.Info = o.Info })
		return requestText(done.Request), nil
	})
}

// GroupDirectAccept accepts a DirectRequest event (GACPT); the peer gets info. DirectReady follows.
func (a *Agent) GroupDirectAccept(ctx context.Context, g GroupID, request string, info []byte) error {
	return do(ctx, a, func(t *turn) error {
		r, err := parseRequest(request)
		if err != nil {
			return err
		}
		peer, ok := t.asker(g, request)
		if !ok {
			return ErrNoInvitation
		}
		if _, err = t.directCommand(directconn.Accept{Request: r}); err != nil {
			return err
		}
		t.changeDirect(peer, func(r *directRecord) { r.Info = info })
		return nil
	})
}

// GroupDirectReject refuses a DirectRequest event; the member is told.
func (a *Agent) GroupDirectReject(ctx context.Context, g GroupID, request string) error {
	return do(ctx, a, func(t *turn) error {
		r, err := parseRequest(request)
		if err != nil {
			return err
		}
		_, err = t.directCommand(directconn.Refuse{Request: r})
		return err
	})
}

// GroupDirectWithdraw takes back the own request to a member that is under way.
func (a *Agent) GroupDirectWithdraw(ctx context.Context, g GroupID, m MemberID) error {
	return do(ctx, a, func(t *turn) error {
		peer, _, err := t.directPeer(g, m)
		if err != nil {
			return err
		}
		_, err = t.directCommand(directconn.Withdraw{Peer: peer})
		return err
	})
}

// GroupDirectSend sends a message to a member over the direct connection, or keeps it until the connection that was asked
// for works.
func (a *Agent) GroupDirectSend(ctx context.Context, g GroupID, m MemberID, body []byte) error {
	if bytes.HasPrefix(body, []byte(groupPrefix)) {
		return ErrReserved
	}
	return do(ctx, a, func(t *turn) error {
		peer, _, err := t.directPeer(g, m)
		if err != nil {
			return err
		}
		_, err = t.directCommand(directconn.Write{Peer: peer, Body: body})
		return err
	})
}

// DirectRule is the standing answer to a member's requests for direct connections.
type DirectRule string

// The rules.
const (
	DirectAsk    DirectRule = "ask"    // DirectRequest is told, if the group's policy permits it
	DirectAccept DirectRule = "accept" // accepted at once, whatever the policy
	DirectRefuse DirectRule = "refuse" // refused at once
	DirectBlock  DirectRule = "block"  // refused, and the client is never told
)

// GroupDirectRule sets the standing answer to a member's requests. Info goes to the peer of what DirectAccept accepts.
func (a *Agent) GroupDirectRule(ctx context.Context, g GroupID, m MemberID, rule DirectRule, info []byte) error {
	choice, ok := map[DirectRule]directconn.Choice{
		DirectAsk:    directconn.ChoiceAsk,
		DirectAccept: directconn.ChoiceAccept,
		DirectRefuse: directconn.ChoiceRefuse,
		DirectBlock:  directconn.ChoiceRefuse,
	}[rule]
	if !ok {
		return ErrNoRule
	}
	return do(ctx, a, func(t *turn) error {
		peer, _, err := t.directPeer(g, m)
		if err != nil {
			return err
		}
		if _, err := t.directCommand(directconn.Choose{Peer: peer, Choice: choice}); err != nil {
			return err
		}
		if _, err := t.directCommand(directconn.Block{Peer: peer, On: rule == DirectBlock}); err != nil {
			return err
		}
		t.changeDirect(peer, func(r *directRecord) { r.Info = info })
		return nil
	})
}

// directPeer names a member for the direct-connection core and returns the own key in the group.
func (t *turn) directPeer(g GroupID, m MemberID) (directconn.Peer, grouproto.Key, error) {
	k, err := m.key()
	if err != nil {
		return directconn.Peer{}, k, err
	}
	e, err := t.groupEntry(g)
	if err != nil {
		return directconn.Peer{}, k, err
	}
	return directPeer(g, k), e.core.Self(), nil
}
