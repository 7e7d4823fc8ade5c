package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/queue/server"
)

// TestCreating writes NEW in every form of every version, right and wrong.
func TestCreating(t *testing.T) {
	r := startRelay(t, func(c *server.Config) { c.Password = "secret" })
	k := newKey(t, "Ed25519")
	dh := string(spkiX25519(publicOf(t)))
	keys := k.public + dh
	x448 := string(spki("3042300506032b656f033900", make([]byte, 56)))
	weak := string(spkiX25519(make([]byte, 32))) // agrees on zeros with everybody
	const created, syntax, auth = "IDS", "ERR CMD SYNTAX", "ERR AUTH"
	old := map[string]string{
		keys + "A\x06secretS":                created,
		keys + "A\x06secretC":                created,
		keys + "A\x06SecretS":                auth,
		keys + "A\x07secret!C":               auth,
		keys + "S":                           auth,
		keys + "C":                           auth,
		keys + "A\x06secret":                 syntax,
		keys + "A\x06secretST":               syntax,
		keys + "A\x06secretX":                syntax,
		keys + "A\x00S":                      syntax,
		keys + "A\x06sec etS":                syntax,
		keys + "A\x06sec:etS":                syntax,
		keys + "1\x06secretS":                syntax,
		keys + "0S":                          syntax,
		keys:                                 syntax,
		"":                                   syntax,
		x448 + dh + "A\x06secretS":           syntax,
		k.public + k.public + "A\x06secretS": syntax,
		k.public + weak + "A\x06secretS":     syntax,
	}
	forms := map[uint16]map[string]string{6: old, 7: old, 8: old, 9: {
		keys + "1\x06secretST":            created,
		keys + "1\x06secretCF":            created,
		keys + "1\x06SecretST":            auth,
		keys + "0ST":                      auth,
		keys + "0CF":                      auth,
		keys + "A\x06secretS":             syntax,
		keys + "1\x06secretS":             syntax,
		keys + "1\x06secretS0":            syntax,
		keys + "1\x06secretSTx":           syntax,
		keys + "1\x06secretXT":            syntax,
		keys + "1\x00ST":                  syntax,
		keys + "2\x06secretST":            syntax,
		keys + "ST":                       syntax,
		keys + "S":                        syntax,
		k.public + weak + "1\x06secretST": syntax,
	}}
	for version, bodies := range forms {
		c := r.at(t, version)
		for body, want := range bodies {
			got := c.do(k.sign, "", "NEW "+body)
			if tag, _, _ := strings.Cut(got, " "); got != want && tag != want {
				t.Errorf("version %d, %q behind the keys: answer is %.40q, want %s", version, strings.TrimPrefix(body, keys), got, want)
			}
		}
	}
}

// TestContactQueues are queues whose sender may not secure them; their recipient may.
func TestContactQueues(t *testing.T) {
	r := startRelay(t, nil)
	bob, alice := r.at(t, 9), r.at(t, 9)
	for _, algorithm := range []string{"Ed25519", "X25519", "Ed448"} {
		k, sender := newKey(t, algorithm), newKey(t, algorithm)
		ids := cursor{t, []byte(bob.do(k.sign, "", "NEW "+k.public+string(spkiX25519(publicOf(t)))+"0SF"))}
		ids.bytes(len("IDS "))
		recipient, senderID := string(ids.str()), string(ids.str())
		ids.str()
		if string(ids.rest) != "F" {
			t.Fatalf("IDS of a contact queue ends with %q", ids.rest)
		}
		alice.want("ERR AUTH", sender.sign, senderID, "SKEY "+sender.public)
		for i := range 2 {
			alice.want("OK", unsigned, senderID, fmt.Sprint("SEND F ", i))
		}
		bob.event(recipient)
		bob.want("OK", k.sign, recipient, "KEY "+sender.public)
		alice.want("ERR AUTH", sender.sign, senderID, "SKEY "+sender.public)
		alice.want("ERR AUTH", unsigned, senderID, "SEND F unsigned")
		alice.want("OK", sender.sign, senderID, "SEND F signed")
		alice.want("ERR CMD NO_AUTH", unsigned, recipient, "DEL")
		bob.want("OK", k.sign, recipient, "DEL")
	}
	bob.quiet()
}
