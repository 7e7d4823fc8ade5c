package server

import (
	"errors"

	"github.com/coterie-im/coterie/internal/box"
	"github.com/coterie-im/coterie/internal/keys"
	"github.com/coterie-im/coterie/queue"
)

// forwardedReply is how to wrap the answer to a command that came through a proxy.
type forwardedReply struct {
	server    *Server
	corrID    queue.ID // of the RFWD, nonce of the outer layer
	forwarded queue.Forwarded
	outer     box.Secret // agreed with the proxy
	inner     box.Secret // agreed with the client behind it
	sessionID []byte     // of the connection to the proxy
}

// forwarded runs RFWD: it opens both layers, runs the command inside as usual, and leaves to the writer to seal the
// answer. Errors of the layers answer the proxy, errors of the command the client behind it.
func (c *call) forwarded(command queue.RFWD) reply {
	refuse := func(e queue.Error) reply {
		return reply{corrID: c.request.CorrID, response: queue.ERR{Err: e}}
	}
	c.server.counters.forwarded.Add(1)
	own, proxy := c.session.conn.SessionKey(), c.session.conn.PeerSessionKey()
	if own == nil || proxy == nil {
		return refuse(queue.ProxyBroker(queue.BrokerNoAuth))
	}
	f := &forwardedReply{server: c.server, corrID: c.request.CorrID, sessionID: c.verifier.SessionID}
	var err error
	if f.outer, err = box.Agree(own, proxy); err != nil {
		return refuse(queue.ErrCrypto)
	}
	if f.forwarded, err = queue.OpenForwarded(&f.outer, f.corrID, command); err != nil {
		return refuse(asError(err))
	}
	client, err := f.forwarded.Key.X25519()
	if err != nil {
		return refuse(queue.ErrCrypto)
	}
	if f.inner, err = box.Agree(own, client); err != nil {
		return refuse(queue.ErrCrypto)
	}
	raw, err := queue.OpenForward(&f.inner, f.forwarded.CorrID, f.forwarded.Sealed)
	if err != nil {
		return refuse(asError(err))
	}
	// The sealed command is not needed for the answer, and as large as a block.
	f.forwarded.Sealed, f.forwarded.Key = nil, keys.Public{}
	request := queue.DecodeRequest(f.forwarded.Version, f.sessionID, raw)
	if request.Err == "" && !request.Info.Forwarded {
		request.Err = queue.ErrCmdProhibited
	}
	inner := call{server: c.server, request: &request, version: f.forwarded.Version, verifier: c.verifier}
	r := inner.reply()
	r.seal = f
	return r
}

// asError returns the queue.Error that err is.
func asError(err error) queue.Error {
	var e queue.Error
	if errors.As(err, &e) {
		return e
	}
	return queue.ErrInternal
}

// seal wraps the answer for the client behind the proxy.
func (f *forwardedReply) seal(a queue.Answer) queue.Response {
	defer f.outer.Clear()
	defer f.inner.Clear()
	transmission := queue.AppendAnswer(nil, f.forwarded.Version, f.sessionID, a)
	sealed, err := queue.SealForwardReply(&f.inner, f.forwarded.CorrID, transmission)
	if err != nil {
		return queue.ERR{Err: queue.ErrInternal}
	}
	return queue.SealForwardedReply(&f.outer, f.corrID, f.forwarded.CorrID, sealed)
}
