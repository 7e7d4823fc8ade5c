package chat

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names of the events of the public chat protocol that this app writes; it reads every event and keeps what it does not
// know as Content with an empty Text.
const (
	eventNew  = "x.msg.new"
	eventInfo = "x.info"
)

// protocolVersion is what we say we understand of the public chat protocol: plain text and profiles.
const protocolVersion = "1"

// ErrContent reports a body that is not a message of the public chat protocol.
var ErrContent = errors.New("not a chat message")

// MessageID is the 12 random bytes that the chat protocol gives a message, so that replies and deletions can name it.
type MessageID [12]byte

// NewMessageID returns a random ID.
func NewMessageID(random io.Reader) (MessageID, error) {
	var id MessageID
	_, err := io.ReadFull(random, id[:])
	return id, err
}

// Text returns the 16 characters of the ID in base64url.
func (id MessageID) Text() string { return base64.URLEncoding.EncodeToString(id[:]) }

// Content is a chat message: what one side writes and the other shows.
type Content struct {
	Event string    // name in the public chat protocol, such as x.msg.new
	ID    MessageID // zero if the sender gave none
	Text  string    // what a person reads; empty for events that are not text
}

// envelope is the JSON of every chat message: unknown members are ignored.
type envelope struct {
	Version string          `json:"v,omitempty"`
	ID      string          `json:"msgId,omitempty"`
	Event   string          `json:"event"`
	Params  json.RawMessage `json:"params"`
}

type newParams struct {
	Content textContent `json:"content"`
}

type textContent struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// EncodeText returns the JSON of a text message with a fresh ID. ErrContent if text is empty or not UTF-8.
func EncodeText(text string) ([]byte, MessageID, error) {
	if text == "" || !utf8.ValidString(text) {
		return nil, MessageID{}, fmt.Errorf("%w: text must be UTF-8 and not empty", ErrContent)
	}
	id, err := NewMessageID(rand.Reader)
	if err != nil {
		return nil, MessageID{}, err
	}
	body, err := encode(eventNew, id, newParams{textContent{"text", text}})
	return body, id, err
}

func encode(event string, id MessageID, params any) ([]byte, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	e := envelope{Version: protocolVersion, Event: event, Params: raw}
	if id != (MessageID{}) {
		e.ID = id.Text()
	}
	return json.Marshal(e)
}

// Decode reads the body of a message. Events other than text have an empty Text; content types other than text carry
// the text that their sender put in for clients that do not know them. ErrContent for bodies that are no chat message.
func Decode(body []byte) (Content, error) {
	e, err := open(body)
	if err != nil {
		return Content{}, err
	}
	c := Content{Event: e.Event}
	if raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(e.ID, "=")); err == nil && len(raw) == len(c.ID) {
		c.ID = MessageID(raw)
	}
	if e.Event == eventNew {
		var p newParams
		if err := json.Unmarshal(e.Params, &p); err != nil {
			return Content{}, fmt.Errorf("%w: parameters", ErrContent)
		}
		c.Text = p.Content.Text
	}
	return c, nil
}

func open(body []byte) (envelope, error) {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil || e.Event == "" {
		return envelope{}, ErrContent
	}
	return e, nil
}

// Printable returns text as a terminal may show it: line breaks become spaces, and control characters, with which a
// sender could change what others see, are left out. So are the marks that turn the direction of writing.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, text)
}
