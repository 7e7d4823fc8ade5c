package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestTextIsThePublicFormat(t *testing.T) {
	body, id, err := EncodeText("hello!")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":"1","msgId":"` + id.Text() + `","event":"x.msg.new","params":{"content":{"type":"text","text":"hello!"}}}`
	if string(body) != want {
		t.Fatalf("%s\n%s", body, want)
	}
	got, err := Decode(body)
	if err != nil || got != (Content{eventNew, id, "hello!"}) {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestDecodeTakesWhatOthersSend(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want Content
		err  error
	}{
		"unknown members": {`{"v":"1-16","event":"x.msg.new","params":{"content":{"type":"text","text":"hi","x":1},"ttl":5}}`, Content{Event: eventNew, Text: "hi"}, nil},
		"other content":   {`{"event":"x.msg.new","params":{"content":{"type":"link","text":"see","preview":{}}}}`, Content{Event: eventNew, Text: "see"}, nil},
		"other event":     {`{"event":"x.msg.deleted","msgId":"AAAA","params":{}}`, Content{Event: "x.msg.deleted"}, nil},
		"no event":        {`{"params":{}}`, Content{}, ErrContent},
		"no JSON":         {"\x00\x01", Content{}, ErrContent},
		"wrong content":   {`{"event":"x.msg.new","params":{"content":7}}`, Content{}, ErrContent},
	} {
		got, err := Decode([]byte(c.body))
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
	for _, text := range []string{"", "\xff"} {
		if _, _, err := EncodeText(text); !errors.Is(err, ErrContent) {
			t.Errorf("encoded %q: %v", text, err)
		}
	}
}

func TestProfileTravelsAsCardAndInfo(t *testing.T) {
	p := Profile{"ann", "Ann of Arc"}
	card, err := p.Card()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadCard(card); err != nil || got != p {
		t.Errorf("card %+v %v", got, err)
	}
	info, err := p.Info()
	if err != nil || !json.Valid(info) {
		t.Fatal(err)
	}
	if got, err := ReadInfo(info); err != nil || got != p {
		t.Errorf("info %+v %v", got, err)
	}
	for _, bad := range []Profile{{}, {DisplayName: "a b"}, {DisplayName: "#a"}, {DisplayName: "@a"}, {DisplayName: strings.Repeat("a", 65)},
		{DisplayName: "a\x1b[2J"}, {DisplayName: "a", FullName: "\u202eb"}, {DisplayName: "a", FullName: strings.Repeat("b", 257)}, {DisplayName: "\xff"}} {
		if _, err := bad.Card(); !errors.Is(err, ErrProfile) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestPrintableTakesTheTeethOut(t *testing.T) {
	if got := Printable("a\x1b[31mred\u202e\nb\u2066c\x00"); got != "a[31mred bc" {
		t.Errorf("%q", got)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":"1","msgId":"AAAAAAAAAAAAAAAA","event":"x.msg.new","params":{"content":{"type":"text","text":"hello!"}}}`))
	f.Add([]byte(`{"event":"x.info","params":{"profile":{"displayName":"ann","fullName":""}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if c, err := Decode(body); err == nil && c.Event == "" {
			t.Fatal("content without event")
		}
		if p, err := ReadInfo(body); err == nil && p.Check() != nil {
			t.Fatal("took a bad profile")
		}
		if p, err := ReadCard(body); err == nil && p.Check() != nil {
			t.Fatal("took a bad card")
		}
	})
}
