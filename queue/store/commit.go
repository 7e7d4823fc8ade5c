package store

import (
	"context"
	"sync"
)

// Commit is a change that was decided and is on its way to durable storage. A nil *Commit is durable.
type Commit struct {
	mu       sync.Mutex
	resolved bool          // guarded by mu
	err      error         // guarded by mu; set once, with resolved
	then     []func(error) // guarded by mu; nil after resolved
}

// Then calls f once with the outcome: nil when the change is durable, the failure otherwise. It calls f at once if the
// outcome is known, else from the goroutine that stores, so f must be quick, must not block and must not call the store.
func (c *Commit) Then(f func(error)) {
	if c == nil {
		f(nil)
		return
	}
	c.mu.Lock()
	if !c.resolved {
		c.then = append(c.then, f)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	f(c.err)
}

// Wait blocks until the outcome is known and returns it, or the error of ctx.
func (c *Commit) Wait(ctx context.Context) error {
	outcome := make(chan error, 1)
	c.Then(func(err error) { outcome <- err })
	select {
	case err := <-outcome:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Resolve tells the outcome to everybody who waits; implementations of Store call it, the first call counts.
func (c *Commit) Resolve(err error) {
	c.mu.Lock()
	if c.resolved {
		c.mu.Unlock()
		return
	}
	c.resolved, c.err = true, err
	then := c.then
	c.then = nil
	c.mu.Unlock()
	for _, f := range then {
		f(err)
	}
}
