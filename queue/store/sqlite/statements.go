package sqlite

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/store"
)

// The kinds of rows in messages.
const (
	kindMessage = 0
	kindNotify  = 1
	kindMarker  = 2
)

// statements are the writer's.
type statements struct {
	begin, commit, rollback                                             *sql.Stmt
	insertQueue, updateKey, updateStatus, updateNotifier, updateUsed    *sql.Stmt
	deleteQueue, insertMessage, deleteMessage, deleteMessages, addCount *sql.Stmt
}

func prepare(conn *sql.Conn) (*statements, error) {
	s := &statements{}
	for _, p := range s.all() {
		var err error
		if *p.stmt, err = conn.PrepareContext(background, p.text); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare statement: %w", err), s.close())
		}
	}
	return s, nil
}

// close is needed before the connection is closed: with a statement left SQLite would keep it, and its log of changes.
func (s *statements) close() (err error) {
	for _, p := range s.all() {
		if *p.stmt != nil {
			err = errors.Join(err, (*p.stmt).Close())
		}
	}
	return err
}

// statement is where a prepared statement is kept, and its text.
type statement struct {
	stmt **sql.Stmt
	text string
}

func (s *statements) all() []statement {
	return []statement{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.rollback, "ROLLBACK"},
		{&s.insertQueue, `INSERT INTO queues (id, recipient, sender, recipient_keys, sender_key, secret, mode, status,
			block_reason, notifier, notifier_key, notifier_secret, used) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)`},
		{&s.updateKey, "UPDATE queues SET sender_key = ? WHERE id = ?"},
		{&s.updateStatus, "UPDATE queues SET status = ?, block_reason = ? WHERE id = ?"},
		{&s.updateNotifier, "UPDATE queues SET notifier = ?, notifier_key = ?, notifier_secret = ? WHERE id = ?"},
		{&s.updateUsed, "UPDATE queues SET used = ? WHERE id = ?"},
		{&s.deleteQueue, "DELETE FROM queues WHERE id = ?"},
		{&s.insertMessage, "INSERT INTO messages (id, queue, message, time, kind, body) VALUES (?,?,?,?,?,?)"},
		{&s.deleteMessage, "DELETE FROM messages WHERE id = ?"},
		{&s.deleteMessages, "DELETE FROM messages WHERE queue = ?"},
		{&s.addCount, "UPDATE totals SET queues = queues + ?, messages = messages + ?"},
	}
}

// changes is a transaction that is being written.
type changes struct {
	do               *statements
	queues, messages int64 // what the transaction adds to the totals
}

// one runs a statement that must change exactly one row.
func (c *changes) one(stmt *sql.Stmt, args ...any) error {
	n, err := c.any(stmt, args...)
	if err == nil && n != 1 {
		err = fmt.Errorf("statement changed %d rows instead of one", n)
	}
	return err
}

