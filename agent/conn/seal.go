package conn

// sealer makes the body of a message. It holds copies only, so it is safe in any goroutine.
type sealer struct{}

func (s sealer) seal() ([]byte, error) { return nil, nil }
