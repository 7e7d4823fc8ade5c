package agent

import (
	"testing"
)

func TestTwoAgentsConnectAndTalk(t *testing.T) {
	relay := startRelay(t)
	alice, bob := newAgent(t, "alice", relay), newAgent(t, "bob", relay)
	ab, ba := connect(t, alice, bob)
	talk(t, alice, ab, bob, ba, "hello bob")
	talk(t, bob, ba, alice, ab, "hello alice")
	for i := range 10 {
		talk(t, alice, ab, bob, ba, string(rune('a'+i)))
	}
}