func (c *changes) any(stmt *sql.Stmt, args ...any) (int64, error) {
	result, err := stmt.ExecContext(background, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (c *changes) insertQueue(number int64, q store.Queue) error {
	var recipientKeys []byte
	for _, k := range q.RecipientKeys {
		recipientKeys = k.Append(recipientKeys)
	}
	id, key, secret := notifierColumns(q.Notifier)
	c.queues++
	return c.one(c.do.insertQueue, number, []byte(q.Recipient), []byte(q.Sender), recipientKeys, keyColumn(q.SenderKey),
		q.Secret[:], int64(q.Mode), int64(q.Status), q.BlockReason, id, key, secret, int64(q.Used))
}

func (c *changes) updateKey(number int64, key keys.Public) error {
	return c.one(c.do.updateKey, keyColumn(key), number)
}

func (c *changes) updateStatus(number int64, status store.Status, reason string) error {
	return c.one(c.do.updateStatus, int64(status), reason, number)
}

func (c *changes) updateNotifier(number int64, n *store.Notifier) error {
	id, key, secret := notifierColumns(n)
	return c.one(c.do.updateNotifier, id, key, secret, number)
}

func (c *changes) updateUsed(number int64, day store.Day) error {
	return c.one(c.do.updateUsed, int64(day), number)
}

func (c *changes) deleteQueue(number int64) error {
	n, err := c.any(c.do.deleteMessages, number)
	if err != nil {
		return err
	}
	c.messages -= n
	c.queues--
	return c.one(c.do.deleteQueue, number)
}

func (c *changes) insertMessage(number, queueNumber int64, m store.Message) error {
	kind := kindMessage
	switch {
	case m.Marker:
		kind = kindMarker
	case m.Notify:
		kind = kindNotify
	}
	body := m.Body
	if body == nil {
		body = []byte{} // nil would be NULL
	}
	c.messages++
	return c.one(c.do.insertMessage, number, queueNumber, []byte(m.ID), m.Time, int64(kind), body)
}

func (c *changes) deleteMessage(number int64) error {
	c.messages--
	return c.one(c.do.deleteMessage, number)
}

func (c *changes) addTotals() error {
	if c.queues == 0 && c.messages == 0 {
		return nil
	}
	return c.one(c.do.addCount, c.queues, c.messages)
}

// keyColumn is NULL for no key.
func keyColumn(k keys.Public) any {
	if k.IsZero() {
		return nil
	}
	return k.DER()
}

func notifierColumns(n *store.Notifier) (id, key, secret any) {
	if n == nil {
		return nil, nil, nil
	}
	return []byte(n.ID), n.Key.DER(), n.Secret[:]
}

// reader is a pool of connections that see what is durable.
type reader struct {
	db                                                                   *sql.DB
	byRecipient, recipientOfSender, recipientOfNotifier, taken, messages *sql.Stmt
	body, queuesWithOld, recipientOf, totals, unused                     *sql.Stmt
}

func newReader(path string) (*reader, error) {
	db, err := sql.Open("sqlite3", dataSource(path, "mode=ro&_query_only=true"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers())
	db.SetMaxIdleConns(readers())
	r := &reader{db: db}
	for _, p := range []statement{
		{&r.byRecipient, `SELECT id, sender, recipient_keys, sender_key, secret, mode, status, block_reason, notifier,
			notifier_key, notifier_secret, used FROM queues WHERE recipient = ?`},
		{&r.recipientOfSender, "SELECT recipient FROM queues WHERE sender = ?"},
		{&r.recipientOfNotifier, "SELECT recipient FROM queues WHERE notifier = ?"},
		{&r.taken, "SELECT EXISTS (SELECT 1 FROM queues WHERE recipient = ?1 OR sender = ?2 OR notifier = ?3)"},
		{&r.messages, "SELECT id, message, time, kind FROM messages WHERE queue = ? ORDER BY id"},
		{&r.body, "SELECT body FROM messages WHERE id = ?"},
		{&r.queuesWithOld, "SELECT DISTINCT queue FROM messages WHERE time < ?"},
		{&r.recipientOf, "SELECT recipient FROM queues WHERE id = ?"},
		{&r.totals, "SELECT queues, messages FROM totals"},
		{&r.unused, "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"},
	} {
		if *p.stmt, err = db.Prepare(p.text); err != nil {
			_ = db.Close()
			return nil, fmt.Errorf("prepare statement: %w", err)
		}
	}
	return r, nil
}

func (r *reader) close() error { return r.db.Close() }

func (r *reader) lastNumbers() (queues, messages int64, err error) {
	err = r.db.QueryRow("SELECT coalesce(max(id), 0) FROM queues").Scan(&queues)
	if err == nil {
		err = r.db.QueryRow("SELECT coalesce(max(id), 0) FROM messages").Scan(&messages)
	}
	return queues, messages, err
}

// queue reads the record of a queue and its number. sql.ErrNoRows if there is none.
func (r *reader) queue(recipient queue.ID) (number int64, q store.Queue, err error) {
	var sender, recipientKeys, senderKey, secret, notifier, notifierKey, notifierSecret []byte
	var mode, status, used int64
	err = r.byRecipient.QueryRow([]byte(recipient)).Scan(&number, &sender, &recipientKeys, &senderKey, &secret, &mode, &status,
		&q.BlockReason, &notifier, &notifierKey, &notifierSecret, &used)
	if err != nil {
		return 0, store.Queue{}, err
	}
	q.Recipient, q.Sender = recipient, queue.ID(sender)
	q.Mode, q.Status, q.Used = queue.Mode(mode), store.Status(status), store.Day(used)
	copy(q.Secret[:], secret)
	for list := wire.NewReader(recipientKeys); list.Len() > 0; {
		k := keys.Read(list)
		if err := list.Err(); err != nil {
			return 0, store.Queue{}, fmt.Errorf("recipient key in the store: %w", err)
		}
		q.RecipientKeys = append(q.RecipientKeys, k)
	}
	if senderKey != nil {
		if q.SenderKey, err = keys.Parse(senderKey); err != nil {
			return 0, store.Queue{}, fmt.Errorf("sender key in the store: %w", err)
		}
	}
	if notifier != nil {
		n := &store.Notifier{ID: queue.ID(notifier)}
		copy(n.Secret[:], notifierSecret)
		if n.Key, err = keys.Parse(notifierKey); err != nil {
			return 0, store.Queue{}, fmt.Errorf("notifier key in the store: %w", err)
		}
		q.Notifier = n
	}
	return number, q, nil
}

// waiting reads the messages of a queue in order, without bodies.
func (r *reader) waiting(queueNumber int64) ([]*waiting, error) {
	rows, err := r.messages.Query(queueNumber)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*waiting
	for rows.Next() {
		var id []byte
		var kind int
		w := &waiting{}
		if err := rows.Scan(&w.number, &id, &w.message.Time, &kind); err != nil {
			return nil, err
		}
		w.message.ID = queue.ID(id)
		w.message.Notify = kind == kindNotify
		w.message.Marker = kind == kindMarker
		all = append(all, w)
	}
	return all, rows.Err()
}

// old returns the numbers of queues that have a message older than before.
func (r *reader) old(before int64) (numbers []int64, err error) {
	rows, err := r.queuesWithOld.Query(before)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, rows.Err()
}

// reusable returns how many bytes of the file hold nothing and are filled before it grows.
func (r *reader) reusable() (bytes int64, err error) {
	err = r.unused.QueryRow().Scan(&bytes)
	return bytes, err
}

// recipient returns the recipient ID that belongs to a number, or to an ID of another role. sql.ErrNoRows if there is none.
func (r *reader) recipient(by *sql.Stmt, of any) (queue.ID, error) {
	var id []byte
	err := by.QueryRow(of).Scan(&id)
	return queue.ID(id), err
}
