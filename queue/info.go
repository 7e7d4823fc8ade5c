package queue

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coterie-im/coterie/internal/wire"
)

// QueueInfo is what a relay tells the recipient about a queue, as JSON with the keys in the order of the fields
// (docs/protocol.md, "Queue information").
type QueueInfo struct {
	Secured      bool               // the sender's key is set
	Notifier     bool               // a notifier exists
	Subscription *SubscriptionInfo  // nil if this connection has no subscription
	Size         int                // messages in the queue, the quota marker counts
	Head         *StoredMessageInfo // first message, nil if there is none
}

// SubscriptionThread says in which state the subscription of the asking connection is.
type SubscriptionThread string

// The states.
const (
	ThreadNone       SubscriptionThread = "noSub"
	ThreadPending    SubscriptionThread = "subPending"
	ThreadRunning    SubscriptionThread = "subThread"
	ThreadProhibited SubscriptionThread = "prohibitSub" // the queue was read with GET
)

// SubscriptionInfo is about the subscription of the asking connection.
type SubscriptionInfo struct {
	Thread    SubscriptionThread
	Delivered ID // delivered and not yet acknowledged, empty if none
}

// StoredMessageInfo is about a message in a queue.
type StoredMessageInfo struct {
	ID    ID
	Time  int64 // when the relay received it, seconds since 1970
	Quota bool  // the quota marker
}

type queueInfoJSON struct {
	Snd  bool                  `json:"qiSnd"`
	Ntf  bool                  `json:"qiNtf"`
	Sub  *subscriptionInfoJSON `json:"qiSub,omitempty"`
	Size int                   `json:"qiSize"`
	Msg  *messageInfoJSON      `json:"qiMsg,omitempty"`
}

type subscriptionInfoJSON struct {
	Thread    SubscriptionThread `json:"qSubThread"`
	Delivered string             `json:"qDelivered,omitempty"`
}

type messageInfoJSON struct {
	ID   string `json:"msgId"`
	Time string `json:"msgTs"`
	Type string `json:"msgType"`
}

var errInfo = errors.New("queue information")

func (q QueueInfo) append(dst []byte) []byte {
	j := queueInfoJSON{Snd: q.Secured, Ntf: q.Notifier, Size: q.Size}
	if s := q.Subscription; s != nil {
		j.Sub = &subscriptionInfoJSON{Thread: s.Thread, Delivered: base64.StdEncoding.EncodeToString([]byte(s.Delivered))}
	}
	if m := q.Head; m != nil {
		j.Msg = &messageInfoJSON{
			ID:   base64.StdEncoding.EncodeToString([]byte(m.ID)),
			Time: time.Unix(m.Time, 0).UTC().Format(time.RFC3339),
			Type: "message",
		}
		if m.Quota {
			j.Msg.Type = "quota"
		}
	}
	b, err := json.Marshal(j)
	if err != nil {
		panic(fmt.Sprintf("queue: information is plain data: %v", err))
	}
	return append(dst, b...)
}

// parseQueueInfo reads the JSON; unknown keys are of later versions and ignored.
func parseQueueInfo(b []byte) (QueueInfo, error) {
	var j queueInfoJSON
	if err := json.Unmarshal(b, &j); err != nil || j.Size < 0 {
		return QueueInfo{}, fmt.Errorf("%w: %w", errInfo, wire.ErrSyntax)
	}
	q := QueueInfo{Secured: j.Snd, Notifier: j.Ntf, Size: j.Size}
	if j.Sub != nil {
		delivered, err := base64.StdEncoding.DecodeString(j.Sub.Delivered)
		if err != nil {
			return QueueInfo{}, fmt.Errorf("%w: %w", errInfo, wire.ErrSyntax)
		}
		q.Subscription = &SubscriptionInfo{Thread: j.Sub.Thread, Delivered: ID(delivered)}
	}
	if j.Msg != nil {
		id, err := base64.StdEncoding.DecodeString(j.Msg.ID)
		if err != nil {
			return QueueInfo{}, fmt.Errorf("%w: %w", errInfo, wire.ErrSyntax)
		}
		at, err := time.Parse(time.RFC3339Nano, j.Msg.Time)
		if err != nil || j.Msg.Type != "message" && j.Msg.Type != "quota" {
			return QueueInfo{}, fmt.Errorf("%w: %w", errInfo, wire.ErrSyntax)
		}
		q.Head = &StoredMessageInfo{ID: ID(id), Time: at.Unix(), Quota: j.Msg.Type == "quota"}
	}
	return q, nil
}
