package agent

import (
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/grouproto"
)

const anAddress = "simplex:/contact#/?v=2-7&smp=smp%3A%2F%2Fu2dS9sG8nMNURyZwqASV4yROM28Er0luVTx5X1CsMrU%3D%40smp.example.com%2F3456-w%3D%3D%23%2F%3Fv%3D1-2%26dh%3DMCowBQYDK2VuAyEAjiswwI3O_NlS8Fk3HJUW870EY2bAwmttMBsvRB9eV3o%253D"

func TestGroupLink(t *testing.T) {
	group := grouproto.GroupID{1, 2, 3}
	text := groupLink(group, anAddress)
	if !IsGroupLink(text) || IsGroupLink(anAddress) {
		t.Error("which is a group link?")
	}
	g, address, err := parseGroupLink(text)
	if err != nil || g != group {
		t.Fatal(err)
	}
	if r, err := link.Parse(address); err != nil || r.Kind != link.Contact {
		t.Error(address, err)
	}
	for name, wrong := range map[string]string{
		"empty":              "",
		"only an address":    anAddress,
		"no group":           groupLinkPrefix + "#" + anAddress,
		"short group":        groupLinkPrefix + "AAAA#" + anAddress,
		"no address":         groupLinkPrefix + group.Text(),
		"an empty address":   groupLink(group, ""),
		"a one-time link":    groupLink(group, strings.Replace(anAddress, "/contact#", "/invitation#", 1)),
		"another scheme":     strings.Replace(text, "coterie:", "coterie2:", 1),
		"padded group":       groupLinkPrefix + group.Text() + "=#" + anAddress,
		"something in front": " " + text,
	} {
		if _, _, err := parseGroupLink(wrong); err == nil {
			t.Errorf("%s was taken", name)
		} else if e, ok := err.(*conn.Error); !ok || e.Code != conn.CodeLink {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzGroupLink(f *testing.F) {
	f.Add(groupLink(grouproto.GroupID{}, anAddress))
	f.Add(groupLinkPrefix)
	f.Fuzz(func(t *testing.T, text string) {
		group, address, err := parseGroupLink(text)
		if err != nil {
			return
		}
		again, same, err := parseGroupLink(groupLink(group, address))
		if err != nil || again != group || same != address {
			t.Fatalf("%q became %q, %v", text, groupLink(again, same), err)
		}
	})
}
