package conn

import (
	"github.com/coterie-im/coterie/agent/envelope"
	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/queue"
)

// seal encrypts a plaintext with the node's ratchet, outside of its outbox.
func (n *node) seal(plain []byte, padded int) []byte {
	k, err := n.conn.ratchet.NextSending(ratchet.PQKeep, padded)
	if err != nil {
		n.w.t.Fatal(err)
	}
	sealed, err := k.Seal(nil, plain)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return sealed
}

// put stores an agent envelope in the peer's queue as if the node had sent it. With keyed, the node's key stands in front.
func (n *node) put(e envelope.Envelope, header envelope.PrivateHeader, keyed bool, version queue.Version) {
	q := &n.conn.send[0]
	c := envelope.Client{Version: version}
	randomBytes(n.rand, c.Nonce[:])
	if keyed {
		c.Key = q.dh
	}
	body, err := c.Seal(&q.secret, header, e.Append(nil))
	if err != nil {
		n.w.t.Fatal(err)
	}
	n.putBody(body)
}

// putBody stores bytes in the peer's queue.
func (n *node) putBody(body []byte) {
	q := &n.conn.send[0]
	to := n.w.bySender(Sender{Server: q.server, ID: q.id})
	to.accept(queue.Message{Time: n.w.now.Unix(), Body: body})
}

// numbered puts a message with a chosen number and hash of its predecessor.
func (n *node) numbered(number int64, previous []byte, content envelope.Content) (plain []byte) {
	plain = envelope.Numbered{Number: number, Previous: previous, Content: content}.Append(nil)
	n.message(plain)
	return plain
}

// message puts a message envelope with any plaintext.
func (n *node) message(plain []byte) {
	n.put(&envelope.Message{Agent: 7, Sealed: n.seal(plain, envelope.RatchetMessage)}, envelope.PrivateHeader{}, false, 4)
}

// inject puts a message as the node's next.
func (n *node) inject(content envelope.Content) {
	n.conn.sentID++
	plain := n.numbered(n.conn.sentID, n.conn.sentHash, content)
	hash := envelope.Hash(plain)
	n.conn.sentHash = hash[:]
}
