package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/conn"
)

func TestSeveralClientsAtOnce(t *testing.T) {
	d := startDaemon(t)
	d.replies["Send"] = int64(1)
	const clients, calls = 8, 50
	var all sync.WaitGroup
	for i := range clients {
		c := d.dial(t)
		for j := range 4 { // and several goroutines at each
			all.Go(func() {
				for k := range calls {
					id := agent.ConnectionID(fmt.Sprintf("%d-%d-%d", i, j, k))
					if _, err := c.Send(t.Context(), id, agent.Outgoing{Body: []byte(id)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	seen := map[agent.ConnectionID]bool{}
	for _, call := range d.recordedCalls() {
		id, m := call.args[0].(agent.ConnectionID), call.args[1].(agent.Outgoing)
		if seen[id] || string(m.Body) != string(id) {
			t.Errorf("send to %s with %q, again %v", id, m.Body, seen[id])
		}
		seen[id] = true
	}
	if len(seen) != clients*4*calls {
		t.Errorf("%d calls arrived", len(seen))
	}
}

func TestCommandsOfOneClientKeepTheirOrder(t *testing.T) {
	d := startDaemon(t)
	d.replies["Send"] = int64(1)
	c := d.raw(t)
	var send, want strings.Builder
	for i := range 200 {
		fmt.Fprintf(&send, "%d\r\nC:x\r\nSEND F :%d\r\n", i, i)
		fmt.Fprintf(&want, "%d\r\nC:x\r\nMID 1\r\n", i)
	}
	c.send(send.String())
	c.expect(want.String())
	for i, call := range d.recordedCalls() {
		if m := call.args[1].(agent.Outgoing); string(m.Body) != fmt.Sprint(i) {
			t.Fatalf("call %d has %q", i, m.Body)
		}
	}
}

// collect reads n events of a cursor.
func collect(t *testing.T, a API, cursor string, n int) (events []agent.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for e, err := range a.Events(ctx, cursor) {
		must(t, err)
		if events = append(events, e); len(events) == n {
			break
		}
	}
	return events
}

func TestCursorsResumeWhereTheyWereAcknowledged(t *testing.T) {
	d := startDaemon(t)
	d.report("C:x", &agent.Connected{}, &agent.Sent{ID: 1}, &agent.Sent{ID: 2}, &agent.Sent{ID: 3})
	c := d.dial(t)
	for _, cursor := range []string{"bot", "archive"} {
		if got := collect(t, c, cursor, 4); got[0].Seq != 1 || got[3].Data.(*agent.Sent).ID != 3 || got[3].Entity != "C:x" {
			t.Errorf("%s got %+v", cursor, got)
		}
	}
	must(t, c.AckEvent(t.Context(), "bot", 2))
	must(t, c.AckEvent(t.Context(), "bot", 1)) // changes nothing
	d.stop()
	d = startDaemonAt(t, d.path, d.fake)
	c = d.dial(t)
	if got := collect(t, c, "bot", 2); got[0].Seq != 3 || got[1].Seq != 4 {
		t.Errorf("bot resumes at %+v", got)
	}
	if got := collect(t, c, "archive", 1); got[0].Seq != 1 {
		t.Errorf("archive resumes at %+v", got)
	}
	if err := c.AckEvent(t.Context(), "bot", 5); !errors.Is(err, agent.ErrCursor) {
		t.Errorf("event of the future: %v", err)
	}
	if err := c.AckEvent(t.Context(), "nobody", 1); !errors.Is(err, agent.ErrCursor) {
		t.Errorf("unknown cursor: %v", err)
	}
	must(t, c.DropCursor(t.Context(), "archive"))
	if have := d.cursorsNow(); len(have) != 1 || have["bot"] != 2 {
		t.Errorf("cursors are %v", have)
	}
}

func TestLostEventsAreToldAndTheRestFollows(t *testing.T) {
	d := startDaemon(t)
	d.report("", &agent.RelayUp{})
	d.lost = 2
	var seen []string
	for e, err := range d.dial(t).Events(t.Context(), "bot") {
		if err != nil {
			if !errors.Is(err, agent.ErrEventsLost) {
				t.Fatal(err)
			}
			seen = append(seen, "lost")
			continue
		}
		seen = append(seen, e.Data.Type())
		break
	}
	if strings.Join(seen, " ") != "lost UP" {
		t.Errorf("saw %v", seen)
	}
	c := d.raw(t)
	c.send("1\r\n\r\nEVENTS other\r\n")
	c.expect("1\r\n\r\nOK\r\n\r\n\r\nERR EVENTS LOST :events were dropped before they were read\r\n\r\n\r\nUP 1 ")
}

func TestEventsAreToldOnce(t *testing.T) {
	d := startDaemon(t)
	c := d.raw(t)
	c.send("1\r\n\r\nEVENTS bot\r\n2\r\n\r\nEVENTS other\r\n3\r\n\r\nEVENTS bot\r\n4\r\n\r\nPING\r\n")
	c.expect("1\r\n\r\nOK\r\n")
	c.expectError("2", "", "CMD PROHIBITED")
	c.expectError("3", "", "CMD PROHIBITED")
	c.expect("4\r\n\r\nPONG\r\n")
	d.report("C:x", &agent.Sent{ID: 7})
	c.expect("\r\nC:x\r\nSENT 1 ")
}

func TestCursorThatIsRefusedCanBeGivenAgain(t *testing.T) {
	d := startDaemon(t)
	d.errs["Events"] = agent.ErrCursor
	c := d.raw(t)
	c.send("1\r\n\r\nEVENTS bot\r\n")
	c.expect("1\r\n\r\nOK\r\n")
	c.expectError("", "", "EVENTS NO_CURSOR")
	d.mu.Lock()
	delete(d.errs, "Events")
	d.mu.Unlock()
	d.report("C:x", &agent.Connected{})
	c.send("2\r\n\r\nEVENTS bot\r\n")
	c.expect("2\r\n\r\nOK\r\n\r\nC:x\r\nCON 1 ")

	d.mu.Lock()
	d.errs["Events"] = agent.ErrCursor
	d.mu.Unlock()
	var errs []error
	for _, err := range d.dial(t).Events(t.Context(), "bot") {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], agent.ErrCursor) {
		t.Errorf("client got %v", errs)
	}
}

func TestSlowReaderHoldsUpNobody(t *testing.T) {
	d := startDaemon(t)
	const events = 500
	body := make([]byte, 16<<10)
	frozen := d.raw(t)
	frozen.send("1\r\n\r\nEVENTS frozen\r\n")
	frozen.expect("1\r\n\r\nOK\r\n")
	for i := range events {
		d.report("C:x", &agent.Message{ID: int64(i), Integrity: "OK", Body: body}) // far more than a socket holds
	}
	c := d.dial(t)
	if got := collect(t, c, "quick", events); got[events-1].Seq != events {
		t.Errorf("last event is %d", got[events-1].Seq)
	}
	if _, err := c.Send(t.Context(), "x", agent.Outgoing{}); err != nil {
		t.Error(err)
	}
	// What it did not read is still there for it.
	for seq := range events {
		frozen.expect("\r\nC:x\r\n" + fmt.Sprintf("MSG %d ", seq+1))
		frozen.line()
		frozen.line()
	}
}

func TestBadInputLeavesOtherTrafficUntouched(t *testing.T) {
	d := startDaemon(t)
	d.replies["Send"] = int64(3)
	good := d.dial(t)
	busy, stop := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	sent := 0
	traffic.Go(func() {
		for busy.Err() == nil {
			if n, err := good.Send(t.Context(), "x", agent.Outgoing{Body: []byte("hello")}); err != nil || n != 3 {
				t.Errorf("good client: %d, %v", n, err)
				return
			}
			sent++
		}
	})
	// Told, and the client goes on.
	c := d.raw(t)
	for bad, code := range map[string]string{
		"WHATEVER\r\n":                       "CMD UNKNOWN",
		"WHATEVER 12\r\n":                    "CMD UNKNOWN",
		"WHATEVER 6\n\r\n\r\nx\r\r\n":        "CMD UNKNOWN",
		"WHATEVER :text\r\n":                 "CMD UNKNOWN",
		"ping\r\n":                           "CMD UNKNOWN",
		"SEND F :no entity of this kind\r\n": "CMD ENTITY",
		"SEND F 9\nno entity\r\n":            "CMD ENTITY",
		"PING now\r\n":                       "CMD SYNTAX",
		"PING :now\r\n":                      "CMD SYNTAX",
		"GNEW :{\"policy\":1}\r\n":           "CMD SYNTAX",
		"GNEW :{\"polizy\":1}\r\n":           "CMD SYNTAX",
		"DONE bot x\r\n":                     "CMD SYNTAX",
		"\r\n":                               "CMD SYNTAX",
		"GJOIN i 70000\n" + strings.Repeat("x\r\n\r", 17500) + "\r\n":      "CMD LARGE",
		"GNEW 800000\n" + strings.Repeat("x\r\nC:x\r\n", 100_000) + "\r\n": "CMD LARGE",
	} {
		c.send("bad\r\n\r\n" + bad + "next\r\n\r\nPING\r\n")
		c.expectError("bad", "", code)
		c.expect("next\r\n\r\nPONG\r\n")
	}
	for _, bad := range []string{"NEW", "NEW WHATEVER", "NEW :text"} { // answered by a goroutine of its own
		c.send("bad\r\n\r\n" + bad + "\r\n")
		c.expectError("bad", "", "CMD SYNTAX")
	}
	for entity, command := range map[string]string{"G:g": "SEND F :text", "C:": "STAT", "C:x": "GLEAVE", "x": "PING", "G:": "GLS", "C:y": "LS"} {
		c.send("1\r\n" + entity + "\r\n" + command + "\r\n2\r\n\r\nPING\r\n")
		c.expectError("1", entity, "CMD ENTITY")
		c.expect("2\r\n\r\nPONG\r\n")
	}
	c.send("\r\n\r\nPING\r\n2\r\n\r\nPING\r\n")
	c.expectError("", "", "CMD SYNTAX")
	c.expect("2\r\n\r\nPONG\r\n")
	// Told, and the client is disconnected.
	for _, bad := range []string{
		"1\r\nC:x\r\nSEND F 9\r\nDEL T\r\n", // what a careless client has from its user must not be taken for commands
		"1\r\nC:x\r\nACK 5 9\r\n",
		"1\nC:x\nSEND F 9\n1\n\nDROP bot",
		"1\r\nC:x\r\nSEND F 3\ntoo long\r\n",
		"1\r\nC:x\r\nSEND F\nno size\r\n",
		"1\r\n\r\nJOIN " + strings.Repeat("x", maxLine) + "\r\n",
	} {
		c := d.raw(t)
		c.send(bad)
		c.line()
		c.line()
		if line := c.line(); !strings.HasPrefix(line, "ERR CMD SYNTAX :") {
			t.Errorf("%.50q is answered with %q", bad, line)
		}
		c.expectEnd()
	}
	d.raw(t).send("1\r\nC:x\r\nSEND F 100\nis gone before all is said")
	stop()
	traffic.Wait()
	if sent == 0 {
		t.Error("no traffic")
	}
	for _, call := range d.recordedCalls() {
		if call.method != "Send" || string(call.args[1].(agent.Outgoing).Body) != "hello" {
			t.Errorf("bad input was taken for %s %+v", call.method, call.args)
		}
	}
}

func TestWaitingForARelayHoldsUpNothingElse(t *testing.T) {
	d := startDaemon(t)
	d.replies["CreateConnection"] = created{"new", "simplex:/link"}
	release := d.wait("CreateConnection")
	c := d.raw(t)
	for i := range maxSlow {
		c.send(fmt.Sprintf("%d\r\n\r\nNEW INV\r\n", i))
		<-d.held
	}
	c.send("more\r\n\r\nNEW INV\r\nping\r\n\r\nPING\r\n")
	c.expectError("more", "", "CMD BUSY")
	c.expect("ping\r\n\r\nPONG\r\n")
	// Who closes its own direction gets what is due.
	must(t, c.conn.(*net.UnixConn).CloseWrite())
	release()
	answered := map[string]bool{}
	for range maxSlow {
		answered[c.line()] = true
		c.expect("C:new\r\nINV simplex:/link\r\n")
	}
	if len(answered) != maxSlow {
		t.Errorf("answers to %v", answered)
	}
	c.expectEnd()
}

func TestHangingUpEndsWhatTheSessionWaitsFor(t *testing.T) {
	d := startDaemon(t)
	c := d.raw(t)
	c.send("1\r\n\r\nEVENTS bot\r\n")
	c.expect("1\r\n\r\nOK\r\n")
	must(t, c.conn.(*net.UnixConn).CloseWrite()) // a client that is gone looks the same: no more events
	c.expectEnd()
}

// pipe is a client of a server in a synctest bubble, where no sockets can be.
func pipe(ctx, work context.Context, f *fake) (client net.Conn, ended <-chan struct{}) {
	client, other := net.Pipe()
	done := make(chan struct{})
	s := newServer(nil, f, "1.2.3", nil)
	s.enter(other)
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hangUp()
	})
	go func() {
		defer close(done)
		s.serve(ctx, work, other)
	}()
	return client, done
}

func TestWaitingForARelayHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.wait("CreateConnection")
		client, ended := pipe(t.Context(), t.Context(), f)
		start := time.Now()
		go func() { _, _ = client.Write([]byte("1\r\n\r\nNEW INV\r\n")) }()
		in := newReader(client, maxBody)
		_, _, err := in.line()
		must(t, err)
		answer, err := in.read()
		must(t, err)
		if e := decodeError(answer); e.Code != "CMD TIMEOUT" || answer.entity != "C:being-made" || time.Since(start) != slowTime {
			t.Errorf("after %v: %+v, %v", time.Since(start), answer, e)
		}
		must(t, client.Close())
		<-ended
	})
}

// A stopping server waits a little for commands under way, and for clients that do not read.
func TestStoppingHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.wait("Send")
		ctx, cancel := context.WithCancel(t.Context())
		work, abort := context.WithCancel(t.Context())
		context.AfterFunc(ctx, func() { time.AfterFunc(closingTime, abort) })
		client, ended := pipe(ctx, work, f)
		in := newReader(client, maxBody)
		_, _, err := in.line()
		must(t, err)
		_, err = client.Write([]byte("1\r\nC:x\r\nSEND F :hello\r\n"))
		must(t, err)
		<-f.held
		silent, silentEnded := pipe(ctx, work, f) // does not even read the first line
		defer silent.Close()
		synctest.Wait()
		start := time.Now()
		cancel()
		<-silentEnded
		answer, _ := in.read()
		<-ended
		if e := decodeError(answer); time.Since(start) != closingTime || answer.corrID != "" && e.Code != "INACTIVE" {
			t.Errorf("ended after %v: %+v", time.Since(start), answer)
		}
		_ = client.Close()
	})
}

