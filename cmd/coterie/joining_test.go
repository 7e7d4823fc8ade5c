package main

import (
	"testing"

	"github.com/coterie-im/coterie/test/world"
)

// Everything about joining by link can be done and seen without another program.
func TestPeopleJoinByLink(t *testing.T) {
	relay := world.StartRelay(t)
	ann, ben, cat := sitDown(t, relay, "ann"), sitDown(t, relay, "ben"), sitDown(t, relay, "cat")
	ann.types("/group our friends")
	ann.sees(`is made`)
	ann.types("/link our_friends")
	ann.sees(`whoever has this link can ask to be let in \(who has made the link decides`)
	link := ann.sees(`coterie:/group/\S+`)

	ben.types("/ask " + link)
	ben.sees(`#group asked for · asked to be let in`)
	ann.sees(`#our friends · ben asks to be let in: /approve or /deny`)
	ben.types("/list")
	ben.sees(`group group asked for \(asked to be let in, no answer yet\)`)
	ann.types("/requests our_friends")
	ann.sees(`ben  \S+`)
	ann.types("/deny")
	ben.sees(`you were not let in`)
	ann.types("/deny")
	ann.sees(`! there is nothing to answer`)
	ann.types("/requests our_friends")
	ann.sees(`nobody asks`)

	cat.types("/ask " + link)
	ann.sees(`cat asks`)
	ann.types("/approve our_friends nobody")
	ann.sees(`! nobody of that name asks`)
	ann.types("/approve our_friends cat")
	cat.sees(`#our friends · joined, 2 members`)
	ann.sees(`you added cat`)
	cat.types("#our_friends let in")
	ann.sees(`#our friends cat: let in`)

	for _, wrong := range []string{"/rule our_friends anything", "/rule our_friends password", "/approve our_friends", "/ask nowhere", "/unlink nothing"} {
		ann.types(wrong)
		ann.sees(`! `)
	}
	ann.types("/rule our_friends password two_words")
	cat.sees(`#our friends · who asks with a link: who knows the password is let in`)
	ben.types("/ask " + link + " guessed")
	ben.sees(`you were not let in`)
	ann.types("/rule our_friends")
	ann.sees(`who knows the password is let in`)
	ben.types("/ask " + link + " two_words")
	ben.sees(`#our friends · joined, 3 members`)
	ann.types("/state our_friends")
	ann.sees(`3 members, \d connected, state [0-9a-f]{16}`)
	ann.sees(`by link: who knows the password is let in; 0 ask now`)

	ann.types("/unlink our_friends")
	ann.sees(`leads nowhere now`)
	ann.types("/unlink our_friends")
	ann.sees(`! `)
	for _, p := range []*person{ann, ben, cat} {
		p.leaves()
	}
}

func TestPeopleContestAndRepair(t *testing.T) {
	relay := world.StartRelay(t)
	ann, ben := sitDown(t, relay, "ann"), sitDown(t, relay, "ben")
	ann.types("/group friends")
	ann.types("/link friends")
	ann.types("/rule friends open")
	ben.types("/ask " + ann.sees(`coterie:/group/\S+`))
	ben.sees(`joined, 2 members`)
	ann.sees(`connected with ben`)
	ann.types("#friends hello")
	ben.sees(`ann: hello`)
	ann.types("/delivered friends")
	ann.sees(`"hello"`)
	ann.sees(`ben +(sent|delivered)`)
	ben.types("/delivered friends")
	ben.sees(`! nothing was written from here`)
	ben.types("/contest friends")
	ben.sees(`! there is no removal`)
	ben.types("/remove friends ann")
	ann.sees(`#friends · ben removed you; that can be contested, as you stand above: /contest friends`)
	ann.types("/list")
	ann.sees(`group friends \(ended\)`)
	ann.types("/contest friends")
	ann.sees(`you are a member again`)
	ben.sees(`ann removed you`)
	ann.types("/repair friends nobody")
	ann.sees(`! `)
	ann.types("/recover friends")
	ann.sees(`nothing can be written until`)
	ann.sees(`writing goes on`)
	ann.leaves()
	ben.leaves()
}
