package link

import (
	"fmt"
	"strings"

	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// The text form of a queue address:
//
//	smp://fingerprint@host[,host...][:port]/senderID#/?v=range&dh=key[&q=m|c][&k=s][&srv=host[,host...]]
//
// The smallest client version decides the details. Below 2 only the first host stands in front and the others in srv;
// below 4 "sender may secure" is said twice, as q=m and as k=s. Also accepted are the key behind '#' instead of dh, and
// nothing but the key behind '#', which means version 1.

const queueScheme = "smp://"

// Text returns the canonical text form.
func (q Queue) Text() string {
	front, more := q.Server.Hosts, []string(nil)
	if q.Client.Min < ClientManyHosts {
		front, more = front[:1], front[1:]
	}
	var b strings.Builder
	b.WriteString(queueScheme + encode64(q.Server.Fingerprint[:]) + "@" + hostsText(front, q.Server.Port))
	b.WriteString("/" + encode64([]byte(q.SenderID)))
	b.WriteString("#/?v=" + q.Client.String() + "&dh=" + escape(encode64(q.DH.DER())))
	switch q.Mode {
	case queue.ModeMessaging:
		b.WriteString("&q=m")
		if q.Client.Min < ClientQueueMode {
			b.WriteString("&k=s")
		}
	case queue.ModeContact:
		b.WriteString("&q=c")
	}
	if len(more) > 0 {
		b.WriteString("&srv=" + escape(hostsText(more, "")))
	}
	return b.String()
}

// hostsText joins hosts and port. An IPv6 address is in brackets only where it would swallow the port.
func hostsText(hosts []string, port string) string {
	text := strings.Join(hosts, ",")
	if port == "" {
		return text
	}
	if last := hosts[len(hosts)-1]; strings.Contains(last, ":") {
		text = strings.TrimSuffix(text, last) + "[" + last + "]"
	}
	return text + ":" + port
}

// ParseQueue reads every text form of a queue address. ErrLink for everything else.
func ParseQueue(text string) (Queue, error) {
	q, what := parseQueue(text)
	if what != "" {
		return Queue{}, fmt.Errorf("%w: queue address: %s", ErrLink, what)
	}
	return q, nil
}

// parseQueue returns what is wrong, or "".
func parseQueue(text string) (q Queue, what string) {
	rest, ok := strings.CutPrefix(text, queueScheme)
	if !ok || strings.ContainsAny(text, "\r\n") {
		return q, "scheme"
	}
	authority, rest, _ := strings.Cut(rest, "/")
	id, fragment, ok := strings.Cut(rest, "#")
	if !ok {
		return q, "no key"
	}
	server, err := queue.ParseServer(queueScheme + authority)
	if err != nil || server.Password != "" {
		return q, "relay"
	}
	rawID, err := decode64(strings.TrimSuffix(id, "/"))
	if err != nil || len(rawID) > 255 {
		return q, "sender ID"
	}
	q.Address = Address{Server: server, SenderID: queue.ID(rawID)}

	key, parameters, hasQuery := strings.Cut(fragment, "?")
	key = strings.TrimSuffix(key, "/")
	if !hasQuery {
		q.Client = queue.VersionRange{Min: 1, Max: 1}
	} else if key, what = q.parseParameters(key, parameters); what != "" {
		return q, what
	}
	if q.DH, ok = parseKey(key, keys.X25519); !ok {
		return q, "key"
	}
	return q, q.addKnownHost()
}

// parseParameters reads the query; key is the one that stood before it, or "".
func (q *Queue) parseParameters(key, parameters string) (dh, what string) {
	p, ok := parseQuery(parameters)
	if !ok {
		return "", "parameters"
	}
	var err error
	if q.Client, err = p.versions(); err != nil {
		return "", "version range"
	}
	if key == "" {
		if key, _, err = p.get("dh"); err != nil {
			return "", "key"
		}
	}
	q.Mode = p.mode()
	more, present, err := p.get("srv")
	if err != nil {
		return "", "more hosts"
	}
	if present {
		hosts, port, err := queue.ParseHosts(more)
		if err != nil || port != "" {
			return "", "more hosts"
		}
		q.Server.Hosts = append(q.Server.Hosts, hosts...)
	}
	return key, ""
}

// mode reads q, or if that says nothing k.
func (p query) mode() queue.Mode {
	q, _, _ := p.get("q")
	k, _, _ := p.get("k")
	switch {
	case q == "m":
		return queue.ModeMessaging
	case q == "c":
		return queue.ModeContact
	case k == "s":
		return queue.ModeMessaging
	default:
		return queue.ModeNone
	}
}

// versions reads v, which must be there.
func (p query) versions() (queue.VersionRange, error) {
	v, _, err := p.get("v")
	if err != nil {
		return queue.VersionRange{}, err
	}
	return queue.ParseVersionRange(v)
}

// parseKey reads a public key of one algorithm.
func parseKey(text string, algorithm keys.Algorithm) (keys.Public, bool) {
	der, err := decode64(text)
	if err != nil {
		return keys.Public{}, false
	}
	k, err := keys.Parse(der)
	return k, err == nil && k.Algorithm() == algorithm
}

// knownHosts are the second hosts of relays that existed before addresses could carry more than one.
var knownHosts = map[string]string{
	"smp4.simplex.im":  "o5vmywmrnaxalvz6wi3zicyftgio6psuvyniis6gco6bp6ekl4cqj4id.onion",
	"smp5.simplex.im":  "jjbyvoemxysm7qxap7m5d5m35jzv5qq6gnlv7s4rsn7tdwwmuqciwpid.onion",
	"smp6.simplex.im":  "bylepyau3ty4czmn77q4fglvperknl4bi2eb2fdy2bh4jxtf32kf73yd.onion",
	"smp8.simplex.im":  "beccx4yfxxbvyhqypaavemqurytl6hozr47wfc7uuecacjqdvwpw2xid.onion",
	"smp9.simplex.im":  "jssqzccmrcws6bhmn77vgmhfjmhwlyr3u7puw4erkyoosywgl67slqqd.onion",
	"smp10.simplex.im": "rb2pbttocvnbrngnwziclp2f4ckjq65kebafws6g4hy22cdaiv5dwjqd.onion",
}

// addKnownHost adds the second host that an address of version 1 could not carry. It returns what is wrong, or "".
func (q *Queue) addKnownHost() (what string) {
	if len(q.Server.Hosts) > 255 {
		return "too many hosts"
	}
	if more, ok := knownHosts[q.Server.Hosts[0]]; ok && q.Client.Max == 1 && len(q.Server.Hosts) == 1 {
		q.Server.Hosts = append(q.Server.Hosts, more)
	}
	return ""
}
