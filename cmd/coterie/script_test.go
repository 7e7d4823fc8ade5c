package main

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/coterie-im/coterie/agent/control"
	agentstore "github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/test/world"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"coterie": main})
}

// TestCommands runs the scripts, each with an agent of its own in $FOLDER.
func TestCommands(t *testing.T) {
	relay := world.StartRelay(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			folder := t.TempDir() // shorter than $WORK: the name of a socket is limited
			e.Setenv("FOLDER", folder)
			if _, err := agentstore.WriteKeyFile(filepath.Join(folder, "agent.key"), rand.Reader); err != nil {
				return err
			}
			server, err := control.Listen(filepath.Join(folder, "agent.sock"), world.NewAgent(t, relay).Agent, "test", nil)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(context.Background())
			var serving sync.WaitGroup
			serving.Go(func() { server.Serve(ctx) })
			t.Cleanup(func() { cancel(); serving.Wait() })
			return nil
		},
	})
}
