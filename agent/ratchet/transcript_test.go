package ratchet

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type transcript struct {
	Name         string
	Agreement    vectorAgreement
	PaddedLength int `json:"padded_length"`
	Events       []transcriptEvent
}

type transcriptEvent struct {
	Do, By, To   string
	N            int
	PQ           *bool
	Plaintext    hexBytes
	Error        string
	Message      hexBytes
	MessageKey   hexBytes        `json:"message_key"`
	BodyIV       hexBytes        `json:"body_iv"`
	FlippedByte  *int            `json:"flipped_byte"`
	CutTo        *int            `json:"cut_to"`
	StateChanged *bool           `json:"state_changed"`
	State        *vectorState    `json:"state_after"`
	Skipped      []vectorSkipped `json:"skipped_after"`
}

type vectorSkipped struct {
	HeaderKey hexBytes `json:"header_key"`
	Numbers   []uint32 // all, or the first and the last
	Count     int
}

// transcriptParty is one side of a transcript while it is played back.
type transcriptParty struct {
	name  string
	state *State
	kem   *recordedKEM
	last  *vectorKEM // last recorded KEM state, with what we keep after PQOff
	peer  []byte     // ratchet key of the other side that the sending chain was made with
	// The reference stops saying "accepted" in the rest of a chain after PQOff; we do not (State.choose).
	saysProposed bool
}

type transcriptMessage struct {
	message   []byte
	senderKey []byte // the sender's public ratchet key
}

type player struct {
	t        *testing.T
	reload   reload
	padded   int
	parties  map[string]*transcriptParty
	messages map[int]transcriptMessage
	differ   int // messages whose header we make differently on purpose
}

func (p *player) start(v *vectorAgreement) {
	initiator, joiner := v.run(p.t, newRecordedKEM(p.t))
	p.parties = map[string]*transcriptParty{}
	for _, party := range []*transcriptParty{{name: "initiator", state: initiator}, {name: "joiner", state: joiner, peer: v.Initiator.Public2}} {
		recorded := v.InitiatorState
		if party.name == "joiner" {
			recorded = v.JoinerState
		}
		party.last, _ = recorded.kem(p.t)
		party.kem = newRecordedKEM(p.t)
		party.state.kem = party.kem
		p.parties[party.name] = party
	}
	p.messages = map[int]transcriptMessage{}
}

