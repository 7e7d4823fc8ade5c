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

CREATE TABLE journal (              -- records that are not in their table yet, see journal.go
  seq    INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number is never used again
  sealed BLOB NOT NULL
);
