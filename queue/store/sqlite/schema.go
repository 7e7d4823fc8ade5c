package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrNewer reports a file that a newer program has written.
var ErrNewer = errors.New("store was written by a newer version of this program")

// migrations bring a file from user_version i to i+1; a new file runs all of them. A migration that was released is never
// changed.
//
// IDs are random bytes. Numbers (queues.id, messages.id) are given by the store, ascending; within a queue they are the
// order of messages. Keys are DER; recipient_keys is each key behind one length byte. Times are seconds since 1970.
var migrations = []string{
	`CREATE TABLE queues (
		id              INTEGER PRIMARY KEY,
		recipient       BLOB NOT NULL UNIQUE,
		sender          BLOB NOT NULL UNIQUE,
		recipient_keys  BLOB NOT NULL,
		sender_key      BLOB,
		secret          BLOB NOT NULL,              -- X25519 secret of delivery
		mode            INTEGER NOT NULL,           -- 0, 'M' or 'C'
		status          INTEGER NOT NULL,           -- 1 active, 2 off, 3 blocked
		block_reason    TEXT NOT NULL,
		notifier        BLOB UNIQUE,
		notifier_key    BLOB,
		notifier_secret BLOB,
		used            INTEGER NOT NULL            -- day since 1970
	) STRICT;
	CREATE TABLE messages (
		id      INTEGER PRIMARY KEY,
		queue   INTEGER NOT NULL,
		message BLOB NOT NULL,
		time    INTEGER NOT NULL,
		kind    INTEGER NOT NULL,                   -- 0 message, 1 message with notification, 2 quota marker
		body    BLOB NOT NULL                       -- as the sender sent it
	) STRICT;
	CREATE INDEX messages_queue ON messages (queue, id);
	CREATE INDEX messages_time ON messages (time);
	CREATE TABLE totals (
		one      INTEGER PRIMARY KEY CHECK (one = 1),
		queues   INTEGER NOT NULL,
		messages INTEGER NOT NULL                   -- with markers
	) STRICT;
	INSERT INTO totals VALUES (1, 0, 0);`,
}

// migrate brings the file behind conn up to date, each step in its own transaction.
func migrate(ctx context.Context, conn *sql.Conn, steps []string) error {
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("store version: %w", err)
	}
	if version > len(steps) {
		return ErrNewer
	}
	for ; version < len(steps); version++ {
		step := fmt.Sprintf("BEGIN IMMEDIATE; %s; PRAGMA user_version = %d; COMMIT", steps[version], version+1)
		if _, err := conn.ExecContext(ctx, step); err != nil {
			_, _ = conn.ExecContext(ctx, "ROLLBACK")
			return fmt.Errorf("store migration %d: %w", version+1, err)
		}
	}
	return nil
}
