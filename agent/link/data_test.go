package link

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/coterie-im/coterie/agent/ratchet"
	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/internal/wire"
	"github.com/coterie-im/coterie/queue"
)

type dataVector struct {
	Name           string
	Error          *string
	FixedBlob      hexBytes `json:"fixed_blob"`
	FixedData      hexBytes `json:"fixed_data"`
	FixedSignature hexBytes `json:"fixed_signature"`
	Key            hexBytes
	LinkID         hexBytes `json:"link_id"`
	LinkKey        hexBytes `json:"link_key"`
	RootPrivate    hexBytes `json:"root_private"`
	RootPublic     hexBytes `json:"root_public"`
	UserBlob       hexBytes `json:"user_blob"`
	UserData       hexBytes `json:"user_data"`
	UserPart       hexBytes `json:"user_part"`
	UserSignature  hexBytes `json:"user_signature"`
}

func (v dataVector) kind() Kind { return Kind(v.UserPart[0]) }

func TestLinkDataVectors(t *testing.T) {
	var file struct{ Cases []dataVector }
	load(t, "short-link-data.json", &file)
	for _, v := range file.Cases {
		t.Run(v.Name, func(t *testing.T) {
			id, key, err := derive(v.kind(), v.LinkKey)
			if err != nil || string(id) != string(v.LinkID) || !bytes.Equal(key[:], v.Key) {
				t.Errorf("derived %x, %v", string(id), err)
			}
			fixed, user, err := Open(v.kind(), v.LinkKey, v.FixedBlob, v.UserBlob)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(fixed.Append(nil), v.FixedData) || !bytes.Equal(user.Append(nil), v.UserPart) {
				t.Error("parts change when they are written again")
			}
			if !bytes.Equal(user.Data, v.UserData) || !bytes.Equal(fixed.Root.Raw(), v.RootPublic) {
				t.Errorf("user data of %d bytes", len(user.Data))
			}
			v.checkSealing(t, fixed, user)
		})
	}
	if len(file.Cases) != 4 {
		t.Errorf("%d cases", len(file.Cases))
	}
}

// checkSealing makes the recorded blobs again, from the recorded nonces.
func (v dataVector) checkSealing(t *testing.T, fixed Fixed, user User) {
	t.Helper()
	nonces := bytes.NewReader(append(bytes.Clone(v.FixedBlob[:box.NonceSize]), v.UserBlob[:box.NonceSize]...))
	sealed, err := Seal(nonces, ed25519.NewKeyFromSeed(v.RootPrivate), fixed, user)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sealed.LinkKey, v.LinkKey) || string(sealed.LinkID) != string(v.LinkID) || !bytes.Equal(sealed.Fixed, v.FixedBlob) {
		t.Error("fixed part sealed differently")
	}
	bySomeOwner := len(user.Owners) > 0
	if !bySomeOwner && !bytes.Equal(sealed.User, v.UserBlob) {
		t.Error("user part sealed differently")
	}
	if len(sealed.Fixed) != FixedBlobSize || len(sealed.User) != UserBlobSize {
		t.Errorf("blobs of %d and %d bytes", len(sealed.Fixed), len(sealed.User))
	}
}

