package main

// agentMutations are bugs in connections, ratchets and the agent.
var agentMutations = []mutation{
	{
		"connection: hash of the message before not remembered", "agent/conn/merge.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\ts.receivedID, s.receivedHash = number, hash\n\treturn i",
		"\ts.receivedID = number\n\treturn i",
	},
	{
		"connection: acknowledged before the client has it", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\tif a.waits == 0 {\n\t\ts.acknowledge(q)\n\t} else {",
		"\tif a.waits >= 0 {\n\t\ts.acknowledge(q)\n\t} else {",
	},
	{
		"connection: redelivered message is new", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\tif q.last != \"\" && in.ID == q.last {",
		"\tif q.last != \"\" && in.ID == q.last && q.waits < 0 {",
	},
	{
		"connection: message before the confirmation", "agent/conn/merge.go", "./agent/conn", "TestWhatMayComeBeforeTheConfirmation",
		"\tif !l.known && !l.keyed {\n\t\treturn l, prohibited(\"message before the confirmation\")\n\t}\n",
		"",
	},
	{
		"ratchet: duplicate not dropped", "agent/ratchet/receive.go", "./agent/ratchet", "",
		"\t\treturn nil, ErrDuplicate\n",
		"\t\treturn nil, nil\n",
	},
	{
		"ratchet: no limit of skipped messages", "agent/ratchet/receive.go", "./agent/ratchet", "",
		"\tcase to-from > MaxSkip, n ==",
		"\tcase to-from > MaxSkip<<10, n ==",
	},
	{
		"ratchet: no limit of kept keys", "agent/ratchet/skipped.go", "./agent/ratchet", "",
		"\tfor s.count > MaxSkippedKeys {",
		"\tfor s.count > MaxSkippedKeys<<10 {",
	},
	{
		"ratchet: key of a skipped message is kept", "agent/ratchet/receive.go", "./agent/ratchet", "",
		"\t\tk := s.skipped.take(by.chain, by.index)",
		"\t\tk := s.skipped.chains[by.chain].keys[by.index]",
	},
	{
		"ratchet: keys of skipped messages are not tried first", "agent/ratchet/receive.go", "./agent/ratchet", "",
		"\tfor i := range s.skipped.chains {",
		"\tfor i := range s.skipped.chains[:0] {",
	},
	{
		"connection: request that comes to no contact address", "agent/conn/receive.go", "./agent/conn", "TestWhatMayComeBeforeTheConfirmation|TestWhatMayComeLater|TestWhatMayComeToTheJoiner",
		"\t\tif known || withKey || s.role != address {",
		"\t\tif known || withKey {",
	},
	{
		"connection: confirmation without a key where one is needed", "agent/conn/receive.go", "./agent/conn", "TestWhatMay.*|TestConfirmationWith.*",
		"\t\tcase !withKey && q.mode != queue.ModeMessaging:\n\t\t\treturn prohibited(\"confirmation without a key\")\n",
		"\t\tcase !withKey && q == nil:\n\t\t\treturn prohibited(\"confirmation without a key\")\n",
	},
	{
		"connection: a second confirmation is looked at", "agent/conn/receive.go", "./agent/conn", "TestWhatMay.*|TestConfirmationWith.*",
		"\t\tcase known && keyed:\n\t\t\treturn nil // repeated\n",
		"\t\tcase known && keyed:\n\t\t\ts.fail(prohibited(\"confirmation\"))\n",
	},
	{
		"connection: binding of another ratchet", "agent/conn/receive.go", "./agent/conn", "TestFastHandshake|TestRecorded.*",
		"s.emit(Confirmation{ID: s.confirmation.id, Binding: s.binding,",
		"s.emit(Confirmation{ID: s.confirmation.id,",
	},
	{
		"connection: the initiator's binding is not handed up", "agent/conn/receive.go", "./agent/conn", "TestFastHandshake|TestRecorded.*",
		"s.emit(Info{Binding: s.binding,",
		"s.emit(Info{",
	},
	{
		"connection: no limit of unacknowledged messages", "agent/conn/receive.go", "./agent/conn", "TestUnack.*",
		"if s.unacked >= MaxUnacked {",
		"if s.unacked >= MaxUnacked<<10 {",
	},
	{
		"connection: a message that is delivered for ever is never given up", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"if m.redelivered >= redeliveries && s.now.Sub(m.received) >= redeliveryTime {",
		"if false {",
	},
	{
		"connection: version goes back", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\ts.agent = max(s.agent, min(announced, own.Max))",
		"\ts.agent = min(announced, own.Max)",
	},
	{
		"connection: a receipt with another hash counts", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\t\tok := bytes.Equal(r.Hash, sent.hash[:])\n",
		"\t\tok := true\n",
	},
	{
		"connection: a receipt twice", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\t\tif sent == nil || sent.receipt {",
		"\t\tif sent == nil {",
	},
	{
		"connection: a full queue that was emptied is not told", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\t\t\ts.enqueueContent(kindContinue, envelope.Continue{Queue: q.address()})\n",
		"",
	},
	{
		"connection: a known message that does not open is a fault", "agent/conn/receive.go", "./agent/conn", "TestUnack.*|TestAck.*|Test.*Receipt.*|TestMessage.*|TestVersionF.*|TestContinue.*|TestIntegrity.*|TestNumbers.*|TestQuota.*|TestResynchronisation.*|TestVersions",
		"\tif s.knownHash(hash) {\n\t\treturn nil // delivered before\n\t}\n",
		"",
	},
	{
		"connection: a bad message parts the ratchets less than before", "agent/conn/receive.go", "./agent/conn", "TestResynchronisationState",
		"\tif s.resync < state {\n\t\ts.resynced(state, e)",
		"\tif s.resync != state {\n\t\ts.resynced(state, e)",
	},
	{
		"switch: two at a time", "agent/conn/rotate.go", "./agent/conn", "TestSwitchRefused",
		"\tcase next != nil:\n\t\treturn refuse(CodeProhibited, \"a switch is under way\")\n",
		"",
	},
	{
		"switch: aborted too late", "agent/conn/rotate.go", "./agent/conn", "TestSwitchRefused",
		"\tcase in.Abort && (next == nil || next.stage > switchAdded):",
		"\tcase in.Abort && next == nil:",
	},
	{
		"switch: no limit of old queues", "agent/conn/rotate.go", "./agent/conn", "TestSwitchRefused",
		"\tcase len(s.receive) > maxLeaving:\n\t\treturn refuse(CodeBusy, \"too many old queues wait to be deleted\")\n",
		"",
	},
	{
		"switch: QADD for a queue that is not the peer's", "agent/conn/rotate.go", "./agent/conn", "TestWhatMayComeOfASwitch|TestSwitchRefused",
		"\tif !s.primary().address().Same(*offer.Replaces) {\n\t\treturn queueError(\"QADD: replaced queue address not found in connection\")\n\t}\n",
		"",
	},
	{
		"switch: QADD with a queue that is in use", "agent/conn/rotate.go", "./agent/conn", "TestWhatMayComeOfASwitch|TestSwitchRefused",
		"func(q sendQueue) bool { return q.address().Same(offer.Queue.Address) }) {",
		"func(q sendQueue) bool { return false }) {",
	},
	{
		"switch: QKEY that nobody waits for", "agent/conn/rotate.go", "./agent/conn", "TestWhatMayComeOfASwitch|TestSwitchRefused",
		"\tif q.stage != switchAdded {\n\t\treturn queueError(\"QKEY: no key is waited for\")\n\t}\n",
		"",
	},
	{
		"switch: QUSE of another queue", "agent/conn/rotate.go", "./agent/conn", "TestWhatMayComeOfASwitch",
		"if q == nil || !q.address().Same(c[0].Queue) {",
		"if q == nil {",
	},
	{
		"switch: messages that wait are lost", "agent/conn/rotate.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\t\t\t\ts.copyTo(out, m)\n",
		"\t\t\t\t_ = m\n",
	},
	{
		"switch: messages go through one queue", "agent/conn/outbox.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\tif t := s.testing(); t != nil && t.slot != q.slot {\n",
		"\tif t := s.testing(); t != nil && t.slot == q.slot {\n",
	},
	{
		"switch: the old queue goes on", "agent/conn/rotate.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\told.leave()\n\tif missing {",
		"\tif missing {",
	},
	{
		"switch: the old queue goes at once though numbers are missing", "agent/conn/rotate.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\tif missing {\n\t\told.retry.next",
		"\tif false {\n\t\told.retry.next",
	},
	{
		"switch: what comes out of order is not set aside", "agent/conn/receive.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\tif s.merging(q) != nil {\n\t\ts.park(q, in)\n\t\treturn\n\t}\n",
		"",
	},
	{
		"switch: what was set aside is taken up at once", "agent/conn/merge.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\tq.parkedUntil = s.now.Add(quietTime)\n}\n\n// active",
		"\tq.parkedUntil = s.now\n}\n\n// active",
	},
	{
		"switch: the later of two that were set aside comes first", "agent/conn/merge.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\t\t\tif first.before(p) {",
		"\t\t\tif p.before(first) {",
	},
	{
		"switch: a copy that comes second is a gap", "agent/conn/merge.go", "./agent/conn", "TestSwitch|TestSwitchBehindUnreadMessages|TestSwitchLostOperations|TestOldRelayFails.*|TestDeleteDuringSwitch",
		"\tif q.hole != 0 && number == q.hole { // was counted",
		"\tif q.hole < 0 && number == q.hole { // was counted",
	},
	{
		"resync: keys are taken twice", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\tif _, known := s.env.Tx.Get(name); known {\n\t\treturn false\n\t}\n",
		"\tif _, known := s.env.Tx.Get(name); known && len(name) == 0 {\n\t\treturn false\n\t}\n",
	},
	{
		"resync: no limit of remembered keys", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"|| i == oldest && len(kept) >= maxRatchetKeys {",
		"|| i < 0 && i == oldest {",
	},
	{
		"resync: the old ratchet's keys stay", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\tratchet.Erase(s.env.Tx, []byte{recordRatchet})\n",
		"",
	},
	{
		"resync: both sides are the same", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\tif sending {\n\t\ts.rebound = Sending\n\t}\n",
		"",
	},
	{
		"resync: binding of the old ratchet", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\ts.binding = rebind(state.AD())\n",
		"",
	},
	{
		"resync: own keys are not answered", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\tif s.resync != ResyncStarted {\n\t\ts.sendRatchetKey",
		"\tif s.resync == ResyncStarted {\n\t\ts.sendRatchetKey",
	},
	{
		"resync: the first message is not answered", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\tif first {\n\t\ts.enqueueContent",
		"\tif false {\n\t\ts.enqueueContent",
	},
	{
		"resync: the group is not told of the new ratchet", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\tif state == ResyncOK && s.rebound != 0 {",
		"\tif state == ResyncRequired && s.rebound != 0 {",
	},
	{
		"resync: before the connection is made", "agent/conn/resync.go", "./agent/conn", "Test.*Resync.*|TestRatchetKey.*|TestOldCop.*|TestBothStart",
		"\tif !s.resyncable() {\n\t\treturn prohibited(\"ratchet key",
		"\tif false {\n\t\treturn prohibited(\"ratchet key",
	},
	{
		"agent: binding is not handed up", "agent/grouprun.go", "./agent", "TestThreeMembersTalk",
		"ConfID: ev.ID, Binding: ev.Binding, Info: ev.Info})",
		"ConfID: ev.ID, Info: ev.Info})",
	},
	{
		"agent: the initiator's binding is not handed up", "agent/grouprun.go", "./agent", "TestThreeMembersTalk",
		"in(grouproto.Info{Conn: name, Binding: ev.Binding, Info: ev.Info})",
		"in(grouproto.Info{Conn: name, Info: ev.Info})",
	},
	{
		"agent: hello signed without the binding", "agent/grouprun.go", "./agent", "TestThreeMembersTalk",
		"return f.Hello(binding), nil },",
		"return f.Hello([32]byte{}), nil },",
	},
	{
		"agent: sides of a new ratchet are mixed up", "agent/grouprun.go", "./agent", "TestContactIsRest.*|Test.*Resync.*|TestPairConnection.*|TestSimulation",
		"conn.Receiving: grouproto.SideReceiving, conn.Sending: grouproto.SideSending}",
		"conn.Receiving: grouproto.SideSending, conn.Sending: grouproto.SideReceiving}",
	},
	{
		"agent: acknowledged before the group has the message", "agent/grouprun.go", "./agent", "TestThreeMembers.*|TestGroupSurv.*|TestKilledBehind.*",
		"\t\tin(grouproto.Message{Conn: name, Body: ev.Body})\n\t\tt.later(func() { t.ackGroupConn(e.id, ev.ID) })",
		"\t\tt.ackGroupConn(e.id, ev.ID)\n\t\tt.onCommit(func() { t.post(func(t *turn) error { t.groupInput(e.meta.Group, grouproto.Message{Conn: name, Body: ev.Body}); return nil }) })",
	},
	{
		"agent: group messages are never acknowledged", "agent/grouprun.go", "./agent", "TestThreeMembers.*|TestGroupSurv.*|TestKilledBehind.*",
		"\t\tt.ackConn(e, message)\n\t}\n}",
		"\t}\n}",
	},
	{
		"agent: a full queue is not told to the group", "agent/grouprun.go", "./agent", "TestFullQueue|TestReasons|TestSimulation",
		"\t\tif ev.Err.Code == conn.CodeQuota {\n\t\t\tin(",
		"\t\tif ev.Err.Code == conn.CodeAuth {\n\t\t\tin(",
	},
	{
		"agent: an emptied queue is not told to the group", "agent/grouprun.go", "./agent", "TestFullQueue|TestReasons|TestSimulation",
		"\t\tin(grouproto.Continue{Conn: name})\n",
		"",
	},
	{
		"agent: a parted ratchet is not told to the group", "agent/grouprun.go", "./agent", "TestContactIsRest.*|Test.*Resync.*|TestPairConnection.*|TestSimulation",
		"\t\tcase ratchetParted(ev):\n\t\t\tin(",
		"\t\tcase false:\n\t\t\tin(",
	},
	{
		"agent: a peer's fault ends the pair", "agent/grouprun.go", "./agent", "TestFullQueue|TestReasons|TestSimulation",
		"\t\tif ev.Err.Kind == conn.PeerFault {\n\t\t\tt.log.Info(\"bad message on a pair connection\", \"error\", ev.Err)\n\t\t\treturn\n\t\t}\n",
		"",
	},
	{
		"agent: messages that were held are lost", "agent/held.go", "./agent", "TestThreeMembers.*|TestGroupSurv.*|TestKilledBehind.*",
		"\t\t\tt.connEffects(e, effects)\n\t\t\tif err != nil {\n\t\t\t\tt.groupInput",
		"\t\t\tif err != nil {\n\t\t\t\tt.groupInput",
	},
	{
		"agent: messages overtake those that are held", "agent/grouprun.go", "./agent", "TestThreeMembers.*|TestGroupSurv.*|TestKilledBehind.*",
		"\tif err == nil && e.meta.Held > 0 {\n\t\tt.hold(e, m)\n\t\treturn\n\t}\n",
		"",
	},
	{
		"agent: answered before it is stored", "agent/loop.go", "./agent", "TestFail.*|TestEachReader.*",
		"\t\t\tresults = append(results, batch[len(results)].run(t))\n\t\t\tt.settle()",
		"\t\t\tk := batch[len(results)]\n\t\t\tresults = append(results, k.run(t))\n\t\t\tif k.done != nil {\n\t\t\t\tk.done(results[len(results)-1])\n\t\t\t\tbatch[len(results)-1].done = nil\n\t\t\t}\n\t\t\tt.settle()",
	},
	{
		"agent: sent before it is stored", "agent/conns.go", "./agent", "TestFail.*|TestKilledB.*",
		"\tt.onCommit(func() { t.dispatch(e, op, spread) })",
		"\tt.dispatch(e, op, spread)",
	},
	{
		"agent: cores of a failed transaction stay", "agent/loop.go", "./agent", "TestFail.*|TestEachReader.*",
		"\tif err := t.tx.Commit(); err != nil {\n\t\tt.forget()\n\t\treturn err",
		"\tif err := t.tx.Commit(); err != nil {\n\t\treturn err",
	},
	{
		"agent: an input whose transaction failed is lost", "agent/loop.go", "./agent", "TestFail.*|TestEachReader.*",
		"\t\t\ta.keep(k)\n\t\t}\n\t}\n\treturn taken",
		"\t\t\t_ = k\n\t\t}\n\t}\n\treturn taken",
	},
	{
		"agent: a failed transaction fails all that shared it", "agent/loop.go", "./agent", "TestFail.*|TestEachReader.*",
		"\tcase taken > 1:\n\t\tfor _, k := range batch[:taken] {\n\t\t\ta.share([]task{k})\n\t\t}\n",
		"",
	},
	{
		"events: a new reader begins at the newest", "agent/events.go", "./agent", "TestEachReader.*|TestWaiting.*|TestTooMany.*",
		"\tt.setCursors()[name] = t.loop.trimmed\n\tt.tx.SetCursor(name, t.loop.trimmed)\n\treturn t.loop.trimmed, nil",
		"\tt.setCursors()[name] = t.tx.LastEvent()\n\tt.tx.SetCursor(name, t.tx.LastEvent())\n\treturn t.tx.LastEvent(), nil",
	},
	{
		"events: a reader begins again from the oldest", "agent/events.go", "./agent", "TestEachReader.*|TestWaiting.*|TestTooMany.*",
		"\tif position, ok := cursors[name]; ok {\n\t\treturn position, nil",
		"\tif _, ok := cursors[name]; ok {\n\t\treturn t.loop.trimmed, nil",
	},
	{
		"events: cursor goes back", "agent/events.go", "./agent", "TestEachReader.*|TestWaiting.*|TestTooMany.*",
		"\t\tif seq > have {\n",
		"\t\tif seq != have {\n",
	},
	{
		"events: acknowledged without being stored", "agent/events.go", "./agent", "TestEachReader.*|TestWaiting.*|TestTooMany.*",
		"\t\t\tt.setCursors()[cursor] = seq\n\t\t\tt.tx.SetCursor(cursor, seq)",
		"\t\t\tt.setCursors()[cursor] = seq",
	},
	{
		"events: dropped when one reader has them", "agent/events.go", "./agent", "TestEachReader.*|TestWaiting.*|TestTooMany.*",
		"\t\t\tread = min(read, position)",
		"\t\t\tread = position",
	},
	{
		"events: lost ones are not told", "agent/events.go", "./agent", "TestEachReader.*|TestWaiting.*|TestTooMany.*",
		"\t\t\tif position < dropped {\n\t\t\t\tposition = dropped\n\t\t\t\tif !yield",
		"\t\t\tif position < dropped {\n\t\t\t\tposition = dropped\n\t\t\t\tif false && !yield",
	},
	{
		"fork: does not name the group", "agent/fork.go", "./agent", "TestFork.*",
		"\tsettings[settingForkOf] = []byte(of.ID.Text())\n",
		"\tsettings[settingForkOf] = []byte(of.Self.Text())\n",
	},
	{
		"fork: addresses of the group go with it", "agent/fork.go", "./agent", "TestFork.*",
		"\t\t\tif s.Name != addressSettings && !strings.HasPrefix(s.Name, addressSettings+\"/\") {\n",
		"\t\t\tif s.Name != addressSettings {\n",
	},
	{
		"fork: those left out are invited", "agent/fork.go", "./agent", "TestFork.*",
		"if !named || m.Key == self || slices.Contains(o.Without, id) {",
		"if !named || m.Key == self {",
	},
	{
		"join: a second invitation to a group is accepted", "agent/group.go", "./agent", "TestJoin.*|TestAttack.*|TestWrongCard.*|TestHistory.*|TestTwoMembers.*",
		"\t\t\tif t.inGroup(inv.Group) {\n",
		"\t\t\tif t.inGroup(inv.Group) && len(card) < 0 {\n",
	},
	{
		"store: the journal is not read back", "agent/store/journal.go", "./agent/store", "",
		"\ttx.loadJournal(&s.journal)\n",
		"",
	},
	{
		"store: deleted records of the journal come back", "agent/store/journal.go", "./agent/store", "",
		"\t\tj.records.set(r.owner, r.key, r.value)\n",
		"\t\tif r.value != nil {\n\t\t\tj.records.set(r.owner, r.key, r.value)\n\t\t}\n",
	},
	{
		"store: a deleted owner's records come back from the journal", "agent/store/journal.go", "./agent/store", "",
		"\tfor _, owner := range dead {\n\t\tdelete(j.records, owner)\n\t}\n\tif j.records",
		"\tif j.records",
	},
	{
		"store: the journal holds former values for ever", "agent/store/journal.go", "./agent/store", "",
		"\tif j.rows > 0 {\n\t\ttx.exec(\"empty journal\", dropJournal)\n\t}\n",
		"",
	},
	{
		"store: the journal is not looked at in reading", "agent/store/journal.go", "./agent/store", "",
		"\tvalue, ok = tx.journaled()[owner][string(key)]\n\treturn value, ok",
		"\treturn nil, false",
	},
	{
		"store: what is pending for a deleted owner is written", "agent/store/journal.go", "./agent/store", "",
		"if slices.ContainsFunc(p.list, func(r pendingRecord) bool { return r.owner == owner }) {",
		"if slices.ContainsFunc(p.list, func(r pendingRecord) bool { return r.key == \"\" && r.owner == owner }) {",
	},
}
