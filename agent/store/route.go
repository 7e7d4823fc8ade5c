package store

import (
	"database/sql"
	"fmt"

	"github.com/coterie-im/coterie/internal/wire"
)

// Route says whose queue a receive queue is.
type Route struct {
	// Relay is the address of the relay, as the agent writes it.
	Relay string
	// Recipient is the queue's recipient ID, up to 255 bytes.
	Recipient []byte
	// Connection is the ID of the connection that owns the queue.
	Connection string
	// Key is the secret that authorizes the recipient's commands, up to 255 bytes: with it all queues can be subscribed
	// before their connections are loaded.
	Key []byte
}

// SetRoute adds or replaces the route of a queue.
func (tx *Tx) SetRoute(r Route) {
	if tx.dead() {
		return
	}
	tag := tx.routeTag(r.Relay, r.Recipient)
	content := wire.AppendStr8(wire.AppendStr16(nil, []byte(r.Relay)), r.Recipient)
	content = wire.AppendStr8(wire.AppendStr8(content, []byte(r.Connection)), r.Key)
	sealed, err := tx.store.seals.route.seal(tag, content)
	if err != nil {
		tx.fail("store route", err)
		return
	}
	tx.exec("store route", putRoute, tag, sealed)
}

// Route returns the route of a queue; ok is false if no queue of this agent is known there.
func (tx *Tx) Route(relay string, recipient []byte) (r Route, ok bool) {
	if tx.dead() {
		return Route{}, false
	}
	tag := tx.routeTag(relay, recipient)
	var sealed []byte
	if !tx.row("read route", getRoute, []any{tag}, &sealed) {
		return Route{}, false
	}
	r, err := tx.openRoute(tag, sealed)
	tx.fail("read route", err)
	return r, err == nil
}

// DropRoute removes the route of a queue.
func (tx *Tx) DropRoute(relay string, recipient []byte) {
	if tx.dead() {
		return
	}
	tx.exec("drop route", dropRoute, tx.routeTag(relay, recipient))
}

// Routes returns the routes of all queues, in no order.
func (tx *Tx) Routes() (routes []Route) {
	tx.rows("list routes", listRoutes, func(rows *sql.Rows) error {
		var tag, sealed []byte
		if err := rows.Scan(&tag, &sealed); err != nil {
			return err
		}
		r, err := tx.openRoute(tag, sealed)
		routes = append(routes, r)
		return err
	})
	return routes
}

func (tx *Tx) routeTag(relay string, recipient []byte) []byte {
	return tx.store.seals.route.tag([]byte(relay), recipient)
}

func (tx *Tx) openRoute(tag, sealed []byte) (Route, error) {
	content, err := tx.store.seals.route.open(tag, sealed)
	if err != nil {
		return Route{}, err
	}
	r := wire.NewReader(content)
	route := Route{Relay: string(r.Str16()), Recipient: r.Str8(), Connection: string(r.Str8()), Key: r.Str8()}
	if r.Done() != nil {
		return Route{}, fmt.Errorf("%w: route", ErrDamaged)
	}
	return route, nil
}