func TestStoppingAnswersCommandsUnderWay(t *testing.T) {
	d := startDaemon(t)
	d.replies["Send"] = int64(5)
	release := d.wait("Send")
	d.wait("CreateConnection")
	sender, creator, reader := d.raw(t), d.raw(t), d.dial(t)
	sender.send("1\r\nC:x\r\nSEND F :hello\r\n2\r\n\r\nPING\r\n")
	creator.send("1\r\n\r\nNEW INV\r\n")
	<-d.held
	<-d.held
	readerEnded := make(chan error, 1)
	go func() {
		for _, err := range reader.Events(context.Background(), "bot") {
			readerEnded <- err
		}
	}()
	eventually(t, "events are told", func() bool { return len(d.cursorsNow()) == 1 })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		d.stop()
	}()
	creator.expectError("1", "C:being-made", "INACTIVE")
	creator.expectEnd()
	if err := <-readerEnded; !errors.Is(err, ErrClosed) || !errors.Is(err, agent.ErrClosed) {
		t.Errorf("reader of events: %v", err)
	}
	release()
	sender.expect("1\r\nC:x\r\nMID 5\r\n") // and no answer to what was not begun
	sender.expectEnd()
	within(t, "stopping", func() { <-stopped })
	<-reader.Done()
	if _, err := reader.Connections(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("call afterwards: %v", err)
	}
	if _, err := net.Dial("unix", d.path); err == nil {
		t.Error("the socket is still there")
	}
}

