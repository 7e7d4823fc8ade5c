package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/coterie-im/coterie/agent"
	"github.com/coterie-im/coterie/agent/store"
	"github.com/coterie-im/coterie/queue"
)

// A bot with an address: it accepts everybody, and answers every message with the same.
func Example() {
	ctx := context.Background()
	key, err := store.ReadKeyFile("bot.key")
	if err != nil {
		log.Fatal(err)
	}
	relay, err := queue.ParseServer("smp://AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=@relay.example.org")
	if err != nil {
		log.Fatal(err)
	}
	bot, err := agent.Open(ctx, agent.Config{Store: "bot.db", Key: key, Relays: []queue.Server{relay}})
	if err != nil {
		log.Fatal(err)
	}
	defer bot.Close(ctx)
	_, address, err := bot.CreateConnection(ctx, agent.CreateOptions{Contact: true, Key: "address"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("write to me:", address)
	for e, err := range bot.Events(ctx, "echo") {
		if err != nil {
			log.Fatal(err)
		}
		switch data := e.Data.(type) {
		case *agent.Request:
			_, err = bot.Accept(ctx, e.Connection(), data.Request, nil)
		case *agent.Message:
			// With a key of its own the answer is sent once, even if the bot crashes here and sees the event again.
			_, err = bot.Send(ctx, e.Connection(), agent.Outgoing{Body: data.Body, Key: fmt.Sprint("answer ", e.Seq)})
			if err == nil || errors.Is(err, agent.ErrNoConnection) {
				err = bot.Ack(ctx, e.Connection(), data.ID, nil)
			}
		}
		if err != nil {
			log.Println("event", e.Data.Type(), err)
		}
		if err := bot.AckEvent(ctx, "echo", e.Seq); err != nil {
			log.Fatal(err)
		}
	}
}
