package store

import (
	"context"
	"database/sql"
	"fmt"
)

// migrations bring a store from version i to i+1; the version is SQLite's user_version and a new store starts at 0.
// Entries are never changed once released: testdata has the schema of every version.
var migrations = [...]string{
	`
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE owner (                -- who has records: connections, groups, ...
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  kind   INTEGER NOT NULL,
  tag    BLOB NOT NULL,             -- hidden name, see seal.go
  name   BLOB NOT NULL,
  UNIQUE (kind, tag)
);

CREATE TABLE record (
  owner INTEGER NOT NULL,
  class INTEGER NOT NULL,           -- first byte of the key, -1 for the empty key
  tag   BLOB NOT NULL,              -- hidden name of the key
  name  BLOB NOT NULL,
  value BLOB NOT NULL,              -- sealed
  PRIMARY KEY (owner, class, tag)
) WITHOUT ROWID;

CREATE TABLE body (
  ref    BLOB PRIMARY KEY,          -- keyed hash of the content
  uses   INTEGER NOT NULL,
  sealed BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE event (
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number is never used again
  sealed BLOB NOT NULL
);

CREATE TABLE cursor (
  tag      BLOB PRIMARY KEY,        -- hidden name
  name     BLOB NOT NULL,
  position INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE route (
  tag    BLOB PRIMARY KEY,          -- keyed hash of relay and recipient ID
  sealed BLOB NOT NULL
) WITHOUT ROWID;
`,
	`
CREATE TABLE journal (              -- records that are not in their table yet, see journal.go
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number is never used again
  sealed BLOB NOT NULL
);
`,
}

// migrate runs the migrations that are missing, each in a transaction of its own.
func migrate(c *sql.Conn) error {
	ctx := context.Background()
	var version int
	if err := c.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return describe("read store version", err)
	}
	if version > len(migrations) {
		return fmt.Errorf("%w: version %d, this program knows %d", ErrNewer, version, len(migrations))
	}
	for v := version; v < len(migrations); v++ {
		tx, err := c.BeginTx(ctx, nil)
		if err != nil {
			return describe("migrate store", err)
		}
		if _, err := tx.ExecContext(ctx, migrations[v]+fmt.Sprintf("; PRAGMA user_version = %d", v+1)); err != nil {
			_ = tx.Rollback()
			return describe("migrate store", err)
		}
		if err := tx.Commit(); err != nil {
			return describe("migrate store", err)
		}
	}
	return nil
}

// The statements, by what they do.
const (
	getOwner = iota
	putOwner
	deleteOwner
	listOwners
	getRecord
	putRecord
	deleteRecord
	deleteRecords
	listRecords
	getBody
	putBody
	countBody
	useBody
	dropBody
	putEvent
	listEvents
	dropEvents
	lastEvent
	countEvents
	eventAt
	getCursor
	putCursor
	dropCursor
	listCursors
	getRoute
	putRoute
	dropRoute
	listRoutes
	putJournal
	listJournal
	lastJournal
	dropJournal
	putMeta
	numStatements
)

var queries = [numStatements]string{
	getOwner:      "SELECT number FROM owner WHERE kind = ? AND tag = ?",
	putOwner:      "INSERT INTO owner (kind, tag, name) VALUES (?, ?, ?)",
	deleteOwner:   "DELETE FROM owner WHERE number = ?",
	listOwners:    "SELECT number, tag, name FROM owner WHERE kind = ? ORDER BY number",
	getRecord:     "SELECT value FROM record WHERE owner = ? AND class = ? AND tag = ?",
	putRecord:     "INSERT INTO record (owner, class, tag, name, value) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
	deleteRecord:  "DELETE FROM record WHERE owner = ? AND class = ? AND tag = ?",
	deleteRecords: "DELETE FROM record WHERE owner = ?",
	listRecords:   "SELECT tag, name FROM record WHERE owner = ? AND class = ?",
	getBody:       "SELECT sealed FROM body WHERE ref = ?",
	putBody:       "INSERT INTO body (ref, uses, sealed) VALUES (?, ?, ?)",
	countBody:     "SELECT uses FROM body WHERE ref = ?",
	useBody:       "UPDATE body SET uses = ? WHERE ref = ?",
	dropBody:      "DELETE FROM body WHERE ref = ?",
	putEvent:      "INSERT INTO event (seq, sealed) VALUES (?, ?)",
	listEvents:    "SELECT seq, sealed FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
	dropEvents:    "DELETE FROM event WHERE seq <= ?",
	lastEvent:     "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'",
	countEvents:   "SELECT count(*) FROM event",
	eventAt:       "SELECT seq FROM event ORDER BY seq LIMIT 1 OFFSET ?",
	getCursor:     "SELECT position FROM cursor WHERE tag = ?",
	putCursor:     "INSERT INTO cursor (tag, name, position) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
	dropCursor:    "DELETE FROM cursor WHERE tag = ?",
	listCursors:   "SELECT tag, name, position FROM cursor",
	getRoute:      "SELECT sealed FROM route WHERE tag = ?",
	putRoute:      "INSERT INTO route (tag, sealed) VALUES (?, ?) ON CONFLICT DO UPDATE SET sealed = excluded.sealed",
	dropRoute:     "DELETE FROM route WHERE tag = ?",
	listRoutes:    "SELECT tag, sealed FROM route",
	putJournal:    "INSERT INTO journal (seq, sealed) VALUES (?, ?)",
	listJournal:   "SELECT seq, sealed FROM journal ORDER BY seq",
	lastJournal:   "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'journal'",
	dropJournal:   "DELETE FROM journal",
	putMeta:       "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
}