func (p *player) send(e *transcriptEvent) {
	t, party := p.t, p.parties[e.By]
	s := party.state
	pq := PQKeep
	if e.PQ != nil {
		pq = map[bool]PQ{false: PQOff, true: PQOn}[*e.PQ]
	}
	before := s.AppendBinary(nil)
	m, err := s.NextSending(pq, p.padded)
	if errorName(err) != e.Error {
		t.Fatalf("error %v, want %q", err, e.Error)
	}
	if err != nil {
		wantBytes(t, "state after an error", s.AppendBinary(nil), before)
		return
	}
	wantBytes(t, "message key", m.key[:], e.MessageKey)
	wantBytes(t, "body IV", m.iv[:], e.BodyIV)
	want(t, "message PQ", m.PQ(), *e.State.KEMSending)
	if party.saysProposed {
		p.differ++
		p.compareHeaders(s, m, e.Message)
	}
	sealed, err := m.Seal(nil, e.Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	wantBytes(t, "message", sealed, e.Message)
	p.messages[e.N] = transcriptMessage{e.Message, bytes.Clone(s.own.public[:])}
	p.compare(party, e)
}

// compareHeaders checks that a recorded header differs from ours in nothing but that it says "proposed" where ours says
// "accepted", and puts it in the place of ours.
func (p *player) compareHeaders(s *State, m *MessageKeys, recorded []byte) {
	p.t.Helper()
	openHeader := func(encHeader []byte) header {
		e := message{encHeader: encHeader}
		if err := e.parseEncHeader(); err != nil {
			p.t.Fatal(err)
		}
		content, ok := open(&s.sending.headerKey, e.headerIV, e.headerTag, e.headerContent, s.ad[:])
		if !ok {
			p.t.Fatal("header does not open")
		}
		h, err := parseHeader(content, e.version)
		if err != nil {
			p.t.Fatal(err)
		}
		return h
	}
	theirs, err := parseMessage(recorded)
	if err != nil {
		p.t.Fatal(err)
	}
	our, their := openHeader(m.encHeader), openHeader(theirs.encHeader)
	if !our.kem.accepted() || their.kem.accepted() {
		p.t.Error("KEM states of headers")
	}
	our.kem.Ciphertext = nil
	wantBytes(p.t, "header without the ciphertext", our.append(nil, 3), their.append(nil, 3))
	m.encHeader = theirs.encHeader
}

// noRandomness fails the test when it is read.
type noRandomness struct{ t testing.TB }

func (r noRandomness) Read([]byte) (int, error) {
	r.t.Error("randomness used where none was")
	return 0, io.ErrUnexpectedEOF
}

func (p *player) deliver(e *transcriptEvent) {
	t, party := p.t, p.parties[e.To]
	s := party.state
	sent := p.messages[e.N]
	b := bytes.Clone(sent.message)
	if e.CutTo != nil {
		b = b[:*e.CutTo]
	}
	if e.FlippedByte != nil {
		i := *e.FlippedByte
		if i < 0 {
			i += len(b)
		}
		b[i] ^= 1
	}
	var rand io.Reader = noRandomness{t}
	party.kem.next(nil)
	if e.State != nil && e.State.OwnPrivate != nil {
		rand = bytes.NewReader(e.State.OwnPrivate)
		party.peer = sent.senderKey
		party.saysProposed = false
		if k, recorded := e.State.kem(t); recorded {
			party.kem.next(k)
		}
	}
	before := s.AppendBinary(nil)
	plaintext, err := s.Decrypt(rand, b)
	if errorName(err) != e.Error {
		t.Fatalf("error %v, want %q", err, e.Error)
	}
	party.kem.done()
	if err == nil {
		wantBytes(t, "plaintext", plaintext, e.Plaintext)
	} else if !*e.StateChanged {
		wantBytes(t, "state that must not change", s.AppendBinary(nil), before)
		return
	}
	p.compare(party, e)
	compareSkipped(t, s, e.Skipped)
}

func (p *player) compare(party *transcriptParty, e *transcriptEvent) {
	p.t.Helper()
	if k, recorded := e.State.kem(p.t); recorded {
		if e.Do == "send" && k != nil && k.Accepted == nil && party.last.Accepted != nil {
			k.Accepted = party.last.Accepted
			party.saysProposed = true
		}
		party.last = k
	}
	e.State.compare(p.t, party.state)
	if e.State.Send != nil {
		wantBytes(p.t, "peer's ratchet key", party.peer, e.State.Send.Peer)
	}
	party.last.compare(p.t, party.state)
}

func compareSkipped(t testing.TB, s *State, recorded []vectorSkipped) {
	t.Helper()
	want(t, "chains with skipped keys", len(s.skipped.chains), len(recorded))
	for _, v := range recorded {
		i := slices.IndexFunc(s.skipped.chains, func(c skippedChain) bool { return bytes.Equal(c.headerKey[:], v.HeaderKey) })
		if i < 0 {
			t.Fatal("no skipped keys for a header key")
		}
		var numbers []uint32
		for _, k := range s.skipped.chains[i].keys {
			numbers = append(numbers, k.number)
		}
		want(t, "skipped keys", len(numbers), v.Count)
		if len(v.Numbers) != v.Count {
			numbers = []uint32{numbers[0], numbers[len(numbers)-1]}
		}
		if !slices.Equal(numbers, v.Numbers) {
			t.Errorf("skipped numbers %v, want %v", numbers, v.Numbers)
		}
	}
}

func TestTranscripts(t *testing.T) {
	// Messages after the first with PQOff in one chain, see transcriptParty.saysProposed.
	differ := map[string]int{"kem-off-first-message-lost": 2, "kem-accepted-then-off-then-on": 1}
	files := map[string]int{"ratchet-v2-v3.json": 5, "ratchet-errors.json": 3, "ratchet-kem-1.json": 1, "ratchet-kem-2.json": 4}
	for file, count := range files {
		var f struct{ Transcripts []transcript }
		readVectors(t, file, &f)
		want(t, file, len(f.Transcripts), count)
		for _, tr := range f.Transcripts {
			for name, reload := range map[string]reload{"in memory": keep, "encoded": encodeDecode, "saved": saveLoad()} {
				t.Run(strings.Join([]string{strings.TrimSuffix(file, ".json"), tr.Name, name}, "/"), func(t *testing.T) {
					p := &player{t: t, reload: reload, padded: tr.PaddedLength}
					p.play(&tr)
					want(t, "headers that differ", p.differ, differ[tr.Name])
				})
			}
		}
	}
}

func (p *player) play(tr *transcript) {
	p.start(&tr.Agreement)
	for i := range tr.Events {
		e := &tr.Events[i]
		if e.Do == "send" {
			p.send(e)
		} else {
			p.deliver(e)
		}
		for _, party := range p.parties {
			party.state = p.reload(p.t, party.name, party.state, party.kem)
		}
		if p.t.Failed() {
			p.t.Fatalf("event %d: %s", i, e.Do)
		}
	}
}

func TestSkipLimit(t *testing.T) {
	var f struct {
		Limit struct {
			Agreement  vectorAgreement
			Padded     int `json:"padded_length"`
			Deliveries []struct {
				Message   hexBytes
				N         uint32
				Plaintext hexBytes
				Error     string
				NrAfter   uint32 `json:"nr_after"`
				Stored    int    `json:"stored_keys_after"`
			}
		} `json:"skip_limit"`
	}
	readVectors(t, "ratchet-errors.json", &f)
	initiator, joiner := f.Limit.Agreement.run(t, newRecordedKEM(t))
	sent := map[uint32][]byte{}
	for n := range uint32(1100) {
		sent[n] = sealNext(t, joiner, PQKeep, f.Limit.Padded, []byte(strconv.Itoa(int(n))))
	}
	reload := saveLoad()
	for _, d := range f.Limit.Deliveries {
		wantBytes(t, "message", sent[d.N], d.Message)
		before := initiator.AppendBinary(nil)
		plaintext, err := initiator.Decrypt(bytes.NewReader(ascending(1, keySize)), d.Message)
		if errorName(err) != d.Error {
			t.Fatalf("message %d: error %v, want %q", d.N, err, d.Error)
		}
		if err != nil && initiator.nr == 0 && bytes.Equal(before, initiator.AppendBinary(nil)) {
			t.Error("the ratchet step before an error was lost")
		}
		wantBytes(t, "plaintext", plaintext, d.Plaintext)
		want(t, "nr", initiator.nr, d.NrAfter)
		want(t, "stored keys", initiator.skipped.count, d.Stored)
		initiator = reload(t, "initiator", initiator, nil)
	}
	if len(f.Limit.Deliveries) == 0 {
		t.Error("no deliveries")
	}
}
