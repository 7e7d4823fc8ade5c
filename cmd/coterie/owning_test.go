package main

import (
	"testing"

	"github.com/coterie-im/coterie/test/world"
)

// A second device is brought in by typing, and reads what the first one has.
func TestPeopleHaveSeveralDevices(t *testing.T) {
	relay := world.StartRelay(t)
	phone, laptop, ben := sitDown(t, relay, "ann"), sitDown(t, relay, "new"), sitDown(t, relay, "ben")
	phone.types("/invite")
	ben.types("/connect " + phone.sees(`simplex:\S+`))
	phone.sees(`@ben · connected`)
	ben.sees(`@ann · connected`)
	phone.types("@ben said before")
	phone.types("/device begin phone")
	phone.sees(`this is phone, the first of your devices`)
	phone.types("/device link")
	link := phone.sees(`coterie:/device#\S+`)
	laptop.types("/device join " + link + " laptop")
	code := laptop.sees(`/device confirm \S+`)
	phone.sees(`a device that calls itself laptop used the link; .*: /device confirm CODE`)
	phone.types("/device confirm aaaa-bbbb-cccc-dddd")
	phone.sees(`! no device that used a link`)
	phone.types(code)
	phone.sees(`laptop is let in`)
	laptop.sees(`\(devices\) · joined, 2 members`)
	laptop.sees(`@ben you, on phone: said before`)
	laptop.types("/profile")
	laptop.sees(`· ann`)
	ben.types("@ann an answer")
	laptop.sees(`@ben ben \(on phone\): an answer`)
	laptop.types("/history @ben")
	laptop.sees(`ben \(on phone\): an answer`)
	laptop.types("/list")
	laptop.sees(`contact ben \(on another device\)`)
	laptop.types("@ben from here?")
	laptop.sees(`! only another device of yours`)
	phone.types("/device list")
	phone.sees(`laptop +connected`)
	phone.types("/profile annie")
	laptop.sees(`new contacts and groups get to know you as annie`)
	phone.types("/device remove laptop")
	laptop.sees(`\(devices\) · phone removed you`)
	laptop.types("/device contest")
	laptop.sees(`! there is no removal that can be contested`)
	for _, wrong := range []string{"/device nonsense", "/device link more", "/device list", "/device leave", "/device join x y"} {
		laptop.types(wrong)
		laptop.sees(`! `)
	}
	phone.types("/device")
	phone.sees(`/device begin NAME`)
	for _, p := range []*person{phone, laptop, ben} {
		p.leaves()
	}
}
