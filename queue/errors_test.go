package queue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// every error that exists, with its exact text.
var errorTexts = map[Error]string{
	ErrBlock:                              "BLOCK",
	ErrSession:                            "SESSION",
	ErrCmdUnknown:                         "CMD UNKNOWN",
	ErrCmdSyntax:                          "CMD SYNTAX",
	ErrCmdProhibited:                      "CMD PROHIBITED",
	ErrCmdNoAuth:                          "CMD NO_AUTH",
	ErrCmdHasAuth:                         "CMD HAS_AUTH",
	ErrCmdNoEntity:                        "CMD NO_ENTITY",
	ErrProxyBasicAuth:                     "PROXY BASIC_AUTH",
	ErrProxyNoSession:                     "PROXY NO_SESSION",
	ErrAuth:                               "AUTH",
	ErrService:                            "SERVICE",
	ErrCrypto:                             "CRYPTO",
	ErrQuota:                              "QUOTA",
	ErrExpired:                            "EXPIRED",
	ErrNoMsg:                              "NO_MSG",
	ErrLargeMsg:                           "LARGE_MSG",
	ErrInternal:                           "INTERNAL",
	StoreError("disk is full"):            "STORE disk is full",
	StoreError(""):                        "STORE ",
	Blocked(BlockInfo{Reason: BlockSpam}): "BLOCKED reason=spam",
	Blocked(BlockInfo{BlockContent, &BlockNotice{3600}}): `BLOCKED reason=content,notice={"ttl":3600}`,
	Blocked(BlockInfo{BlockContent, &BlockNotice{}}):     `BLOCKED reason=content,notice={}`,
	ProxyProtocol(ErrAuth):                               "PROXY PROTOCOL AUTH",
	ProxyProtocol(ErrCmdSyntax):                          "PROXY PROTOCOL CMD SYNTAX",
	ProxyProtocol(ProxyBroker(BrokerTimeout)):            "PROXY PROTOCOL PROXY BROKER TIMEOUT",
	ProxyBroker(BrokerResponse("AUTH?")):                 "PROXY BROKER RESPONSE \x05AUTH?",
	ProxyBroker(BrokerUnexpected("END")):                 "PROXY BROKER UNEXPECTED \x03END",
	ProxyBroker(BrokerNetwork):                           "PROXY BROKER NETWORK",
	ProxyBroker(BrokerTimeout):                           "PROXY BROKER TIMEOUT",
	ProxyBroker(BrokerHost):                              "PROXY BROKER HOST",
	ProxyBroker(BrokerNoService):                         "PROXY BROKER NO_SERVICE",
	ProxyBroker(BrokerBlock):                             "PROXY BROKER TRANSPORT BLOCK",
	ProxyBroker(BrokerVersion):                           "PROXY BROKER TRANSPORT VERSION",
	ProxyBroker(BrokerLargeMsg):                          "PROXY BROKER TRANSPORT LARGE_MSG",
	ProxyBroker(BrokerSession):                           "PROXY BROKER TRANSPORT SESSION",
	ProxyBroker(BrokerNoAuth):                            "PROXY BROKER TRANSPORT NO_AUTH",
	ProxyBroker(BrokerParse):                             "PROXY BROKER TRANSPORT HANDSHAKE PARSE",
	ProxyBroker(BrokerIdentity):                          "PROXY BROKER TRANSPORT HANDSHAKE IDENTITY",
	ProxyBroker(BrokerBadAuth):                           "PROXY BROKER TRANSPORT HANDSHAKE BAD_AUTH",
	ProxyBroker(BrokerBadService):                        "PROXY BROKER TRANSPORT HANDSHAKE BAD_SERVICE",
}

func TestErrorTexts(t *testing.T) {
	for e, text := range errorTexts {
		if got := AppendResponse(nil, newestFormat, ERR{e}); string(got) != "ERR "+text {
			t.Errorf("wrote %q instead of %q", got, text)
		}
		if got, err := ParseError([]byte(text)); err != nil || got != e {
			t.Errorf("%q: read %q, %v", text, got, err)
		}
	}
}

