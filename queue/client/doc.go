// Package client is one session of a client with one relay: it connects, reconnects, batches commands into blocks,
// matches responses, and keeps subscriptions alive (docs/protocol.md, "Sessions of a client").
//
// It does not know what messages are for: it neither opens nor stores them, and it retries no command but SUB. Who needs
// a command done repeats it when Classify says that this may help.
//
// # Events and slow consumers
//
// Everything that the relay says unasked, and every message, comes over the one channel Events, in order. Between the
// relay and the channel is a list with room for Config.EventLimit messages, and as many other events. The session never
// waits for its consumer, so that a consumer may call any method while it handles an event. When the list is full,
//
//   - a message is dropped and its queue subscribed again when half of the room is free, not more queues at a time than
//     there is room: nothing was acknowledged, so the relay delivers it again (a counter in Stats tells how often);
//   - no connection is made and no queue is subscribed again until there is room, unless a caller waits for it;
//   - events that are no messages are kept, combined with the one before where they are alike, so that their number is
//     bounded by the subscriptions that the caller has made.
//
// # Connection
//
// A session connects when a command or a subscription needs it. After a failure or a loss it waits 2 seconds, later
// longer, up to 3 minutes, and connects again if there are subscriptions. A command meanwhile waits for the next attempt
// if that is due within its own time limit, and fails with it; otherwise it fails at once with the error of the last one.
// A command that was sent when the connection was lost fails with ErrDisconnected: nobody knows whether it was executed.
package client
