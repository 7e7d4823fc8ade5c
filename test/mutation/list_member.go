package main

// memberMutations are bugs in what follows from operations, in coming back from an old store, and in direct connections.
var memberMutations = []mutation{
	{
		"cut ignored", "grouproto/receive.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestMessage.*|TestAttackMade.*",
		"if gone, ok := s.st.Removed(author); ok && m.Number >= gone.Cut {",
		"if gone, ok := s.st.Removed(author); ok && m.Number > gone.Cut+1000 {",
	},
	{
		"right to speak not checked", "grouproto/receive.go", "./grouproto", "",
		"\treturn present && st.Has(author, oplog.PermSend)",
		"\treturn present || !present",
	},
	{
		"grace of an hour", "grouproto/types.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"Grace            = 24 * time.Hour",
		"Grace            = time.Hour",
	},
	{
		"direct: the larger key's request stands", "directconn/request.go", "./directconn", "",
		"bytes.Compare(in.Self[:], in.Peer.Member[:]) < 0:",
		"bytes.Compare(in.Self[:], in.Peer.Member[:]) > 0:",
	},
	{
		"direct: block list ignored", "directconn/request.go", "./directconn", "",
		"\tcase e.blocked, e.choice == ChoiceRefuse:",
		"\tcase e.choice == ChoiceRefuse:",
	},
	{
		"grace: connections go at once", "grouproto/change.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"if p.ended() && len(p.conns) > 0 && s.due(p.endedAt.Add(Grace)) {",
		"if p.ended() && len(p.conns) > 0 {",
	},
	{
		"grace: connections stay for ever", "grouproto/change.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"if p.ended() && len(p.conns) > 0 && s.due(p.endedAt.Add(Grace)) {",
		"if p.ended() && len(p.conns) < 0 {",
	},
	{
		"grace: the own membership's ends at once", "grouproto/change.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"s.main.status, s.main.graceEnd = status, s.env.Now.Add(Grace)",
		"s.main.status, s.main.graceEnd = status, s.env.Now",
	},
	{
		"grace: who was removed is not told", "grouproto/receive.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"\tp.goneTold = true\n\ts.postOps(p, s.lackedBy(p), 0, forOperations)\n",
		"\tp.goneTold = true\n",
	},
	{
		"removed: pairs that are being made go on", "grouproto/change.go", "./grouproto", "TestRequestsForARemovedMemberAreWithdrawn",
		"\t\tif c.state == connMaking || c.state == connOffered {\n\t\t\ts.dropConn(p, c)\n\t\t}\n\t}\n\ts.dropDirect(p)",
		"\t\t_ = c\n\t}\n\ts.dropDirect(p)",
	},
	{
		"removed: who returns does not get what is written", "grouproto/change.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"\tp.next, p.sent = s.main.next, s.main.next\n\tp.window = nil\n\ts.addPeer",
		"\tp.next, p.sent = ^uint64(0), ^uint64(0)\n\tp.window = nil\n\ts.addPeer",
	},
	{
		"removed: who returns is not asked for again", "grouproto/change.go", "./grouproto", "TestWhoReturnsIsAskedForAgain",
		"\ts.lookAgain(p.key)\n\ts.notice(MemberRestored",
		"\ts.notice(MemberRestored",
	},
	{
		"removed: the own removal is not noticed", "grouproto/change.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"\t\t\ts.end(StatusRemoved)\n",
		"\t\t\ts.main.status = StatusMember\n",
	},
	{
		"removed: the own return is not noticed", "grouproto/change.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"case is && !now.Closed() && s.main.status != StatusMember:",
		"case is && now.Closed() && s.main.status != StatusMember:",
	},
	{
		"closed: goes on", "grouproto/change.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"\t\ts.end(StatusClosed)\n",
		"",
	},
	{
		"contest: those removed do not hear of it", "grouproto/admin.go", "./grouproto", "TestRemoved.*|TestRemoval.*|TestContest.*|TestGrace.*|TestCloseEnds.*|TestLeaveAnd.*|TestAttackContest.*|TestHistoryOfAMember.*|TestMemberComes.*|TestJoinCompletesW.*",
		"\treturn s.publish(body, toKnown)",
		"\treturn s.publish(body, toPresent)",
	},
	{
		"remove: does not hide", "grouproto/admin.go", "./grouproto", "TestRoles.*|TestRemoved.*|TestRemoval.*",
		"a := &oplog.Remove{Hide: in.Hide}",
		"a := &oplog.Remove{}",
	},
	{
		"remove: hides nothing at the client", "grouproto/change.go", "./grouproto", "TestRoles.*|TestRemoved.*|TestRemoval.*",
		"By: s.log.Op(gone.Ops[0]).Author, Hide: gone.Hide})",
		"By: s.log.Op(gone.Ops[0]).Author})",
	},
	{
		"remove: cut of nothing", "grouproto/admin.go", "./grouproto", "TestCutIsBehindWhatIsHeld",
		"\tupTo, _ := c.receipt()\n\treturn upTo",
		"\treturn 0",
	},
	{
		"remove: cut of what was only heard of", "grouproto/admin.go", "./grouproto", "TestCutIsBehindWhatIsHeld",
		"\tupTo, _ := c.receipt()\n\treturn upTo",
		"\treturn c.top",
	},
	{
		"cut: what is above it is asked for", "grouproto/receive.go", "./grouproto", "TestCutIsBehindWhatIsHeld",
		"\treturn !removed || id.Number < gone.Cut\n",
		"\treturn !removed || id.Number < gone.Cut+1<<40\n",
	},
	{
		"sweep: never seen", "grouproto/ops.go", "./grouproto", "TestAttackSweep.*|TestSweep.*|TestContestUndoes.*",
		"before <= most && before+count > most && op",
		"before <= most && before > most && op",
	},
	{
		"sweep: a quarter does not count", "grouproto/ops.go", "./grouproto", "TestAttackSweep.*|TestSweep.*|TestContestUndoes.*",
		"most := max(2, n/4)",
		"most := max(2, n)",
	},
	{
		"sweep: an hour is a day", "grouproto/ops.go", "./grouproto", "TestAttackSweep.*|TestSweep.*|TestContestUndoes.*",
		"now.Sub(r.at) >= time.Hour })",
		"now.Sub(r.at) >= 24*time.Hour })",
	},
	{
		"operations: unknown heads are not asked for", "grouproto/ops.go", "./grouproto", "TestAttackHeads.*|TestOperations.*|TestRemoval.*|TestMessageWaits.*|TestMemberThatKnew.*|TestTwoMembersAdd.*|TestOldProgram.*",
		"\t\ts.wantOp(p, id, s.env.Now.Add(rideTime))\n",
		"\t\t_ = id\n",
	},
	{
		"operations: missing parents are not asked for", "grouproto/ops.go", "./grouproto", "TestMissingParentsAreAskedFor",
		"\t\tfor _, id := range res.Missing {\n\t\t\ts.wantOp(p, id, s.env.Now)\n\t\t}\n",
		"",
	},
	{
		"operations: only who named one is asked", "grouproto/ops.go", "./grouproto", "TestMissingParentsAreAskedFor",
		"if w.tries > 0 || p == nil || p.sendable()",
		"if p == nil || p.sendable()",
	},
	{
		"operations: own ones go to nobody", "grouproto/ops.go", "./grouproto", "TestAttackHeads.*|TestOperations.*|TestRemoval.*|TestMessageWaits.*|TestMemberThatKnew.*|TestTwoMembersAdd.*|TestOldProgram.*",
		"if p.sendable() != nil && (!p.ended() || to == toKnown) {",
		"if false {",
	},
	{
		"operations: what a G_SYNC shows to be lacking is not sent", "grouproto/sync.go", "./grouproto", "TestAttackHeads.*|TestOperations.*|TestRemoval.*|TestMessageWaits.*|TestMemberThatKnew.*|TestTwoMembersAdd.*|TestOldProgram.*",
		"\ts.postOps(p, s.lackedBy(p), 0, forOperations)\n\tvar word",
		"\tvar word",
	},
	{
		"operations: a new connection gets none", "grouproto/pair.go", "./grouproto", "TestNewConnectionBringsWhatWasWrittenMeanwhile",
		"\t\tif !slices.Equal(c.told, s.log.AllHeads()) {",
		"\t\tif false {",
	},
	{
		"operations: what was asked for is thought to be there", "grouproto/ops.go", "./grouproto", "TestWhoAsksForAnOperationLacksIt",
		"\t\tp.knows = slices.DeleteFunc(p.knows, func(k OpID) bool { return k == id || s.log.InPast(id, k) })\n",
		"\t\t_ = id\n",
	},
	{
		"restore: numbers are used again", "grouproto/recover.go", "./grouproto", "TestOldBackup.*|TestOwnOp.*|TestRecover.*|TestLies.*|TestOneLiar.*|TestOperationWritten.*|TestRatchet.*",
		"m.run, m.next, m.prev = run, run, [32]byte{}",
		"m.run = run",
	},
	{
		"restore: run below numbers that others know", "grouproto/recover.go", "./grouproto", "TestRunBeginsAboveAllThatIsKnown",
		"if most := max(c.top, m.next); most > run {",
		"if false {\n\t\tmost := run",
	},
	{
		"restore: run goes on with the hash before", "grouproto/recover.go", "./grouproto", "TestOldBackup.*|TestOwnOp.*|TestRecover.*|TestLies.*|TestOneLiar.*|TestOperationWritten.*|TestRatchet.*",
		"m.run, m.next, m.prev = run, run, [32]byte{}",
		"m.run, m.next = run, run",
	},
	{
		"restore: numbers between runs are missing", "grouproto/recover.go", "./grouproto", "TestOldBackup.*|TestOwnOp.*|TestRecover.*|TestLies.*|TestOneLiar.*|TestOperationWritten.*|TestRatchet.*",
		"\t\tc.noteAbsent(never, noneNotExisted)\n",
		"",
	},
	{
		"restore: written before it is known what is missing", "grouproto/recover.go", "./grouproto", "TestOldBackup.*|TestOwnOp.*|TestRecover.*|TestLies.*|TestOneLiar.*|TestOperationWritten.*|TestRatchet.*",
		"\tif g.main.recovery != RecoveryNone {\n\t\treturn ErrRecovering\n\t}\n",
		"",
	},
	{
		"restore: one member is asked", "grouproto/recover.go", "./grouproto", "TestRecoveryAsksThreeMembersOverNewRatchets",
		"need = min(recoverPeers, len(s.present()))",
		"need = min(1, len(s.present()))",
	},
	{
		"restore: ratchets stay", "grouproto/recover.go", "./grouproto", "TestRecoveryAsksThreeMembersOverNewRatchets",
		"\tif why != RecoveryMessage {\n\t\ts.remakeRatchets()\n\t}\n",
		"",
	},
	{
		"restore: own operations that come back mean nothing", "grouproto/recover.go", "./grouproto", "TestOldBackup.*|TestOwnOp.*|TestRecover.*|TestLies.*|TestOneLiar.*|TestOperationWritten.*|TestRatchet.*",
		"\t\ts.beginRecovery(RecoveryOperation)\n",
		"",
	},
	{
		"restore: one member's word is enough, again and again", "grouproto/recover.go", "./grouproto", "TestOneLiarBeginsOneRecoveryInADay",
		"if s.main.recovery != RecoveryCheck && s.env.Now.Before(s.main.claimAt.Add(claimEvery)) {",
		"if false {",
	},
	{
		"direct: permission is not handed up", "grouproto/receive.go", "./grouproto", "TestPermissionForDirectConnectionsIsHandedUp",
		"Permitted: s.st.Has(p.key, oplog.PermDirect),",
		"Permitted: true,",
	},
	{
		"direct: choice to refuse ignored", "directconn/request.go", "./directconn", "",
		"\tcase e.blocked, e.choice == ChoiceRefuse:",
		"\tcase e.blocked:",
	},
	{
		"direct: permission ignored", "directconn/request.go", "./directconn", "",
		"\tcase e.choice != ChoiceAccept && !in.Permitted, s.open()",
		"\tcase s.open()",
	},
	{
		"direct: permission before the choice for a member", "directconn/request.go", "./directconn", "",
		"\tcase e.choice != ChoiceAccept && !in.Permitted, s.open()",
		"\tcase !in.Permitted, s.open()",
	},
	{
		"direct: no limit of requests", "directconn/request.go", "./directconn", "",
		"!in.Permitted, s.open() >= MaxOpen:",
		"!in.Permitted:",
	},
	{
		"direct: a request twice is two", "directconn/request.go", "./directconn", "TestRequestThatComesTwiceIsOne",
		"\tif e.their != nil && e.their.id == i.Request {\n\t\treturn\n\t}\n",
		"",
	},
	{
		"direct: the own request is not withdrawn", "directconn/request.go", "./directconn", "TestWhoGivesWayDeletesItsRequest",
		"\t\ts.dropConn(e.own.conn)\n\t\te.own = nil\n\t\ts.replace(e, r)",
		"\t\te.own = nil\n\t\ts.replace(e, r)",
	},
	{
		"direct: what waits is not refused when its member is blocked", "directconn/request.go", "./directconn", "TestBlockingRefusesWhatWaits",
		"\tif in.On && e.their != nil && e.their.conn == \"\" {",
		"\tif false {",
	},
	{
		"direct: messages that waited are lost", "directconn/core.go", "./directconn", "",
		"\t\ts.do(SendConn{Conn: name, Body: body})\n",
		"\t\t_ = body\n",
	},
	{
		"direct: a deleted contact cannot be asked for again", "directconn/core.go", "./directconn", "",
		"\t\tdelete(s.conns, name)\n\t\te.ready = \"\"\n",
		"\t\tdelete(s.conns, name)\n",
	},
	{
		"direct: requests never expire", "directconn/core.go", "./directconn", "",
		"if e.own != nil && !e.own.expiry.After(s.env.Now) {",
		"if false {",
	},
	{
		"direct: a refusal of another request", "directconn/request.go", "./directconn", "",
		"case e.own != nil && e.own.id == id && e.own.sent:",
		"case e.own != nil && e.own.sent:",
	},
	{
		"direct: after a restart nothing is asked for again", "directconn/core.go", "./directconn", "",
		"\t\tif e.own != nil && !e.own.sent {\n\t\t\tout",
		"\t\tif false {\n\t\t\tout",
	},
	{
		"operations: given without end to who says that it has none", "grouproto/ops.go", "./grouproto", "",
		"\tif size == 0 || p.given.take(",
		"\tif size >= 0 || p.given.take(",
	},
	{
		"sweep: measured by who is left", "grouproto/ops.go", "./grouproto", "",
		"\tn := before // who",
		"\tn := 0 * before // who",
	},
}
