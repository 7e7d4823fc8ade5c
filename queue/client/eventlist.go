package client

// eventList is the events that wait for the consumer. It is owned by the session's loop.
type eventList struct {
	limit    int // of messages; other events have as much room again before nothing is done that leads to more
	messages int
	events   []Event
}

// full tells whether nothing should be done that leads to more events.
func (l *eventList) full() bool { return l.room() == 0 || len(l.events) >= 2*l.limit }

// room returns how many more messages can be added.
func (l *eventList) room() int { return l.limit - l.messages }

// roomy tells whether at least half of the room is free, so that it is worth filling again.
func (l *eventList) roomy() bool { return l.messages <= l.limit/2 && len(l.events) <= l.limit }

// message adds a message; false if there is no room.
func (l *eventList) message(m Message) bool {
	if l.room() == 0 {
		return false
	}
	l.messages++
	l.events = append(l.events, m)
	return true
}

// add adds an event that is not a message. It is combined with the last one if both say the same.
func (l *eventList) add(e Event) {
	if n := len(l.events); n > 0 {
		switch e := e.(type) {
		case Unreachable:
			if _, again := l.events[n-1].(Unreachable); again {
				l.events[n-1] = e
				return
			}
		case Subscribed:
			if before, again := l.events[n-1].(Subscribed); again {
				// Only what the consumer has not got is in the list, so nobody else has this slice.
				l.events[n-1] = Subscribed{Queues: append(before.Queues, e.Queues...)}
				return
			}
		}
	}
	l.events = append(l.events, e)
}

// next returns the event to offer, nil if there is none.
func (l *eventList) next() Event {
	if len(l.events) == 0 {
		return nil
	}
	return l.events[0]
}

// taken removes the event that was offered.
func (l *eventList) taken() {
	if _, ok := l.events[0].(Message); ok {
		l.messages--
	}
	l.events[0] = nil
	l.events = l.events[1:]
}
