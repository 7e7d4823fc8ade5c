package client

import (
	"context"
	"errors"

	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/transport"
)

// The errors of commands that no relay has answered. Errors that a relay has answered are of type queue.Error.
var (
	// ErrDisconnected: the connection was lost before the answer came. The command may have been executed.
	ErrDisconnected = errors.New("connection to relay lost")
	// ErrTimeout: no answer in time. The command may have been executed.
	ErrTimeout = errors.New("relay did not answer in time")
	// ErrSlowConsumer: a message was the answer, and events are not being read. The relay keeps the message.
	ErrSlowConsumer = errors.New("events are not being read")
	// ErrClosed: the session was closed by Close.
	ErrClosed = errors.New("session is closed")
	// ErrUnexpected: the relay answered something that is no answer to this command.
	ErrUnexpected = errors.New("response of relay does not fit the command")
)

// errForgotten is what who waits for a subscription gets when somebody has given it up.
var errForgotten = errors.New("subscription was given up")

// DialError is the error of an attempt to connect.
type DialError struct{ Err error }

// Error describes the cause.
func (e *DialError) Error() string { return "connect to relay: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Class says what a caller can do about an error.
type Class uint8

// The classes.
const (
	// Permanent: the relay has refused, or its answer makes no sense; repeating does not help.
	Permanent Class = iota
	// Temporary: network, time limit, proxy session; repeat after a while.
	Temporary
	// Host: the relay cannot be reached from here as things are: no usable host, no common version, no common
	// cryptography; or it cannot store anything, as when its disk is full. Repeat rarely; a change of configuration or of
	// the relay may help.
	Host
)

// String returns the class's name.
func (c Class) String() string { return [...]string{"permanent", "temporary", "host"}[c] }

// Classify tells what can be done about an error of a Client. Nil is Permanent.
func Classify(err error) Class {
	var answered queue.Error
	if errors.As(err, &answered) {
		return classifyAnswer(answered)
	}
	for _, host := range []error{transport.ErrHost, transport.ErrVersion, transport.ErrEd448} {
		if errors.Is(err, host) {
			return Host
		}
	}
	var dial *DialError
	if errors.As(err, &dial) {
		return Temporary
	}
	for _, temporary := range []error{ErrDisconnected, ErrTimeout, ErrSlowConsumer, ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, temporary) {
			return Temporary
		}
	}
	return Permanent
}

func classifyAnswer(e queue.Error) Class {
	switch {
	case e == queue.ErrProxyNoSession:
		return Temporary
	case e.IsStore():
		return Host
	}
	broker, ok := e.ProxyBroker()
	switch {
	case !ok:
		return Permanent
	case broker.IsNetwork() || broker == queue.BrokerTimeout:
		return Temporary
	case broker == queue.BrokerHost || broker == queue.BrokerVersion:
		return Host
	default:
		return Permanent
	}
}
