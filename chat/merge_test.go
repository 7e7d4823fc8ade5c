package chat

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coterie-im/coterie/agent"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/chat/store"
)

// replicaApp is an app that is in a group of devices, without an agent.
func replicaApp(t *testing.T) *App {
	t.Helper()
	file, err := store.Open(filepath.Join(t.TempDir(), "chat.db"), agentstore.RawKey([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	a, err := New(Options{Agent: &scripted{}, History: file, Profile: Profile{DisplayName: "ann"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.write(func(b *store.Batch) error {
		own, err := b.Own()
		if err != nil {
			return err
		}
		own.Group, own.Self = "devices", "here"
		_, beginErr := b.Begin(store.Devices, "devices", "devices", time.Unix(0, 0))
		return errors.Join(beginErr, b.SetOwn(own))
	}); err != nil {
		t.Fatal(err)
	}
	return a
}

// tell lets another device say items in one message.
func (a *App) tell(t *testing.T, from string, items ...any) (updates []Update) {
	t.Helper()
	return a.tellBody(t, from, replicaBody(t, items...))
}

func replicaBody(t *testing.T, items ...any) []byte {
	t.Helper()
	r := replica{Version: replicaVersion}
	for _, i := range items {
		raw, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		r.Items = append(r.Items, raw)
	}
	body, err := encode(eventReplica, MessageID{}, r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (a *App) tellBody(t *testing.T, from string, body []byte) (updates []Update) {
	t.Helper()
	if err := a.write(func(b *store.Batch) (err error) {
		updates, err = a.fromDevice(b, agent.Event{Entity: "G:devices"}, agent.MemberID(from), body)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return updates
}

// replicated is everything that devices must agree on.
func (a *App) replicated(t *testing.T) string {
	t.Helper()
	var lines []string
	if err := a.read(func(b *store.Batch) error {
		own, err := b.Own()
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("profile %s %v", own.Profile, own.Stamp))
		all, err := b.Conversations()
		for _, c := range all {
			if c.Kind == store.Devices {
				continue
			}
			messages, messagesErr := b.Messages(c)
			err = errors.Join(err, messagesErr)
			inOrder(messages)
			line := fmt.Sprintf("%s %s %q %v %v", c.Kind, c.Ref, c.Name, c.Ended, c.Stamp)
			for _, m := range messages {
				line += fmt.Sprintf("\n  %+v", m)
			}
			lines = append(lines, line)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func version7(n byte) (id uuid.UUID) {
	id[6], id[8], id[15] = 0x70, 0x80, n
	return id
}

// said is an item with the device that says it.
type said struct {
	by   string
	item item
}

func randomItems(r *rand.Rand) (all []said) {
	devices := []string{"x", "y", "z"}
	for n := range 60 {
		by := devices[r.IntN(len(devices))]
		stamp := store.Stamp{Count: uint64(1 + r.IntN(8)), By: by}
		switch r.IntN(5) {
		case 0:
			// A device gives a stamp once.
			all = append(all, said{by, item{Profile: &profileItem{Profile{DisplayName: fmt.Sprintf("p%d%s", stamp.Count, by)}, stamp}}})
		case 1:
			key := fmt.Sprintf("c%d", r.IntN(3))
			all = append(all, said{by, item{Conversation: &conversationItem{conversationName{store.Group, key}, fmt.Sprintf("n%d%s", stamp.Count, by), stamp.Count%2 == 0, stamp}}})
		case 2: // what one device alone has
			e := entryItem{In: conversationName{store.Contact, "of " + by}, ID: version7(byte(n)), Own: r.IntN(2) == 0, Text: fmt.Sprint("text ", n), Time: time.Unix(int64(n), 0)}
			all = append(all, said{by, item{Entry: &e}})
		case 3: // in pieces
			for i := range 3 {
				e := entryItem{In: conversationName{store.Contact, "of " + by}, ID: version7(byte(n)), Text: fmt.Sprint("piece ", i), Time: time.Unix(int64(n), 0), Piece: i, Pieces: 3}
				all = append(all, said{by, item{Entry: &e}})
			}
		case 4: // what several devices have, each with what it knows
			number := r.IntN(5)
			author := fmt.Sprintf("m%d", number%3)
			e := entryItem{
				In: conversationName{store.Group, "c0"}, ID: version7(byte(100 + n)), Origin: fmt.Sprintf("%s/%d/00", author, number), Author: author,
				Text: fmt.Sprint("said ", number), Time: time.Unix(int64(n), 0), Vouched: r.IntN(2) == 0, False: r.IntN(6) == 0,
				Own: number%3 == 0 && by == "x", From: author,
			}
			all = append(all, said{by, item{Entry: &e}})
		}
	}
	return all
}

// Items may come in any order, more than once, and in any groups: the outcome is the same.
func TestOrderOfItemsDoesNotMatter(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		items := randomItems(r)
		var want string
		for round := range 3 {
			a := replicaApp(t)
			shuffled := slices.Clone(items)
			if round > 0 {
				shuffled = append(shuffled, items[:r.IntN(len(items))]...)
				r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			}
			if err := a.write(func(b *store.Batch) error {
				for _, s := range shuffled {
					if _, err := a.fromDevice(b, agent.Event{Entity: "G:devices"}, agent.MemberID(s.by), replicaBody(t, s.item)); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			got := a.replicated(t)
			if want = cmp.Or(want, got); got != want {
				t.Fatalf("seed %d, round %d:\n%s\n\nfirst:\n%s", seed, round, got, want)
			}
			var waits int
			if err := a.read(func(b *store.Batch) error { waits = b.Enqueued(); return nil }); err != nil || waits != 0 {
				t.Fatalf("told on what others told: %d, %v", waits, err)
			}
		}
	}
}

func TestWhatCannotBeReadIsIgnored(t *testing.T) {
	id, noTime := version7(1).String(), `"time":"2030-01-01T00:00:00Z"`
	in := `"in":{"kind":"contact","key":"k"}`
	long := strings.Repeat("k", maxFullName+1)
	a := replicaApp(t)
	before := a.replicated(t)
	for name, body := range map[string]string{
		"no JSON":                 "\x00",
		"other event":             `{"event":"x.msg.new","params":{}}`,
		"version 0":               `{"event":"coterie.replica","params":{"items":[]}}`,
		"no item":                 `{"event":"coterie.replica","params":{"version":1,"items":[7,"x",null,{}]}}`,
		"item of a later version": `{"event":"coterie.replica","params":{"version":1,"items":[{"draft":{"text":"x"}}]}}`,
		"bad profile":             `{"event":"coterie.replica","params":{"version":1,"items":[{"profile":{"displayName":"a b","stamp":{"n":5,"by":"x"}}}]}}`,
		"stamp far ahead":         `{"event":"coterie.replica","params":{"version":1,"items":[{"profile":{"displayName":"ab","stamp":{"n":18446744073709551615,"by":"x"}}}]}}`,
		"old stamp":               `{"event":"coterie.replica","params":{"version":1,"items":[{"profile":{"displayName":"ab","stamp":{"n":0,"by":"x"}}}]}}`,
		"kind":                    `{"event":"coterie.replica","params":{"version":1,"items":[{"conversation":{"kind":"devices","key":"devices","name":"x","ended":true,"stamp":{"n":5,"by":"x"}}}]}}`,
		"long key":                `{"event":"coterie.replica","params":{"version":1,"items":[{"conversation":{"kind":"contact","key":"` + long + `","name":"x","stamp":{"n":5,"by":"x"}}}]}}`,
		"long name":               `{"event":"coterie.replica","params":{"version":1,"items":[{"conversation":{"kind":"contact","key":"k","name":"` + long + `","stamp":{"n":5,"by":"x"}}}]}}`,
		"no ID":                   `{"event":"coterie.replica","params":{"version":1,"items":[{"entry":{` + in + `,"text":"x",` + noTime + `}}]}}`,
		"origin of a contact":     `{"event":"coterie.replica","params":{"version":1,"items":[{"entry":{` + in + `,"id":"` + id + `","origin":"message/7","text":"x",` + noTime + `}}]}}`,
		"no origin in a group":    `{"event":"coterie.replica","params":{"version":1,"items":[{"entry":{"in":{"kind":"group","key":"k"},"id":"` + id + `","text":"x",` + noTime + `}}]}}`,
		"too many pieces":         `{"event":"coterie.replica","params":{"version":1,"items":[{"entry":{` + in + `,"id":"` + id + `","text":"x","piece":1,"pieces":65,` + noTime + `}}]}}`,
		"piece of none":           `{"event":"coterie.replica","params":{"version":1,"items":[{"entry":{` + in + `,"id":"` + id + `","text":"x","piece":1,` + noTime + `}}]}}`,
		"negative piece":          `{"event":"coterie.replica","params":{"version":1,"items":[{"entry":{` + in + `,"id":"` + id + `","text":"x","piece":-1,"pieces":2,` + noTime + `}}]}}`,
	} {
		a.tellBody(t, "x", []byte(body))
		if got := a.replicated(t); got != before {
			t.Fatalf("%s:\n%s", name, got)
		}
	}
	updates := a.tellBody(t, "x", []byte(`{"event":"coterie.replica","params":{"version":2,"items":[]}}`))
	if len(updates) != 1 || !strings.Contains(updates[0].Remark, "newer version") {
		t.Errorf("%+v", updates)
	}
}

// Pieces that are never completed do not pile up.
func TestUnfinishedPiecesAreBounded(t *testing.T) {
	a := replicaApp(t)
	var items []any
	for n := range maxStored + 40 {
		id := version7(byte(n))
		id[14] = byte(n >> 8)
		items = append(items, item{Entry: &entryItem{In: conversationName{store.Contact, "k"}, ID: id, Text: "x", Piece: 0, Pieces: 2}})
	}
	for chunk := range slices.Chunk(items, maxItems) {
		a.tell(t, "x", chunk...)
	}
	last := *items[len(items)-1].(item).Entry
	first := *items[0].(item).Entry
	for _, e := range []*entryItem{&first, &last} {
		e.Piece, e.Text = 1, "y"
	}
	if got := a.tell(t, "x", item{Entry: &first}); len(got) != 0 {
		t.Error("the oldest piece was kept")
	}
	if got := a.tell(t, "x", item{Entry: &last}); len(got) != 1 || got[0].Message.Text != "xy" {
		t.Errorf("%+v", got)
	}
}

// Every item fits into a message to a group, whatever people write and call themselves.
func TestItemsFit(t *testing.T) {
	worst := strings.Repeat("<", 40000)
	a := replicaApp(t)
	if err := a.write(func(b *store.Batch) error {
		c, err := b.Begin(store.Group, "g", "group", time.Unix(0, 0))
		if err != nil {
			return err
		}
		c.Name, c.Members = worst[:1000], []store.Member{{Key: strings.Repeat("k", 43), Name: worst[:64]}}
		if err := b.Update(c); err != nil {
			return err
		}
		for _, text := range []string{worst, "short", "\u2028 \x01", ""} {
			m := store.Message{Origin: "k/1/" + text[:min(3, len(text))], Author: strings.Repeat("k", 43), Voucher: strings.Repeat("v", 43), Text: text, Vouched: true}
			if _, err := b.Append(c, m); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	other := replicaApp(t)
	for {
		var p store.Parcel
		var waits bool
		if err := a.write(func(b *store.Batch) (err error) {
			p, waits, err = a.pack(b)
			if again, _, _ := a.pack(b); waits && string(again.Body) != string(p.Body) {
				t.Error("what is being sent changed")
			}
			b.DropParcel()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if !waits {
			break
		}
		if len(p.Body) > maxReplica {
			t.Fatalf("message of %d bytes", len(p.Body))
		}
		other.tellBody(t, "a", p.Body)
	}
	all, err := other.Conversations()
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	messages, err := other.Messages(all[1].Kind, all[1].Ref)
	if err != nil || len(messages) != 4 {
		t.Fatalf("%d entries: %v", len(messages), err)
	}
	texts := map[string]bool{}
	for _, m := range messages {
		texts[m.Text] = true
	}
	if !texts[worst] || !texts["short"] || !texts["\u2028 \x01"] || !texts[""] {
		t.Error("texts have changed")
	}
}

func FuzzReplica(f *testing.F) {
	f.Add([]byte(`{"event":"coterie.replica","params":{"version":1,"items":[{"entry":{"in":{"kind":"contact","key":"k"},"id":"00000000-0000-7000-8000-000000000001","text":"x","time":"2030-01-01T00:00:00Z"}}]}}`))
	f.Add([]byte(`{"event":"coterie.replica","params":{"version":1,"items":[{"conversation":{"kind":"group","key":"k","name":"x","stamp":{"n":5,"by":"x"}}},{"profile":{"displayName":"ab","stamp":{"n":5,"by":"x"}}}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a := replicaApp(t)
		a.tellBody(t, "x", body)
		once := a.replicated(t)
		a.tellBody(t, "x", body)
		if twice := a.replicated(t); twice != once {
			t.Fatalf("the second time changed something:\n%s\n\n%s", once, twice)
		}
	})
}
