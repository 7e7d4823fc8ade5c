package client

import (
	"time"

	"github.com/coterie-im/coterie/queue"
)

// Event is what a session tells its consumer: one of the types below.
type Event interface{ event() }

// Connected: there is a connection, of this version. Subscribed follows for the queues that were subscribed before.
type Connected struct{ Version queue.Version }

// Disconnected: the connection is lost, and with it all subscriptions. They come back by themselves.
type Disconnected struct{ Err error }

// Unreachable: an attempt to connect has failed. Retry is when the next one is due, from now.
type Unreachable struct {
	Err   error
	Retry time.Duration
}

// Subscribed: these queues were subscribed again after a reconnection, or at last, after Subscribe itself had failed with
// a temporary error.
type Subscribed struct{ Queues []queue.ID }

// Refused: the relay has refused to subscribe a queue again, or has ended the subscription with an error (queue.Error
// or queue.ErrResponse). The queue is not subscribed any more.
type Refused struct {
	Queue queue.ID
	Err   error
}

// Ended: another connection has subscribed the queue. It is not subscribed here any more. From relays below version 10
// this can also mean Deleted.
type Ended struct{ Queue queue.ID }

// Deleted: another connection has deleted the queue.
type Deleted struct{ Queue queue.ID }

// Message: a message in a queue, sealed; queue.OpenMessage opens it. The next one of the queue comes after Ack. One that
// was not acknowledged comes again after a reconnection.
type Message struct {
	Queue queue.ID
	Msg   queue.MSG
}

func (Connected) event()    {}
func (Disconnected) event() {}
func (Unreachable) event()  {}
func (Subscribed) event()   {}
func (Refused) event()      {}
func (Ended) event()        {}
func (Deleted) event()      {}
func (Message) event()      {}
