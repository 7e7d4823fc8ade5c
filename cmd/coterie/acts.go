package main

import (
	"context"
	"fmt"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/chat"
)

// inviteSixth lets somebody who is not the creator invite somebody new.
func (d *demo) inviteSixth(ctx context.Context) error {
	d.headline("ben invites fay: everybody may, and everybody introduces")
	if err := d.enter(ctx, "fay"); err != nil {
		return err
	}
	if err := d.join(ctx, d.named("ben"), d.named("fay")); err != nil {
		return err
	}
	if err := d.say(ctx, d.named("fay"), "hello, what did I miss?"); err != nil {
		return err
	}
	return d.say(ctx, d.named("dan"), "only the part that was not meant for you")
}

// direct makes a contact of two members, who share nothing with the group then.
func (d *demo) direct(ctx context.Context) error {
	d.headline("cat asks eve for a direct connection, and eve accepts")
	cat, eve := d.named("cat"), d.named("eve")
	markCat, markEve := cat.mark(), eve.mark()
	if _, err := cat.client.GroupDirect(ctx, cat.group, eve.key, agent.DirectOptions{Text: []byte("lunch?")}); err != nil {
		return err
	}
	u, err := eve.await(ctx, "a request", markEve, func(u chat.Update) bool { return u.Request != nil })
	if err != nil {
		return err
	}
	if err := eve.client.GroupDirectAccept(ctx, eve.group, u.Request.Request, nil); err != nil {
		return err
	}
	ready, err := awaitEvent(ctx, cat, "the direct connection", markCat, anything[*agent.DirectReady])
	if err != nil {
		return err
	}
	if err := cat.app.Send(ctx, ready.Connection, "lunch at noon, do not tell ben"); err != nil {
		return err
	}
	_, err = eve.await(ctx, "a direct message", markEve, func(u chat.Update) bool {
		return u.Message != nil && u.Conversation.Kind == "contact" && u.Message.Text == "lunch at noon, do not tell ben"
	})
	if err != nil {
		return err
	}
	d.account("cat and eve have a direct connection that no other member knows of", true)
	return nil
}

// partings lets one member leave and removes one.
func (d *demo) partings(ctx context.Context) error {
	d.headline("dan leaves, and ann removes fay")
	dan, fay, ann := d.named("dan"), d.named("fay"), d.named("ann")
	if err := dan.client.GroupLeave(ctx, dan.group); err != nil {
		return err
	}
	d.present = d.presentExcept(dan)
	if err := d.samePresence(ctx); err != nil {
		return err
	}
	mark := fay.mark()
	if err := ann.client.GroupRemove(ctx, ann.group, agent.RemoveOptions{Members: []agent.MemberID{fay.key}}); err != nil {
		return err
	}
	d.present = d.presentExcept(fay)
	if err := d.samePresence(ctx); err != nil {
		return err
	}
	if _, err := awaitEvent(ctx, fay, "the removal", mark, anything[*agent.Removed]); err != nil {
		return err
	}
	if _, err := fay.app.SendGroup(ctx, fay.group, "can you still read me?"); err == nil {
		d.account("a removed member could write", false)
	} else {
		d.remark("fay cannot write any more: %v", err)
	}
	return d.say(ctx, d.named("eve"), "fay and dan do not get this one")
}

// samePresence waits until all members agree who is present.
func (d *demo) samePresence(ctx context.Context) error {
	return d.eventually(ctx, "members agree", func() (bool, error) {
		for _, m := range d.present {
			info, err := m.info(ctx)
			if err != nil || info.Present != len(d.present) {
				return false, err
			}
		}
		return true, nil
	})
}

// killAgent kills an agent in the middle of a conversation.
func (d *demo) killAgent(ctx context.Context) error {
	d.headline("cat's agent is killed with -9 while the others talk, and catches up")
	cat := d.named("cat")
	for i := range 6 {
		author := d.present[i%2] // ann and ben
		if err := d.post(ctx, author, fmt.Sprintf("message %d of a lively evening", i+1)); err != nil {
			return err
		}
		if i == 2 {
			if err := cat.stop(true); err != nil {
				return err
			}
			d.remark("cat's agent is gone")
		}
	}
	if err := d.delivered(ctx, d.presentExcept(cat)); err != nil {
		return err
	}
	if err := cat.start(ctx); err != nil {
		return err
	}
	if err := d.delivered(ctx, d.present); err != nil {
		return err
	}
	d.account("cat has everything that was said meanwhile", true)
	return d.say(ctx, cat, "back again, nothing missing")
}

// killRelay kills the relay while messages are under way.
func (d *demo) killRelay(ctx context.Context) error {
	d.headline("the relay is killed with -9 and comes back")
	if err := d.relay.kill(); err != nil {
		return err
	}
	d.remark("the relay is gone")
	for _, m := range d.present {
		if err := d.post(ctx, m, m.name+" talks to a relay that is not there"); err != nil {
			return err
		}
	}
	if err := d.relay.start(ctx); err != nil {
		return err
	}
	d.remark("the relay is back")
	if err := d.delivered(ctx, d.present); err != nil {
		return err
	}
	d.account("what was said without a relay has arrived", true)
	return nil
}
