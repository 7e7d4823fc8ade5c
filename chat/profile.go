package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrProfile reports a profile whose names are not allowed.
var ErrProfile = errors.New("not a valid profile")

const (
	maxDisplayName = 64  // bytes
	maxFullName    = 256 // bytes
)

// Profile is what a person shows of itself to one contact or one group. It is an identity nowhere else: nothing links
// the same name in two places.
type Profile struct {
	// DisplayName has 1 to 64 bytes, no spaces, and does not begin with # or @.
	DisplayName string `json:"displayName"`
	// FullName has up to 256 bytes and may be empty.
	FullName string `json:"fullName"`
}

// Check returns ErrProfile if the names are not allowed.
func (p Profile) Check() error {
	switch {
	case p.DisplayName == "" || len(p.DisplayName) > maxDisplayName:
		return fmt.Errorf("%w: display name must have 1 to %d bytes", ErrProfile, maxDisplayName)
	case strings.ContainsAny(p.DisplayName, " \t\r\n"):
		return fmt.Errorf("%w: display name must not have spaces", ErrProfile)
	case p.DisplayName[0] == '#' || p.DisplayName[0] == '@':
		return fmt.Errorf("%w: display name must not begin with # or @", ErrProfile)
	case Printable(p.DisplayName) != p.DisplayName || Printable(p.FullName) != p.FullName:
		return fmt.Errorf("%w: names must be printable", ErrProfile)
	case len(p.FullName) > maxFullName || !utf8.ValidString(p.DisplayName) || !utf8.ValidString(p.FullName):
		return fmt.Errorf("%w: full name must have at most %d bytes", ErrProfile, maxFullName)
	}
	return nil
}

// Card returns the content of a group card (docs/groups.md, "Cards"): the profile as JSON.
func (p Profile) Card() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// ReadCard reads the content of another member's card. ErrProfile if it is not an allowed profile.
func ReadCard(card []byte) (Profile, error) {
	var p Profile
	if err := json.Unmarshal(card, &p); err != nil {
		return Profile{}, fmt.Errorf("%w: not JSON", ErrProfile)
	}
	return p, p.Check()
}

type infoParams struct {
	Profile Profile `json:"profile"`
}

// Info returns what goes along when a connection is made: the event x.info of the public chat protocol, so that a
// person on the public network sees the profile.
func (p Profile) Info() ([]byte, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	return encode(eventInfo, MessageID{}, infoParams{p})
}

// ReadInfo reads the profile out of the info that came with a connection. ErrContent if it is no chat message,
// ErrProfile if it has no allowed profile.
func ReadInfo(info []byte) (Profile, error) {
	e, err := open(info)
	if err != nil {
		return Profile{}, err
	}
	var p infoParams
	if err := json.Unmarshal(e.Params, &p); err != nil {
		return Profile{}, fmt.Errorf("%w: parameters", ErrContent)
	}
	return p.Profile, p.Profile.Check()
}
