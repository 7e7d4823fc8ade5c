package main

// relayMutations are bugs in the relay and its store.
var relayMutations = []mutation{
	{
		"relay: authorization not checked", "queue/server/dispatch.go", "./queue/server", "",
		"\treturn c.verifier.Verify(c.request.Transmission, candidates...)",
		"\treturn found || c.verifier.Verify(c.request.Transmission, candidates...)",
	},
	{
		"relay: SEND without a key to a secured queue", "queue/server/dispatch.go", "./queue/server", "",
		"\t\t\treturn found && c.queue.SenderKey.IsZero()",
		"\t\t\treturn found",
	},
	{
		"relay: SUB beside GET", "queue/server/recipient.go", "./queue/server", "",
		"\tcase use.get:\n\t\treturn outcome{err: queue.ErrCmdProhibited}\n",
		"",
	},
	{
		"relay: ACK of another message", "queue/server/recipient.go", "./queue/server", "",
		"|| message != \"\" && message != use.delivered {",
		"{",
	},
	{
		"relay: OK before it is stored", "queue/server/sender.go", "./queue/server", "",
		"\treturn outcome{response: queue.OK{}, commit: commit}",
		"\t_ = commit\n\treturn outcome{response: queue.OK{}}",
	},
	{
		"relay: END is not told", "queue/server/session.go", "./queue/server", "",
		"\t\ts.server.events.add(before.session, queue.Answer{EntityID: id, Response: queue.END{}})\n",
		"",
	},
	{
		"store: quota marker forgotten", "queue/store/sqlite/messages.go", "./queue/store/sqlite", "",
		"\t\tif sent.Full {\n\t\t\tm = m.AsMarker()\n\t\t}\n",
		"",
	},
	{
		"store: ACK deletes whatever is first", "queue/store/sqlite/messages.go", "./queue/store/sqlite", "",
		"if len(e.waiting) == 0 || e.waiting[0].message.ID != message {",
		"if len(e.waiting) == 0 {",
	},
	{
		"store: answers before the commit", "queue/store/sqlite/writer.go", "./queue/store/sqlite", "",
		"\tif _, err := w.do.commit.ExecContext(background); err != nil {\n\t\treturn w.rollback(fmt.Errorf(\"commit: %w\", err))\n\t}\n\treturn nil",
		"\tgo func() { _, _ = w.do.commit.ExecContext(background) }()\n\treturn nil",
	},
}
