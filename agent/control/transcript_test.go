package control

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coterie-im/coterie/agent"
)

var update = flag.Bool("update", false, "write golden files and the generated part of docs/commands.md")

// exchange is a step of the transcript: what the client sends, and how many transmissions come back.
type exchange struct {
	remark    string
	send      string
	meanwhile func(*fake) // what happens in the agent after the first answer
	answers   int
	ends      bool // the daemon closes the connection
}

const (
	exampleConn  = "C:Qm9iJ3MgY29ubi4u"
	exampleGroup = "G:dGhlIGdyb3VwICBp"
)

func transcript() []exchange {
	moment := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	author := agent.MemberID(strings.Repeat("m", 43))
	return []exchange{
		{remark: "A one-time link. The entity of the answer is the new connection.", send: "1\r\n\r\nNEW INV\r\n", answers: 1},
		{remark: "The same with a key, so that a repeat after a crash finds the same connection, and with text that travels in the link.", send: "2\r\n\r\nNEW INV order-17 :order 17\r\n", answers: 1},
		{
			remark: "Events from the cursor \"bot\" on: an empty correlation ID, the name, the number, the size of the JSON, a line feed, the JSON.",
			meanwhile: func(f *fake) {
				f.report(exampleConn, &agent.Confirmation{Confirmation: "Y29uZmlybWF0aW9u", Info: []byte(`{"name":"bob"}`)})
			},
			send: "3\r\n\r\nEVENTS bot\r\n", answers: 2,
		},
		{remark: "Bob may in. The body is the rest of the line.", send: "4\r\n" + exampleConn + "\r\nLET Y29uZmlybWF0aW9u :{\"name\":\"bot\"}\r\n", answers: 1},
		{
			remark: "The event is done with: the cursor resumes behind it. Then the connection works, and a message comes.",
			meanwhile: func(f *fake) {
				f.report(exampleConn, &agent.Connected{}, &agent.Message{ID: 4, Integrity: "OK", Received: moment, RelayTime: moment, Sender: 1, Body: []byte("hello")})
			},
			send: "5\r\n\r\nDONE bot 1\r\n", answers: 3,
		},
		{remark: "The message is acknowledged, with a receipt; the next one of this connection comes only then. After that the event is done with.", send: "6\r\n" + exampleConn + "\r\nACK 4 T\r\n7\r\n\r\nDONE bot 3\r\n", answers: 2},
		{remark: "A message of two lines: its size, a line feed alone, and the bytes. T asks for a notification.", send: "8\r\n" + exampleConn + "\r\nSEND T 11\nhello\nworld\r\n", answers: 1},
		{remark: "Lines may end with LF alone, as they do when typed; bodies are then text only.", send: "9\n" + exampleConn + "\nSEND F :typed\n", answers: 1},
		{
			remark: "Groups have \"G:\" in the entity line. The answer is the message's identity. Somebody answers.",
			meanwhile: func(f *fake) {
				f.report(exampleGroup, &agent.GroupMessage{MessageRecord: agent.MessageRecord{Message: agent.MessageID{Author: author, Number: 8, Hash: make([]byte, 32)}, Depth: 2, Time: moment, Position: 2, Body: []byte("hi")}})
			},
			send: "10\r\n" + exampleGroup + "\r\nGSEND F :hello everybody\r\n", answers: 2,
		},
		{remark: "A group message needs no ACK: it is done with when its event is.", send: "11\r\n\r\nDONE bot 4\r\n", answers: 1},
		{remark: "Errors have a code for programs and a text for people.", send: "12\r\n" + exampleConn + "\r\nSEND\r\n", answers: 1},
		{remark: "Not for a group, not known, not now. The body of what is not known is skipped.", send: "13\r\n" + exampleGroup + "\r\nSEND F :hello\r\n14\r\n\r\nFLY 4\nhigh\r\n15\r\n\r\nEVENTS other\r\n", answers: 3},
		{remark: "The classic mistake: a size whose line does not end with LF alone. What follows could be taken for commands, so the connection ends.", send: "16\r\n" + exampleConn + "\r\nSEND F 5\r\nhello\r\n", answers: 1, ends: true},
	}
}

// TestTranscript speaks the protocol by hand and compares every byte with testdata/transcript.txt.
func TestTranscript(t *testing.T) {
	d := startDaemon(t)
	d.replies["CreateConnection"] = created{agent.Entity(exampleConn).Connection(), "simplex:/invitation#/?v=2-7&smp=smp%3A%2F%2Fexample"}
	d.replies["Send"] = int64(5)
	d.replies["GroupSend"] = agent.MessageID{Author: agent.MemberID(strings.Repeat("a", 43)), Number: 3, Hash: make([]byte, 32)}
	c := d.raw(t)
	in := &reader{c.in, maxAnswer}
	var out strings.Builder
	out.WriteString(`# A client (>) talks to an agent daemon (<). Every line is shown with its end: \r\n or \n. Made by TestTranscript with an
# agent that answers as it is told, so links and hashes are not real.

`)
	show := func(who, text string) {
		for line := range strings.Lines(text) {
			quoted := strconv.Quote(line)
			fmt.Fprintf(&out, "%s %s\n", who, strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`))
		}
	}
	show("<", "Welcome to Coterie agent v1.2.3\r\n")
	for _, step := range transcript() {
		fmt.Fprintf(&out, "\n# %s\n", step.remark)
		show(">", step.send)
		c.send(step.send)
		for i := range step.answers {
			if i == 1 && step.meanwhile != nil {
				step.meanwhile(d.fake)
			}
			must(t, c.conn.SetReadDeadline(time.Now().Add(patience)))
			answer, err := in.read()
			must(t, err)
			show("<", string(answer.append(nil)))
		}
		if step.ends {
			if _, err := in.read(); !errors.Is(err, io.EOF) {
				t.Errorf("instead of the end: %v", err)
			}
			out.WriteString("\n# The end.\n")
		}
	}
	const file = "testdata/transcript.txt"
	if *update {
		must(t, os.WriteFile(file, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if out.String() != string(want) {
		t.Errorf("the conversation is\n%s\nand not as in %s; -update writes it", out.String(), file)
	}
}