func TestRejectedLinkDataVectors(t *testing.T) {
	var file struct {
		Rejected []dataVector `json:"rejected_cases"`
	}
	load(t, "short-link-data.json", &file)
	errs := map[string]error{"owner list": ErrOwners, "signature of the user part": ErrUserSignature}
	for _, v := range file.Rejected {
		key := box.Secret(v.Key)
		fixed := sealSigned(t, &key, v.FixedSignature, v.FixedData, fixedPadded)
		user := sealSigned(t, &key, v.UserSignature, v.UserPart, userPadded)
		if _, _, err := Open(v.kind(), v.LinkKey, fixed, user); !errors.Is(err, errs[*v.Error]) || !errors.Is(err, ErrData) {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
	if len(file.Rejected) != 4 {
		t.Errorf("%d cases", len(file.Rejected))
	}
}

// sealSigned makes a blob of a part with any signature.
func sealSigned(t *testing.T, key *box.Secret, signature, data []byte, n int) []byte {
	t.Helper()
	nonce := make([]byte, box.NonceSize)
	blob, err := box.SealPadded(nonce, key, nonce, append(wire.AppendStr8(nil, signature), data...), n)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func TestLiveShortLinks(t *testing.T) {
	var file struct {
		Links []struct {
			Short     string
			Full      string
			LinkID    hexBytes    `json:"link_id"`
			SenderID  hexBytes    `json:"sender_id"`
			FixedBlob base64Bytes `json:"fixed_blob_base64url"`
			UserBlob  base64Bytes `json:"user_blob_base64url"`
			UserData  hexBytes    `json:"user_data"`
		} `json:"short_links"`
	}
	load(t, "short-link-live.json", &file)
	for _, v := range file.Links {
		s, err := ParseShort(v.Short)
		if err != nil || s.Text() != v.Short {
			t.Fatal(err, s.Text())
		}
		if id, err := s.DataID(); err != nil || string(id) != string(v.LinkID) {
			t.Errorf("link ID %x, %v", string(id), err)
		}
		fixed, user, err := Open(s.Kind, s.Key, v.FixedBlob, v.UserBlob)
		if err != nil {
			t.Fatal(err)
		}
		request, err := s.Resolve(queue.ID(v.SenderID), fixed.Request)
		if err != nil || !bytes.Equal(user.Data, v.UserData) {
			t.Errorf("%v, user data %q", err, user.Data)
		}
		request.Keys.KEM = ratchet.KEMParams{} // that agent puts it behind the short link only
		if full, err := Parse(v.Full); err != nil || !bytes.Equal(full.Binary(), request.Binary()) {
			t.Errorf("request behind the link is not the full link: %v", err)
		}
	}
	if len(file.Links) != 2 {
		t.Errorf("%d links", len(file.Links))
	}
}

// example is a link, its data and what derives from it, made from keys of consecutive bytes.
type example struct {
	QueueText        string   `json:"queue_uri_text"`
	QueueTextManyFor string   `json:"queue_uri_text_v2_4"`
	QueueBinary      hexBytes `json:"queue_uri_bin"`
	Info4            hexBytes `json:"reply_queue_info_v4"`
	Info3            hexBytes `json:"reply_queue_info_v3"`
	Info1            hexBytes `json:"reply_queue_info_v1"`
	Invitation       string   `json:"invitation_link"`
	Contact          string   `json:"contact_link"`
	InvitationBinary hexBytes `json:"invitation_bin"`
	ContactBinary    hexBytes `json:"contact_bin"`
	SenderID         hexBytes `json:"sndid_from_corr"`
	Fixed            hexBytes `json:"fixed_data"`
	LinkKey          hexBytes `json:"link_key"`
	ContactID        hexBytes `json:"contact_link_id"`
	ContactKey       hexBytes `json:"contact_link_sbkey"`
	InvitationKey    hexBytes `json:"inv_link_sbkey"`
	FixedLength      int      `json:"efd_len"`
	UserLength       int      `json:"eud_len"`
	FixedFirst       hexBytes `json:"efd_first64"`
	FixedSum         hexBytes `json:"efd_sha256"`
	UserSum          hexBytes `json:"eud_sha256"`
	ShortContact     string   `json:"short_contact_link"`
	ShortSimplex     string   `json:"short_contact_link_simplex"`
	ShortInvitation  string   `json:"short_inv_link"`
}

func consecutive(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func loadExample(t testing.TB) (e example) {
	t.Helper()
	load(t, "example.json", &e)
	return e
}

func TestExampleLinks(t *testing.T) {
	e := loadExample(t)
	for text, binary := range map[string]hexBytes{e.Invitation: e.InvitationBinary, e.Contact: e.ContactBinary} {
		q, err := Parse(text)
		if err != nil || q.Text() != text || !bytes.Equal(q.Binary(), binary) {
			t.Errorf("%v: %s", err, q.Text())
		}
	}
	for _, text := range []string{e.ShortContact, e.ShortSimplex, e.ShortInvitation} {
		if s, err := ParseShort(text); err != nil || s.Text() != text {
			t.Errorf("%v: %s", err, s.Text())
		}
	}
	for _, text := range []string{e.QueueText, e.QueueTextManyFor} {
		if q, err := ParseQueue(text); err != nil || q.Text() != text {
			t.Errorf("%v: %s", err, q.Text())
		}
	}
	if q, _ := ParseQueue(e.QueueText); !bytes.Equal(q.Append(nil), e.QueueBinary) {
		t.Errorf("binary %x", q.Append(nil))
	}
}

func TestExampleQueueInformation(t *testing.T) {
	e := loadExample(t)
	r := wire.NewReader(e.Info4)
	i := ReadInfo(r)
	if r.Done() != nil || i.Mode != queue.ModeMessaging {
		t.Fatal(r.Err(), i.Mode)
	}
	for version, want := range map[queue.Version]hexBytes{4: e.Info4, 3: e.Info3, 1: e.Info1} {
		i.Version = version
		if got := i.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("version %d: %x", version, got)
		}
	}
}

func TestExampleLinkData(t *testing.T) {
	e := loadExample(t)
	if got := SenderID(queue.ID(consecutive(0xb0, 24))); string(got) != string(e.SenderID) {
		t.Errorf("sender ID %x", string(got))
	}
	fixed, err := ParseFixed(e.Fixed)
	if err != nil {
		t.Fatal(err)
	}
	root := ed25519.NewKeyFromSeed(consecutive(0x70, 32))
	user := User{Kind: Contact, Agent: AgentVersions, Direct: true, Data: []byte("some user data")}
	nonces := bytes.NewReader(append(consecutive(0xe0, 24), consecutive(0xe0, 24)...))
	sealed, err := Seal(nonces, root, fixed, user)
	if err != nil {
		t.Fatal(err)
	}
	fixedSum, userSum := sha256.Sum256(sealed.Fixed), sha256.Sum256(sealed.User)
	if !bytes.Equal(sealed.LinkKey, e.LinkKey) || string(sealed.LinkID) != string(e.ContactID) || !bytes.Equal(fixedSum[:], e.FixedSum) ||
		!bytes.Equal(userSum[:], e.UserSum) || !bytes.HasPrefix(sealed.Fixed, e.FixedFirst) ||
		len(sealed.Fixed) != e.FixedLength || len(sealed.User) != e.UserLength {
		t.Errorf("link key %x, blobs %x and %x", sealed.LinkKey, fixedSum, userSum)
	}
	for kind, want := range map[Kind]hexBytes{Contact: e.ContactKey, Invitation: e.InvitationKey} {
		if _, key, err := derive(kind, e.LinkKey); err != nil || !bytes.Equal(key[:], want) {
			t.Errorf("%v: key %x, %v", kind, key[:], err)
		}
	}
}

// owned is a contact link with two owners, the second authorized by the first.
type owned struct {
	root, first, second ed25519.PrivateKey
	owners              []Owner
	sealed              Sealed
}

func newOwned(t *testing.T) owned {
	t.Helper()
	o := owned{
		root:   ed25519.NewKeyFromSeed(consecutive(1, 32)),
		first:  ed25519.NewKeyFromSeed(consecutive(2, 32)),
		second: ed25519.NewKeyFromSeed(consecutive(3, 32)),
	}
	o.owners = []Owner{
		NewOwner(o.root, []byte("first"), publicKey(o.first)),
		NewOwner(o.first, []byte("second"), publicKey(o.second)),
	}
	fixed, err := ParseFixed(loadExample(t).Fixed)
	if err != nil {
		t.Fatal(err)
	}
	if o.sealed, err = Seal(bytes.NewReader(make([]byte, 48)), o.root, fixed, o.user()); err != nil {
		t.Fatal(err)
	}
	return o
}

func publicKey(k ed25519.PrivateKey) keys.Public {
	return keys.FromEd25519(k.Public().(ed25519.PublicKey))
}

func (o owned) user() User {
	return User{Kind: Contact, Agent: AgentVersions, Owners: o.owners, Data: []byte("data")}
}

func (o owned) reseal(t *testing.T, signer ed25519.PrivateKey, user User) []byte {
	t.Helper()
	blob, err := SealUser(bytes.NewReader(make([]byte, 24)), signer, o.sealed.LinkKey, user)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func TestWhoMaySignUserData(t *testing.T) {
	o := newOwned(t)
	swapped := []Owner{o.owners[1], o.owners[0]}
	stranger := ed25519.NewKeyFromSeed(consecutive(9, 32))
	for _, c := range []struct {
		name   string
		signer ed25519.PrivateKey
		owners []Owner
		want   error
	}{
		{"root", o.root, o.owners, nil},
		{"first owner", o.first, o.owners, nil},
		{"owner authorized by an owner", o.second, o.owners, nil},
		{"stranger", stranger, o.owners, ErrUserSignature},
		{"owner who is not listed", o.second, o.owners[:1], ErrUserSignature},
		{"authorizing owner stands later", o.root, swapped, ErrOwners},
		{"authorizing owner is missing", o.root, o.owners[1:], ErrOwners},
		{"same key twice", o.root, append(o.owners, NewOwner(o.root, []byte("third"), publicKey(o.second))), ErrOwners},
		{"same ID twice", o.root, append(o.owners, NewOwner(o.root, []byte("first"), publicKey(stranger))), ErrOwners},
		{"root key as owner", o.root, []Owner{NewOwner(o.root, []byte("root"), publicKey(o.root))}, ErrOwners},
	} {
		user := o.user()
		user.Owners = c.owners
		_, _, err := Open(Contact, o.sealed.LinkKey, o.sealed.Fixed, o.reseal(t, c.signer, user))
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLinkDataIsCheckedInOrder(t *testing.T) {
	o := newOwned(t)
	_, key, err := derive(Contact, o.sealed.LinkKey)
	if err != nil {
		t.Fatal(err)
	}
	signature, data, err := openBlob(&key, o.sealed.Fixed)
	if err != nil {
		t.Fatal(err)
	}
	otherHash := sealSigned(t, &key, signature, append(bytes.Clone(data), 0), fixedPadded)
	otherSignature := sealSigned(t, &key, consecutive(0, 64), data, fixedPadded)
	cut := sealSigned(t, &key, signature, data[:20], fixedPadded)
	user := o.user()
	user.Owners = o.owners[1:]
	badOwners := o.reseal(t, o.second, user)
	invitation := o.reseal(t, o.root, User{Kind: Invitation, Agent: AgentVersions})
	for _, c := range []struct {
		name        string
		fixed, user []byte
		want        error
	}{
		{"all right", o.sealed.Fixed, o.sealed.User, nil},
		{"nothing", nil, nil, ErrData},
		{"user part in place of the fixed part", o.sealed.User, o.sealed.User, ErrData},
		{"fixed part cut", cut, badOwners, wire.ErrSyntax},
		{"user part does not open", o.sealed.Fixed, make([]byte, UserBlobSize), box.ErrOpen},
		{"hash before owners", otherHash, badOwners, ErrHash},
		{"signature before owners", otherSignature, badOwners, ErrSignature},
		{"owners before the user part's signature", o.sealed.Fixed, badOwners, ErrOwners},
	} {
		_, _, err := Open(Contact, o.sealed.LinkKey, c.fixed, c.user)
		if !errors.Is(err, c.want) || c.want == nil && err != nil || err != nil && !errors.Is(err, ErrData) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, invitationKey, _ := derive(Invitation, o.sealed.LinkKey)
	_, userData, err := openBlob(&invitationKey, invitation)
	if err != nil {
		t.Fatal(err)
	}
	wrongKind := sealSigned(t, &key, ed25519.Sign(o.root, userData), userData, userPadded)
	if _, _, err := Open(Contact, o.sealed.LinkKey, o.sealed.Fixed, wrongKind); !errors.Is(err, ErrData) {
		t.Errorf("user part of an invitation in a contact link: %v", err)
	}
}

func TestTailsOfLinkDataAreIgnored(t *testing.T) {
	o := newOwned(t)
	user, err := ParseUser(append(o.user().Append(nil), "more of a later version"...))
	if err != nil || string(user.Data) != "data" || len(user.Owners) != 2 {
		t.Errorf("user part: %v", err)
	}
	e := loadExample(t)
	fixed, err := ParseFixed(append(bytes.Clone(e.Fixed), "\x02idmore"...))
	if err != nil || string(fixed.EntityID) != "id" {
		t.Errorf("fixed part: %q, %v", fixed.EntityID, err)
	}
}

func TestUserDataLengthForms(t *testing.T) {
	for n, form := range map[int]string{0: "00", 1: "0178", 254: "fe7878", 255: "ff00ff78", 13000: "ff32c878"} {
		u := User{Kind: Invitation, Agent: AgentVersions, Data: bytes.Repeat([]byte("x"), n)}
		b := u.Append(nil)
		if got := hex.EncodeToString(b[5:]); !strings.HasPrefix(got, form) {
			t.Errorf("%d bytes: %.8s", n, got)
		}
		if back, err := ParseUser(b); err != nil || !bytes.Equal(back.Data, u.Data) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestLinkDataThatDoesNotFit(t *testing.T) {
	o := newOwned(t)
	for name, change := range map[string]func(*User){
		"data":              func(u *User) { u.Data = make([]byte, userPadded-100) },
		"data beyond str16": func(u *User) { u.Data = make([]byte, 65536) },
		"owner ID":          func(u *User) { u.Owners[0].ID = make([]byte, maxOwnerID+1) },
		"owners":            func(u *User) { u.Owners = make([]Owner, 256) },
		"relays":            func(u *User) { u.Relays = make([]Short, 256) },
	} {
		user := o.user()
		user.Owners = append([]Owner{}, o.owners...)
		change(&user)
		if _, err := SealUser(bytes.NewReader(make([]byte, 24)), o.root, o.sealed.LinkKey, user); !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Fixed){
		"client data":              func(f *Fixed) { f.Request.ClientData = make([]byte, fixedPadded-100) },
		"client data beyond str16": func(f *Fixed) { f.Request.ClientData = make([]byte, 65536) },
		"entity ID":                func(f *Fixed) { f.EntityID = make([]byte, 256) },
	} {
		fixed, _ := ParseFixed(loadExample(t).Fixed)
		change(&fixed)
		if _, err := Seal(bytes.NewReader(make([]byte, 48)), o.root, fixed, o.user()); !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLargestOwnerID(t *testing.T) {
	o := newOwned(t)
	user := o.user()
	user.Owners = []Owner{NewOwner(o.root, make([]byte, maxOwnerID), publicKey(o.first))}
	if _, got, err := Open(Contact, o.sealed.LinkKey, o.sealed.Fixed, o.reseal(t, o.first, user)); err != nil || len(got.Owners[0].ID) != maxOwnerID {
		t.Errorf("%v", err)
	}
}

func TestResolve(t *testing.T) {
	e := loadExample(t)
	request, err := ParseBinary(e.ContactBinary)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseShort(e.ShortContact)
	if err != nil {
		t.Fatal(err)
	}
	id := request.Queues[0].SenderID
	before := request.Text()
	if got, err := s.Resolve(id, request); err != nil || got.Text() != before {
		t.Errorf("same relay: %v", err)
	}
	if _, err := s.Resolve("another", request); !errors.Is(err, ErrAddress) {
		t.Errorf("other sender ID: %v", err)
	}
	more := s
	more.Server.Hosts = []string{"smp.example.org", "192.0.2.7"}
	got, err := more.Resolve(id, request)
	if err != nil || !got.Queues[0].Server.Equal(more.Server) || request.Text() != before {
		t.Errorf("relay with more hosts: %v, or the input was changed", err)
	}
	elsewhere := s
	elsewhere.Server.Hosts = []string{"192.0.2.7", "smp.example.org"}
	if _, err := elsewhere.Resolve(id, request); !errors.Is(err, ErrAddress) {
		t.Errorf("first host unknown: %v", err)
	}
}
