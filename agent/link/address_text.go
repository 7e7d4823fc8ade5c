package link

import (
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

// hostsText joins hosts and port. An IPv6 address is in brackets only where it would not read back otherwise: before a
// port, and when it ends in dotted decimals.
func hostsText(hosts []string, port string) string {
	var b strings.Builder
	for i, host := range hosts {
		if i > 0 {
			b.WriteByte(',')
		}
		beforePort := port != "" && i == len(hosts)-1
		if strings.Contains(host, ":") && (beforePort || strings.Contains(host, ".")) {
			host = "[" + host + "]"
		}
		b.WriteString(host)
	}
	if port != "" {
		b.WriteString(":" + port)
	}
	return b.String()
}

// ParseQueue reads every text form of a queue address. ErrLink for everything else.
func ParseQueue(text string) (Queue, error) {
	rest, ok := strings.CutPrefix(text, queueScheme)
	if !ok || strings.ContainsAny(text, "\r\n") {
		return Queue{}, wrong("scheme of queue address")
	}
	authority, rest, _ := strings.Cut(rest, "/")
	id, fragment, _ := strings.Cut(rest, "#")
	server, err := queue.ParseServer(queueScheme + authority)
	if err != nil || server.Password != "" {
		return Queue{}, wrong("relay of queue address")
	}
	rawID, err := decode64(strings.TrimSuffix(id, "/"))
	if err != nil || len(rawID) > 255 {
		return Queue{}, wrong("sender ID")
	}
	q := Queue{Address: Address{Server: server, SenderID: queue.ID(rawID)}}
	key, parameters, hasQuery := strings.Cut(fragment, "?")
	key = strings.TrimSuffix(key, "/")
	if !hasQuery {
		q.Client = queue.VersionRange{Min: 1, Max: 1}
	} else if err := q.parseParameters(&key, parameters); err != nil {
		return Queue{}, err
	}
	if q.DH, err = parseKey(key, keys.X25519); err != nil {
		return Queue{}, wrong("key of queue address")
	}
	q.addKnownHost()
	return q, nil
}

// parseParameters reads the query. key is the one that stood before it; if that is empty, it is set from the query.
func (q *Queue) parseParameters(key *string, parameters string) error {
	p, err := parseQuery(parameters)
	if err != nil {
		return err
	}
	if q.Client, err = p.versions(); err != nil {
		return err
	}
	if *key == "" {
		if *key, _, err = p.get("dh"); err != nil {
			return err
		}
	}
	q.Mode = p.mode()
	more, present, err := p.get("srv")
	if err != nil || !present {
		return err
	}
	q.Server.Hosts, err = appendHosts(q.Server.Hosts, more)
	return err
}

// appendHosts adds a list of hosts without a port.
func appendHosts(hosts []string, text string) ([]string, error) {
	more, port, err := queue.ParseHosts(text)
	if err != nil || port != "" || len(hosts)+len(more) > 255 {
		return nil, wrong("hosts")
	}
	return append(hosts, more...), nil
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
	versions, err := queue.ParseVersionRange(v)
	if err != nil {
		return queue.VersionRange{}, wrong("version range")
	}
	return versions, nil
}

// parseKey reads a public key of one algorithm.
func parseKey(text string, algorithm keys.Algorithm) (keys.Public, error) {
	der, err := decode64(text)
	if err != nil {
		return keys.Public{}, err
	}
	k, err := keys.Parse(der)
	if err != nil || k.Algorithm() != algorithm {
		return keys.Public{}, wrong("key")
	}
	return k, nil
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

// addKnownHost adds the second host that an address of version 1 could not carry.
func (q *Queue) addKnownHost() {
	if more, ok := knownHosts[q.Server.Hosts[0]]; ok && q.Client.Max == 1 && len(q.Server.Hosts) == 1 {
		q.Server.Hosts = append(q.Server.Hosts, more)
	}
}