func TestTooManyClientsAreTold(t *testing.T) {
	d := startDaemon(t)
	clients := make([]*Client, maxSessions)
	for i := range clients {
		clients[i] = d.dial(t)
	}
	if _, err := Dial(t.Context(), d.path); !errors.Is(err, &Error{Code: "CMD BUSY"}) {
		t.Errorf("one more: %v", err)
	}
	must(t, clients[0].Close())
	eventually(t, "there is a place again", func() bool {
		c, err := Dial(t.Context(), d.path)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
}

// Errors that are nobody else's business are in the log, not in answers.
func TestInternalErrorsAreLoggedNotTold(t *testing.T) {
	d := startDaemon(t)
	d.errs["Retry"] = errors.New("disk of the operator is full")
	c := d.raw(t)
	c.send("1\r\nC:x\r\nRETRY\r\n")
	c.expect("1\r\nC:x\r\nERR INTERNAL\r\n")
	if log := d.log.String(); !strings.Contains(log, "disk of the operator is full") || !strings.Contains(log, "RETRY") || strings.Contains(log, "C:x") {
		t.Errorf("log is %q", log)
	}
	d.mu.Lock()
	d.errs["Retry"] = &conn.Error{Code: conn.CodeBusy, Detail: "two\r\nlines"}
	d.mu.Unlock()
	c.send("2\r\nC:x\r\nRETRY\r\n")
	c.expect("2\r\nC:x\r\nERR CONN BUSY :two lines\r\n")
}
