package chat

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/chat/store"
)

// deviceLink returns the record of an event's connection, if it is one for a device.
func deviceLink(b *store.Batch, e agent.Event) (store.DeviceLink, bool, error) {
	if e.Connection() == "" {
		return store.DeviceLink{}, false, nil
	}
	return b.DeviceLink(string(e.Connection()))
}

// recordDevice takes an event of a connection that is there for a device: it is no contact.
func (a *App) recordDevice(b *store.Batch, e agent.Event, l store.DeviceLink) ([]Update, error) {
	switch data := e.Data.(type) {
	case *agent.Confirmation:
		p, ok := readDevice(data.Info)
		if !l.Made || !ok {
			return []Update{{Remark: "somebody else used a link for a device, and was turned away; make a new one"}}, nil
		}
		l.Name, l.Proof, l.Confirmation = p.Name, p.Proof, data.Confirmation
		return []Update{{Remark: fmt.Sprintf("a device that calls itself %s used the link; it is let in when the code that it shows is typed here", p.Name), DeviceAsks: p.Name}},
			b.PutDeviceLink(l)
	case *agent.GroupInvitation:
		if !invitesDevice(l, data) {
			return []Update{{Remark: "the link was not made by a device of yours, and nothing was told to whom it leads"}}, nil
		}
		return []Update{{Remark: "the other device lets this one in"}}, nil
	case *agent.Failed:
		if data.Fault == "over" {
			return []Update{{Remark: "the link for a device cannot be used any more: " + inWords(codeWords, data.Code)}}, nil
		}
	case *agent.Deleted:
		b.DropDeviceLink(l.Connection)
	}
	return nil, nil
}

// invitesDevice tells whether an invitation comes from the device that made the link: only that one has the code.
func invitesDevice(l store.DeviceLink, i *agent.GroupInvitation) bool {
	p, ok := readDevice(i.Info)
	return ok && !l.Made && l.Code != "" && hmac.Equal(p.Proof, proof(labelInvites, l.Code, l.Link))
}

// respondDevice does what an event of such a connection asks for.
func (a *App) respondDevice(ctx context.Context, e agent.Event, l store.DeviceLink) error {
	id := e.Connection()
	switch data := e.Data.(type) {
	case *agent.Confirmation:
		if _, ok := readDevice(data.Info); !l.Made || !ok {
			return a.Agent.DeleteConnection(ctx, id, false)
		}
	case *agent.Connected:
		if !l.Confirmed {
			return nil
		}
		own, err := a.self()
		if err != nil || own.Group == "" {
			return err
		}
		info, err := encode(eventDevice, MessageID{}, deviceParams{Version: deviceVersion, Proof: proof(labelInvites, l.Code, l.Link)})
		if err != nil {
			return err
		}
		if l.Invitation, err = a.Agent.GroupAdd(ctx, agent.GroupID(own.Group), id, agent.AddOptions{Info: info, Key: "device/" + string(id)}); err != nil {
			if ctx.Err() != nil {
				return err
			}
			a.Observe(Update{Remark: "the device was not let in: " + err.Error()})
			return a.Agent.DeleteConnection(ctx, id, false)
		}
		return a.write(func(b *store.Batch) error { return b.PutDeviceLink(l) })
	case *agent.GroupInvitation:
		own, err := a.self()
		if err != nil {
			return err
		}
		if !invitesDevice(l, data) || own.Group != "" {
			err := a.Agent.GroupReject(ctx, data.Invitation)
			if err != nil && !errors.Is(err, agent.ErrNoInvitation) {
				return err
			}
			return a.Agent.DeleteConnection(ctx, id, false)
		}
		card, err := deviceCard(l.Name)
		if err != nil {
			return err
		}
		g, err := a.Agent.GroupJoin(ctx, data.Invitation, card)
		if err != nil {
			return err
		}
		l.Group, l.Code = string(g), ""
		if err := a.write(func(b *store.Batch) error { return b.PutDeviceLink(l) }); err != nil {
			return err
		}
		return a.enterDevices(ctx, g, false)
	case *agent.Message:
		return a.Agent.Ack(ctx, id, data.ID, nil)
	case *agent.Received:
		return a.Agent.Ack(ctx, id, data.ID, nil)
	case *agent.Failed:
		if data.Fault == "over" {
			return a.Agent.DeleteConnection(ctx, id, false)
		}
	}
	return nil
}

// respondDevices does what an event of the group of devices asks for.
func (a *App) respondDevices(ctx context.Context, e agent.Event) error {
	all := func(l store.DeviceLink) bool { return l.Group == string(e.Group()) }
	switch data := e.Data.(type) {
	case *agent.Introduced: // the other device's part is done
		return a.close(ctx, func(l store.DeviceLink) bool { return !l.Made && all(l) })
	case *agent.AllConnected:
		return a.close(ctx, func(l store.DeviceLink) bool { return l.Member == string(data.Member) && l.Made })
	case *agent.Removed, *agent.GroupDeleted:
		return a.close(ctx, all)
	case *agent.GroupChanged:
		switch data.Change {
		case agent.ChangeLeft:
			return a.close(ctx, all)
		case agent.ChangeRestored:
			return a.enterDevices(ctx, e.Group(), true)
		case agent.ChangeInvitationRefused, agent.ChangeInvitationExpired, agent.ChangeInvitationVoid:
			return a.close(ctx, func(l store.DeviceLink) bool { return l.Invitation == data.Invitation })
		}
	}
	return nil
}

func (a *App) close(ctx context.Context, which func(store.DeviceLink) bool) error {
	_, err := a.closeLinks(ctx, which)
	return err
}

// closeLinks deletes connections that were only there to bring a device in, and tells whether there were any.
func (a *App) closeLinks(ctx context.Context, which func(store.DeviceLink) bool) (some bool, err error) {
	_, links, err := a.deviceLinks()
	if err != nil {
		return false, err
	}
	for _, l := range links {
		if !which(l) {
			continue
		}
		some = true
		err := a.Agent.DeleteConnection(ctx, agent.ConnectionID(l.Connection), false)
		if errors.Is(err, agent.ErrNoConnection) {
			err = a.write(func(b *store.Batch) error { b.DropDeviceLink(l.Connection); return nil })
		}
		if err != nil && !errors.Is(err, &conn.Error{Code: conn.CodeProhibited}) {
			return some, err
		}
	}
	return some, nil
}

// accepted notes which member a link has brought in.
func (a *App) accepted(b *store.Batch, data *agent.GroupChanged) error {
	links, err := b.DeviceLinks()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Invitation == data.Invitation && l.Invitation != "" {
			l.Member = string(data.Member)
			return b.PutDeviceLink(l)
		}
	}
	return nil
}
