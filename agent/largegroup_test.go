package agent

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent/conn"
	"github.com/coterie-im/coterie/agent/link"
	sealed "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/grouproto"
	"github.com/coterie-im/coterie/grouproto/oplog"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/kv"
	"github.com/coterie-im/coterie/queue"
	"github.com/coterie-im/coterie/queue/server"
	"github.com/coterie-im/coterie/queue/store"
	"github.com/coterie-im/coterie/queue/store/sqlite"
	"github.com/coterie-im/coterie/queue/transport"
)

// An agent in a large group, made without the agents of the others: the real cores of the founder of a group and of each
// member make their pair connection with one another, and nothing else, over a relay that is a map. What the founder has
// then goes into the store of an agent, and the queues into that of a relay. The members do not connect with each
// other, which would be 125,000 pairs for 500 members; the founder cannot tell.

// largeGroup is the founder's side of groups, and all queues.
type largeGroup struct {
	t       testing.TB
	now     time.Time
	relay   queue.Server
	queues  map[queue.ID]*mapQueue // by sender ID
	own     map[queue.ID]*mapQueue // by recipient ID
	ends    []*mapEnd              // the founder's
	founded []*foundedGroup
}

// foundedGroup is the founder's side of one group.
type foundedGroup struct {
	id   GroupID
	core *grouproto.Group
	tx   *kv.Memory
	ends map[string]*mapEnd // by connection name
}

// mapQueue is a queue of the relay that is a map.
type mapQueue struct {
	store.Queue
	owner *mapEnd
}

// mapEnd is one end of a pair connection.
type mapEnd struct {
	core   *conn.Conn
	tx     *kv.Memory
	queues []ownQueue
	keys   []ed25519.PrivateKey // of queues
	events func(conn.Event)
}

type noBodies struct{}

func (noBodies) Add([]byte) []byte { panic("nothing is sent here") }
func (noBodies) Get([]byte) []byte { panic("nothing is sent here") }
func (noBodies) Release([]byte)    { panic("nothing is sent here") }

func (l *largeGroup) env(e *mapEnd) conn.Env {
	return conn.Env{Now: l.now, Rand: rand.Reader, Tx: e.tx, Bodies: noBodies{}}
}

func newLargeGroup(t testing.TB, relay queue.Server) *largeGroup {
	return &largeGroup{t: t, now: time.Now().UTC(), relay: relay, queues: map[queue.ID]*mapQueue{}, own: map[queue.ID]*mapQueue{}}
}

// found makes a group of so many members, the founder among them.
func (l *largeGroup) found(members int) *foundedGroup {
	g := &foundedGroup{id: GroupID(randomText()), tx: &kv.Memory{}, ends: map[string]*mapEnd{}}
	core, _, err := grouproto.Create(g.env(l, g.tx), grouproto.CreateOptions{Policy: oplog.Symmetric(), Card: []byte("founder")})
	must(l.t, err)
	g.core = core
	for i := 1; i < members; i++ {
		l.join(g, i)
	}
	l.founded = append(l.founded, g)
	return g
}

func randomText() string { return string(conn.NewID(rand.Reader)) }

func (g *foundedGroup) env(l *largeGroup, tx kv.Tx) grouproto.Env {
	return grouproto.Env{Now: l.now, Rand: rand.Reader, Tx: tx}
}

