package conn

import (
	"github.com/coterie-im/coterie/agent/link"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/queue"
)

// versions are the ranges that a connection speaks.
type versions struct {
	agent, client queue.VersionRange
	ratchet       uint16 // highest
}

var supported = versions{agent: link.AgentVersions, client: link.ClientVersions, ratchet: ratchet.MaxVersion}

// Agent versions at which something changes.
const (
	agentResync    queue.Version = 3 // ratchet re-synchronisation
	agentReceipts  queue.Version = 4 // delivery receipts
	agentEarlySend queue.Version = 7 // the joiner may send before the initiator's client allows
)

func (e Env) supports() versions {
	if e.versions != nil {
		return *e.versions
	}
	return supported
}