func TestErrorsThatAreOnlyRead(t *testing.T) {
	for text, want := range map[string]Error{
		"CMD NO_QUEUE":                              ErrCmdNoEntity,
		"PROXY PROTOCOL CMD NO_QUEUE":               ProxyProtocol(ErrCmdNoEntity),
		"PROXY BROKER NETWORK FAILED":               "PROXY BROKER NETWORK FAILED",
		"PROXY BROKER NETWORK UNKNOWNCA":            "PROXY BROKER NETWORK UNKNOWNCA",
		"PROXY BROKER NETWORK TIMEOUT":              "PROXY BROKER NETWORK TIMEOUT",
		"PROXY BROKER NETWORK CONNECT \x02no":       "PROXY BROKER NETWORK CONNECT \x02no",
		"PROXY BROKER NETWORK TLS \x00":             "PROXY BROKER NETWORK TLS \x00",
		"PROXY BROKER NETWORK SUBSCRIBE \x01x":      "PROXY BROKER NETWORK SUBSCRIBE \x01x",
		`BLOCKED reason=spam,notice={"later":true}`: Blocked(BlockInfo{BlockSpam, &BlockNotice{}}),
		`BLOCKED reason=spam,notice={ "ttl" : 5 }`:  Blocked(BlockInfo{BlockSpam, &BlockNotice{5}}),
	} {
		if got, err := ParseError([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func TestErrorsThatAreRefused(t *testing.T) {
	for _, text := range []string{
		"", " ", "auth", "AUTH ", " AUTH", "AUTHENTICATION", "CMD", "CMD ", "CMD OTHER", "STORE", "BLOCKED", "BLOCKED ", "BLOCKED spam",
		"BLOCKED reason=", "BLOCKED reason=other", "BLOCKED reason=spam,", "BLOCKED reason=spam,notice=", "BLOCKED reason=spam,notice=null",
		"BLOCKED reason=spam,notice=[]", `BLOCKED reason=spam,notice={"ttl":-1}`, `BLOCKED reason=spam,notice={"ttl":"x"}`,
		"PROXY", "PROXY ", "PROXY OTHER", "PROXY PROTOCOL", "PROXY PROTOCOL ", "PROXY PROTOCOL OTHER",
		"PROXY BROKER", "PROXY BROKER ", "PROXY BROKER OTHER", "PROXY BROKER RESPONSE", "PROXY BROKER RESPONSE ", "PROXY BROKER RESPONSE \x02x",
		"PROXY BROKER UNEXPECTED \x00x", "PROXY BROKER NETWORK ", "PROXY BROKER NETWORK OTHER", "PROXY BROKER NETWORK TLS", "PROXY BROKER NETWORK TLS ",
		"PROXY BROKER TRANSPORT", "PROXY BROKER TRANSPORT OTHER", "PROXY BROKER TRANSPORT HANDSHAKE", "PROXY BROKER TRANSPORT HANDSHAKE OTHER",
	} {
		if got, err := ParseError([]byte(text)); err == nil {
			t.Errorf("%q is taken as %q", text, got)
		}
	}
}

func TestErrorDetails(t *testing.T) {
	if info, ok := Blocked(BlockInfo{BlockSpam, &BlockNotice{60}}).Blocked(); !ok || info.Reason != BlockSpam || info.Notice.TTL != 60 {
		t.Error("blocked")
	}
	if _, ok := ErrAuth.Blocked(); ok {
		t.Error("AUTH is blocked")
	}
	if e, ok := ProxyProtocol(ErrQuota).ProxyProtocol(); !ok || e != ErrQuota {
		t.Error("proxy protocol")
	}
	if b, ok := ProxyBroker(BrokerNetwork + " FAILED").ProxyBroker(); !ok || !b.IsNetwork() || BrokerHost.IsNetwork() {
		t.Error("proxy broker")
	}
	if !StoreError("x").IsStore() || ErrInternal.IsStore() {
		t.Error("store")
	}
	if long := BrokerResponse(strings.Repeat("x", 300)); len(long) != len("RESPONSE ")+256 {
		t.Errorf("%d bytes", len(long))
	}
	wrapped := fmt.Errorf("send: %w", ErrQuota)
	if !errors.Is(wrapped, ErrQuota) || errors.Is(wrapped, ErrAuth) {
		t.Error("errors.Is")
	}
}

// What a relay can choose never gets into the text of an error.
func TestErrorsDoNotEchoTheRelay(t *testing.T) {
	for e, want := range map[Error]string{
		ErrCmdSyntax:                                   "relay answered CMD SYNTAX",
		StoreError("secret"):                           "relay answered STORE",
		Blocked(BlockInfo{Reason: BlockSpam}):          "relay answered BLOCKED",
		ProxyBroker(BrokerResponse("secret")):          "relay answered PROXY BROKER RESPONSE",
		ProxyBroker(BrokerNetwork + " TLS \x06secret"): "relay answered PROXY BROKER NETWORK",
		ProxyBroker(BrokerBadAuth):                     "relay answered PROXY BROKER TRANSPORT HANDSHAKE BAD_AUTH",
		ProxyProtocol(StoreError("secret")):            "relay answered PROXY PROTOCOL STORE",
		ProxyProtocol(ProxyProtocol(ErrAuth)):          "relay answered PROXY PROTOCOL",
	} {
		if got := e.Error(); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