// join lets one member in.
func (l *largeGroup) join(g *foundedGroup, number int) {
	l.now = l.now.Add(time.Second)
	contact := fmt.Sprintf("contact %d", number)
	var member *grouproto.Group
	memberTx := &kv.Memory{}
	var end *mapEnd // the member's only connection
	var founder, invited func([]grouproto.Effect)
	connected := false
	founder = func(effects []grouproto.Effect) {
		for _, effect := range effects {
			switch f := effect.(type) {
			case grouproto.Done:
				must(l.t, f.Err)
			case grouproto.SendContact:
				if member != nil {
					continue
				}
				inv, err := grouproto.ParseInvitation(contact, f.Frame)
				must(l.t, err)
				var first []grouproto.Effect
				member, first, err = grouproto.Accept(g.env(l, memberTx), inv, []byte("member"))
				must(l.t, err)
				invited(first)
			case grouproto.JoinConn:
				request, err := link.ParseBinary(f.Link)
				must(l.t, err)
				e := &mapEnd{tx: &kv.Memory{}}
				name := f.Conn
				e.events = func(ev conn.Event) {
					switch ev := ev.(type) {
					case conn.Info:
						founder(g.core.Step(g.env(l, g.tx), grouproto.Info{Conn: name, Binding: ev.Binding, Info: ev.Info}))
					case conn.Connected:
						connected = true
						founder(g.core.Step(g.env(l, g.tx), grouproto.Connected{Conn: name}))
					case conn.Failure:
						l.t.Fatal(ev.Err)
					}
				}
				var begun []conn.Effect
				e.core, begun, err = conn.Join(l.env(e), conn.ID(name), conn.JoinOptions{
					Link: request,
					Info: func(binding [32]byte) ([]byte, error) { return f.Hello(binding), nil },
				})
				must(l.t, err)
				g.ends[name] = e
				l.ends = append(l.ends, e)
				l.do(e, begun)
			}
		}
	}
	invited = func(effects []grouproto.Effect) {
		for _, effect := range effects {
			switch f := effect.(type) {
			case grouproto.NewConn:
				if end != nil {
					continue // with another member
				}
				end = &mapEnd{tx: &kv.Memory{}}
				end.events = func(ev conn.Event) {
					step := func(in grouproto.Input) { invited(member.Step(g.env(l, memberTx), in)) }
					switch ev := ev.(type) {
					case conn.LinkReady:
						step(grouproto.LinkReady{Conn: f.Conn, Link: ev.Link.Binary()})
					case conn.Confirmation:
						step(grouproto.Conf{Conn: f.Conn, ConfID: ev.ID, Binding: ev.Binding, Info: ev.Info})
					case conn.Failure:
						l.t.Fatal(ev.Err)
					}
				}
				var begun []conn.Effect
				end.core, begun = conn.Create(l.env(end), conn.ID(f.Conn), conn.CreateOptions{Kind: link.Invitation})
				l.do(end, begun)
			case grouproto.AllowConn:
				l.step(end, conn.Allow{Confirmation: f.ConfID, Info: f.Info})
			case grouproto.SendContact:
				founder(g.core.Step(g.env(l, g.tx), grouproto.ContactFrame{Contact: contact, Frame: f.Frame}))
			}
		}
	}
	founder(g.core.Step(g.env(l, g.tx), grouproto.Invite{Contact: contact, Role: oplog.Plain}))
	if !connected {
		l.t.Fatal("founder and member are not connected")
	}
}

func (l *largeGroup) step(e *mapEnd, in conn.Input) {
	effects, err := e.core.Step(l.env(e), in)
	must(l.t, err)
	l.do(e, effects)
}

// do does what a connection wants, at once.
func (l *largeGroup) do(e *mapEnd, effects []conn.Effect) {
	for _, effect := range effects {
		switch f := effect.(type) {
		case conn.Event:
			e.events(f)
		case conn.NewQueue:
			l.create(e, f)
		case conn.SecureQueue:
			l.own[f.Recipient.ID].SenderKey = f.SenderKey
			l.step(e, conn.OperationDone{Op: f.Name()})
		case conn.SecureSending:
			l.queues[f.Sender.ID].SenderKey = keys.FromEd25519(f.Sender.Key.Public().(ed25519.PublicKey))
			l.step(e, conn.OperationDone{Op: f.Name()})
		case conn.Deliver:
			body, err := f.Body()
			must(l.t, err)
			q := l.queues[f.Sender.ID]
			id, err := queue.NewID(rand.Reader)
			must(l.t, err)
			content, err := queue.SealMessage(&q.Secret, id, queue.Message{Time: l.now.Unix(), Body: body})
			must(l.t, err)
			l.step(e, conn.OperationDone{Op: f.Name()})
			l.step(q.owner, conn.Received{Queue: q.Recipient, ID: id, Body: content})
		case conn.AckQueue:
			l.step(e, conn.OperationDone{Op: f.Name()})
		}
	}
}

func (l *largeGroup) create(e *mapEnd, op conn.NewQueue) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	must(l.t, err)
	public, err := op.DH.X25519()
	must(l.t, err)
	secret, err := box.Agree(private, public)
	must(l.t, err)
	q := &mapQueue{owner: e, Queue: store.Queue{
		RecipientKeys: []keys.Public{queue.FromEd25519(op.Key).Public()},
		Secret:        secret, Mode: op.Mode, Status: store.Active, Used: store.DayOf(l.now),
	}}
	for _, id := range []*queue.ID{&q.Recipient, &q.Sender} {
		*id, err = queue.NewID(rand.Reader)
		must(l.t, err)
	}
	l.queues[q.Sender], l.own[q.Recipient] = q, q
	e.queues = append(e.queues, ownQueue{Relay: relayKey(l.relay), ID: []byte(q.Recipient)})
	e.keys = append(e.keys, op.Key)
	l.step(e, conn.QueueCreated{
		Op: op.Op, Server: l.relay, Recipient: q.Recipient, Sender: q.Sender,
		ServerKey: keys.FromX25519(private.PublicKey()), Mode: q.Mode,
	})
}

// writeAgent makes the store of the founder's agent.
func (l *largeGroup) writeAgent(path string) {
	t := l.t
	opened, err := sealed.Open(sealed.Options{Path: path, Key: testKey, Rand: rand.Reader})
	must(t, err)
	tx, err := opened.Begin()
	must(t, err)
	w := &turn{Agent: &Agent{}, tx: tx, now: l.now}
	put := func(owner sealed.Owner, records *kv.Memory) {
		records.Scan(nil, nil, func(k, v []byte) bool {
			tx.Records(owner).Put(k, v)
			return true
		})
	}
	for _, g := range l.founded {
		for name, e := range g.ends {
			put(sealed.Owner{Kind: sealed.Connection, ID: name}, e.tx)
			w.put(recordKey(classConn, name), connMeta{
				Kind: KindJoiner, State: stateConnected, Group: g.id, Created: l.now, Queues: e.queues,
			})
			for i, q := range e.queues {
				tx.SetRoute(sealed.Route{Relay: q.Relay, Recipient: q.ID, Connection: name, Key: e.keys[i].Seed()})
			}
		}
		id := g.core.ID()
		put(groupOwner(g.id), g.tx)
		w.put(recordKey(classGroup, string(g.id)), groupMeta{Created: l.now, Name: id[:]})
		w.records().Put(recordKey(classGroupName, string(id[:]), string(g.id)), nil)
	}
	must(t, tx.Commit())
	must(t, opened.Close())
}

// writeRelay makes the store of the relay.
func (l *largeGroup) writeRelay(path string) {
	t := l.t
	s, err := sqlite.Open(path, sqlite.Options{})
	must(t, err)
	var commits []*store.Commit
	for _, q := range l.queues {
		c, err := s.Create(t.Context(), q.Queue)
		must(t, err)
		commits = append(commits, c)
	}
	for _, c := range commits {
		must(t, c.Wait(t.Context()))
	}
	must(t, s.Close())
}

// relayFolder makes this test binary a relay: its store is in this folder.
const relayFolder = "COTERIE_BENCH_RELAY"

// childRelay is a relay in a process of its own, so that what it costs does not count.
type childRelay struct {
	address queue.Server // of the relay
	sink    queue.Server // reads blocks and does nothing with them
	begin   io.WriteCloser
}

// startChildRelay starts the process; the relay serves once serve has been called.
func startChildRelay(t testing.TB, folder string) *childRelay {
	program, err := os.Executable()
	must(t, err)
	c := exec.Command(program)
	c.Env = append(os.Environ(), relayFolder+"="+folder)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	in, err := c.StdinPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() {
		_ = in.Close()
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	r := &childRelay{begin: in}
	lines := bufio.NewScanner(out)
	for _, s := range []*queue.Server{&r.address, &r.sink} {
		if !lines.Scan() {
			t.Fatal("the relay did not start")
		}
		*s, err = queue.ParseServer(lines.Text())
		must(t, err)
	}
	return r
}

func (r *childRelay) serve(t testing.TB) {
	_, err := fmt.Fprintln(r.begin, "serve")
	must(t, err)
}

// runRelay is the other process. It ends with its standard input.
func runRelay(folder string) error {
	authority, err := transport.NewAuthority(time.Now())
	if err != nil {
		return err
	}
	identity, err := authority.Issue("127.0.0.1", time.Now())
	if err != nil {
		return err
	}
	var listeners []net.Listener
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		host, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return err
		}
		s := queue.Server{Fingerprint: identity.Fingerprint(), Hosts: []string{host}, Port: port}
		fmt.Println(s.Text())
		listeners = append(listeners, l)
	}
	go sink(listeners[1], identity)
	commands := bufio.NewScanner(os.Stdin)
	if !commands.Scan() {
		return commands.Err()
	}
	queues, err := sqlite.Open(filepath.Join(folder, "relay.db"), sqlite.Options{Quota: 1 << 20})
	if err != nil {
		return err
	}
	s, err := server.New(server.Config{Store: queues, Identity: identity})
	if err != nil {
		return err
	}
	go func() { _ = s.Serve(listeners[0]) }()
	for commands.Scan() {
	}
	return s.Close()
}

// sink reads blocks.
func sink(l net.Listener, identity *transport.Identity) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			s, err := transport.Server(context.Background(), c, transport.ServerConfig{Identity: identity})
			for err == nil {
				_, err = s.ReadBlock()
			}
		}()
	}
}
