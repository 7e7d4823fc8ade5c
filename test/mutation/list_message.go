package main

// messageMutations are bugs in messages: repair, copies, fan-out, receipts and retention.
var messageMutations = []mutation{
	{
		"delivery before the named operations are here", "grouproto/receive.go", "./grouproto", "",
		"\tif s.lacksHeads(m) {\n\t\ts.holdMessage(from, author, m)\n\t\treturn\n\t}\n",
		"",
	},
	{
		"copies for members that are not entitled", "grouproto/repair.go", "./grouproto", "",
		"\t\tcase held && s.entitled(p, k):",
		"\t\tcase held:",
	},
	{
		"history setting ignored", "grouproto/repair.go", "./grouproto", "TestHistory.*|TestNewMember.*",
		"\tn := historyOf(value)\n\tswitch",
		"\tn := historyOf(value) * 0\n\tswitch",
	},
	{
		"duplicate messages are delivered", "grouproto/receive.go", "./grouproto", "",
		"\tcase held.id.Hash == id.Hash:\n\t\tif held.vouched",
		"\tcase held.id.Hash == id.Hash:\n\t\ts.notice(MessageReceived{held.stored()})\n\t\tif held.vouched",
	},
	{
		"fan-out begins again from zero", "grouproto/fanout.go", "./grouproto", "TestWhatAConnectionDidNotSendIsTakenBack",
		"\t\tp.window = nil\n\t\tp.next = p.sent\n",
		"\t\tp.window = nil\n\t\tp.next = 0\n",
	},
	{
		"fan-out loses what the old connection had not sent", "grouproto/fanout.go", "./grouproto", "TestWhatAConnectionDidNotSendIsTakenBack",
		"\t\tp.window = nil\n\t\tp.next = p.sent\n",
		"\t\tp.window = nil\n",
	},
	{
		"cursor moves when a message is handed over", "grouproto/fanout.go", "./grouproto", "",
		"\t\tb.add(own.frame, forMessages)\n\t\tp.next++\n",
		"\t\tb.add(own.frame, forMessages)\n\t\tp.next++\n\t\tp.sent = p.next\n",
	},
	{
		"message: hash without the group", "grouproto/wire_message.go", "./grouproto", "TestFrameVectors",
		"oplog.Hash(labelMessage, group[:], author[:], m.append(nil))",
		"oplog.Hash(labelMessage, make([]byte, len(group)), author[:], m.append(nil))",
	},
	{
		"message: hash without the author", "grouproto/wire_message.go", "./grouproto", "TestFrameVectors",
		"oplog.Hash(labelMessage, group[:], author[:], m.append(nil))",
		"oplog.Hash(labelMessage, group[:], make([]byte, len(author)), m.append(nil))",
	},
	{
		"message: no salt", "grouproto/fanout.go", "./grouproto", "TestEqualMessagesHaveDifferentHashes",
		"Salt: random16(s.env), ",
		"",
	},
	{
		"message: every one begins a run", "grouproto/fanout.go", "./grouproto", "TestMessage.*|TestMoreThan16.*|TestAttackForged.*|TestCopyThat.*|TestAuthorThat.*|TestGaps.*|TestTwoMembersMeet.*",
		"Number: s.main.next, Prev: s.main.prev,",
		"Number: s.main.next,",
	},
	{
		"message: names no parents", "grouproto/fanout.go", "./grouproto", "TestMessage.*|TestMoreThan16.*|TestAttackForged.*|TestCopyThat.*|TestAuthorThat.*|TestGaps.*|TestTwoMembersMeet.*",
		"Parents: s.parents(), Body",
		"Body",
	},
	{
		"message: names itself as a parent", "grouproto/fanout.go", "./grouproto", "TestMessage.*|TestMoreThan16.*|TestAttackForged.*|TestCopyThat.*|TestAuthorThat.*|TestGaps.*|TestTwoMembersMeet.*",
		"\t\tif id.Author != s.self {\n\t\t\tout",
		"\t\tif id.Author != (Key{}) {\n\t\t\tout",
	},
	{
		"message: names parents that others imply", "grouproto/keep.go", "./grouproto", "TestParentsThatComeLaterAreImplied",
		"\tif implied {\n\t\treturn\n\t}\n",
		"",
	},
	{
		"message: without the right to send", "grouproto/fanout.go", "./grouproto", "TestRolesDecide.*",
		"\tcase !s.st.Has(s.self, oplog.PermSend):\n\t\treturn Done{}, ErrNotPermitted\n",
		"",
	},
	{
		"message: heads are waited for without end", "grouproto/receive.go", "./grouproto", "TestMessageDoesNotWaitForEver",
		"if !s.due(h.until) && s.lacksHeads(h.message) {",
		"if s.lacksHeads(h.message) {",
	},
	{
		"message: no limit of those that wait", "grouproto/receive.go", "./grouproto", "TestAttackHeads.*|TestLimits",
		"if len(s.waiting) >= mostHeld || s.heldOf(via) >= mostHeldOfPeer {",
		"if false {",
	},
	{
		"message: parents that are not here are not asked for", "grouproto/receive.go", "./grouproto", "TestMessage.*|TestMoreThan16.*|TestAttackForged.*|TestCopyThat.*|TestAuthorThat.*|TestGaps.*|TestTwoMembersMeet.*",
		"\tfor _, parent := range m.Parents {\n\t\ts.refers(parent, k.via)\n\t}\n",
		"",
	},
	{
		"message: prev confirms nothing", "grouproto/receive.go", "./grouproto", "TestOnlyTheAuthorConfirms",
		"\tif !k.vouched {\n\t\ts.fixPrev(author, m)\n\t}\n",
		"",
	},
	{
		"message: prev confirms also from a copy", "grouproto/receive.go", "./grouproto", "TestOnlyTheAuthorConfirms",
		"\tif !k.vouched {\n\t\ts.fixPrev(author, m)\n\t}\n",
		"\ts.fixPrev(author, m)\n",
	},
	{
		"message: two of an author are a dispute", "grouproto/receive.go", "./grouproto", "TestAuthorThat.*|TestCopyThat.*|TestAttackForged.*",
		"\tdefault:\n\t\ts.warn(WarnEquivocation, id.Author)\n\t\tif _",
		"\tdefault:\n\t\ts.warn(WarnDisputed, id.Author)\n\t\tif _",
	},
	{
		"message: what others say is an equivocation", "grouproto/receive.go", "./grouproto", "TestOtherContentOfSomebodyElseIsADispute",
		"\tcase !from.word:\n\t\ts.warn(WarnDisputed, via)\n",
		"\tcase !from.word:\n\t\ts.warn(WarnEquivocation, id.Author)\n",
	},
	{
		"copy: counts as the author's word", "grouproto/receive.go", "./grouproto", "TestCopy.*|TestMessageOfAn.*|TestAttackCop.*|TestAttackForged.*|TestFalseCopy.*|TestAuthorCorrects.*",
		"vouched: !from.word && !isFixed,",
		"vouched: false,",
	},
	{
		"copy: given to its author, handed on as its word", "grouproto/repair.go", "./grouproto", "",
		"e.Author == s.self && k.vouched}",
		"false}",
	},
	{
		"gap: an author that does not keep it ends it", "grouproto/repair.go", "./grouproto", "",
		"e.Author == p.key && e.Why != noneNotKept {",
		"e.Author == p.key {",
	},
	{
		"gap: who comes later is not asked", "grouproto/repair.go", "./grouproto", "",
		"if !c.lookAgain(saidNotKept) {",
		"if !c.lookAgain(0x90) {",
	},
	{
		"restore: made-up own numbers hold back the rest", "grouproto/repair.go", "./grouproto", "",
		"return c.ownFront()",
		"return c.front()",
	},
	{
		"limit: who passes on is named", "grouproto/limit.go", "./grouproto", "",
		"s.warnLimit(s.peers[author], LimitParallel)",
		"s.warnLimit(p, LimitParallel)",
	},
	{
		"copy: another than the author's word is taken", "grouproto/receive.go", "./grouproto", "TestCopyAgainstTheAuthorsWord",
		"\tif isFixed && fixed != id.Hash && !from.word {\n\t\ts.warn(WarnDisputed, via)\n\t\treturn\n\t}\n",
		"",
	},
	{
		"copy: taken without having been asked for", "grouproto/repair.go", "./grouproto", "TestCopyOfSomebodyWhoWasNotAsked",
		"\t\tif !a.ever[p.key] {\n\t\t\treturn\n\t\t}\n",
		"",
	},
	{
		"copy: never confirmed", "grouproto/receive.go", "./grouproto", "TestCopy.*|TestMessageOfAn.*|TestAttackCop.*|TestAttackForged.*|TestFalseCopy.*|TestAuthorCorrects.*",
		"\t\theld.vouched = false\n\t\ts.putKept('m', held)\n\t\ts.notice(MessageConfirmed{held.id})\n",
		"",
	},
	{
		"copy: a refuted one stays", "grouproto/receive.go", "./grouproto", "TestCopy.*|TestMessageOfAn.*|TestAttackCop.*|TestAttackForged.*|TestFalseCopy.*|TestAuthorCorrects.*",
		"\t\t\ts.env.Tx.Delete(messageKey('m', author, number))\n\t\t\ts.notice(MessageRefuted{held.id})\n",
		"",
	},
	{
		"copy: not replaced by what the author says", "grouproto/receive.go", "./grouproto", "TestAuthorsMessageReplacesACopy",
		"\t\ts.putKept('m', now)\n\t\ts.notice(MessageReplaced{now.stored()})\n",
		"\t\t_ = now.depth\n",
	},
	{
		"digest: lists are exchanged at once", "grouproto/sync.go", "./grouproto", "TestOtherDigestIsLookedAtLater",
		"s.odd[p.key] = oddDigest{d, s.env.Now.Add(gapWait)}",
		"s.odd[p.key] = oddDigest{d, s.env.Now}",
	},
	{
		"gap: others are asked before the author", "grouproto/repair.go", "./grouproto", "TestAuthorIsAskedFirst",
		"\t\tif _, was := a.asked[author]; !was {\n\t\t\treturn p\n\t\t}\n",
		"",
	},
	{
		"gap: only the author is asked", "grouproto/repair.go", "./grouproto", "TestMessageOfAn.*|TestMadeUp.*|TestWhatOnlyALiar.*|TestGaps.*|TestLongGap.*",
		"\tnot := map[Key]bool{}\n\tfor k := range a.asked {",
		"\tif len(a.asked) > 0 {\n\t\treturn nil\n\t}\n\tnot := map[Key]bool{}\n\tfor k := range a.asked {",
	},
	{
		"gap: given up when one has nothing", "grouproto/repair.go", "./grouproto", "TestGapIsNotGivenUpBeforeAllHaveAnswered",
		"\t\tnone = none && (v.why != 0 || k != author && s.silent(k))\n",
		"\t\t_ = k\n",
	},
	{
		"gap: what others say is not for us is final", "grouproto/repair.go", "./grouproto", "TestMessageOfAn.*|TestMadeUp.*|TestWhatOnlyALiar.*|TestGaps.*|TestLongGap.*",
		"\t\t\twhy = saidNotForYou\n",
		"\t\t\twhy = noneNotForYou\n",
	},
	{
		"G_WANT: no limit of questions", "grouproto/repair.go", "./grouproto", "TestQuestion.*|TestLimits|TestAttackAsking.*",
		"func (s *step) wantCame(p *peer, f *wantFrame) {\n\tif !s.mayAsk(p) {",
		"func (s *step) wantCame(p *peer, f *wantFrame) {\n\tif false {",
	},
	{
		"G_WANT: no limit of copies", "grouproto/repair.go", "./grouproto", "TestQuestion.*|TestLimits|TestAttackAsking.*",
		"if !p.copies.take(s.env.Now, float64(len(k.message.Body)+128), most, most/3600) {",
		"if most < 0 {",
	},
	{
		"G_WANT: asks for more than 256 messages", "grouproto/repair.go", "./grouproto", "TestLongGap.*",
		"frames[p], room[p] = f, MaxWantMessages",
		"frames[p], room[p] = f, MaxWantMessages<<4",
	},
	{
		"G_SYNC: no limit of questions", "grouproto/sync.go", "./grouproto", "TestQuestion.*|TestLimits|TestAttackAsking.*",
		"\ts.joinerHeard(p.key)\n\tif !s.mayAsk(p) {\n",
		"\ts.joinerHeard(p.key)\n\tif false {\n",
	},
	{
		"history: as much as anybody asks for", "grouproto/repair.go", "./grouproto", "TestHistory.*|TestNewMember.*",
		"\t\treturn k.id.Number >= s.historyFrom(p, k.id.Author, n)",
		"\t\treturn true",
	},
	{
		"history: a new member looks for all", "grouproto/join.go", "./grouproto", "TestNewMemberAsksForNothingOlder",
		"older := n + 1 - min(n+1, historyOf(value)); older > 0",
		"older := n + 1 - min(n+1, historyOf(value)); older > 1<<50",
	},
	{
		"digest: also of who is not present", "grouproto/repair.go", "./grouproto", "TestDigestIsOfThePresentAndOutlivesRetention",
		"return s.front(func(k Key) bool { _, ok := s.st.Member(k); return ok })",
		"return s.front(nil)",
	},
	{
		"digest: a difference means nothing", "grouproto/sync.go", "./grouproto", "TestDigests.*|TestOldMessages.*|TestRetention.*|TestInactive.*",
		"\t\ts.askForList(p)\n\t}\n}",
		"\t}\n}",
	},
	{
		"digest: of messages that retention dropped is lost", "grouproto/keep.go", "./grouproto", "TestDigestIsOfThePresentAndOutlivesRetention",
		"\t\tc.hint = k.id\n",
		"\t\t_ = k.id\n",
	},
	{
		"sync: not every six hours", "grouproto/sync.go", "./grouproto", "TestGaps.*|TestDigests.*|TestOperations.*|TestRemoval.*",
		"\t\ts.syncRandom(1)\n\t\ts.prune",
		"\t\ts.prune",
	},
	{
		"sync: not after a reconnection", "grouproto/sync.go", "./grouproto", "TestGaps.*|TestDigests.*|TestOperations.*|TestRemoval.*",
		"\t\ts.syncRandom(syncMembers)\n",
		"",
	},
	{
		"retention: no limit of time", "grouproto/keep.go", "./grouproto", "TestRetention.*|TestOldMessages.*|TestLimits",
		"if held && !tooMany && s.env.Now.Sub(k.received) < s.limits().Retention {",
		"if held && !tooMany {",
	},
	{
		"retention: no limit of messages", "grouproto/keep.go", "./grouproto", "TestRetention.*|TestOldMessages.*|TestLimits",
		"tooMany := s.main.position-s.main.first > uint64(s.limits().KeptMessages)",
		"tooMany := s.main.position-s.main.first > uint64(s.limits().KeptMessages)<<20",
	},
	{
		"pause: a full queue changes nothing", "grouproto/step.go", "./grouproto", "TestFullQueue.*|TestSilent.*|TestInactive.*|TestPaused.*|TestMemberDoesNot.*|TestAttackAskingW.*",
		"\t\t\t\ts.pause(p, ReasonQuota)\n",
		"\t\t\t\ts.touch(p)\n",
	},
	{
		"pause: messages go on", "grouproto/fanout.go", "./grouproto", "TestFullQueue.*|TestSilent.*|TestInactive.*|TestPaused.*|TestMemberDoesNot.*|TestAttackAskingW.*",
		"!p.ended() && p.paused == ReasonNone && len(p.window)",
		"!p.ended() && len(p.window)",
	},
	{
		"pause: who was silent for three weeks gets everything", "grouproto/fanout.go", "./grouproto", "TestFullQueue.*|TestSilent.*|TestInactive.*|TestPaused.*|TestMemberDoesNot.*|TestAttackAskingW.*",
		"\t\t\ts.pause(p, ReasonInactive)\n",
		"",
	},
	{
		"resume: who reads again hears nothing of what it missed", "grouproto/fanout.go", "./grouproto", "TestFullQueueIsToldOfWhatThereIs",
		"\tif s.main.status == StatusMember {\n\t\ts.postOwnFront(p)\n\t\ts.receiptWanted(p)\n\t\ts.forwardHeld(p)",
		"\tif s.main.status == StatusMember {\n\t\ts.receiptWanted(p)\n\t\ts.forwardHeld(p)",
	},
	{
		"resume: a full queue is not looked at again", "grouproto/fanout.go", "./grouproto", "TestFullQueueIsToldOfWhatThereIs",
		"\t\t\t\ts.postOwnFront(p)\n\t\t\t\tp.paused = ReasonQuota",
		"\t\t\t\tp.paused = ReasonQuota",
	},
	{
		"fan-out: in the order of the keys", "grouproto/fanout.go", "./grouproto", "TestFanOutHasNoOrder",
		"\t\torder[i], order[j] = order[j], order[i]\n",
		"\t\t_ = j\n",
	},
	{
		"fan-out: to who is not present", "grouproto/fanout.go", "./grouproto", "TestRemovedMemberIsSentNothing",
		"p.next < s.main.next && !p.ended() &&",
		"p.next < s.main.next &&",
	},
	{
		"fan-out: no window", "grouproto/fanout.go", "./grouproto", "TestConnectionHoldsFewMessages",
		"&& len(p.window) < windowSize &&",
		"&&",
	},
	{
		"fan-out: nobody is told that one failed", "grouproto/fanout.go", "./grouproto", "TestFullQueue.*|TestBroken.*|TestOneMessage.*|TestGivenUp.*|TestDirect.*|TestRemoved.*",
		"\ts.notice(MessageFailed{Member: p.key, Range: r, Reason: why})\n",
		"",
	},
	{
		"receipts: at once", "grouproto/receipts.go", "./grouproto", "TestReceipt.*",
		"return max(rideTime, time.Duration(g.st.Len())*200*time.Millisecond)",
		"return 0",
	},
	{
		"receipts: in groups of any size", "grouproto/receipts.go", "./grouproto", "TestReceipt.*",
		"\treturn g.st.Len() <= most\n",
		"\treturn most > 0\n",
	},
	{
		"receipts: what is missing counts", "grouproto/receipts.go", "./grouproto", "TestReceiptsSayWhatIsMissing",
		"\t\tf.UpTo, f.Missing = c.receipt()\n",
		"\t\tf.UpTo, _ = c.receipt()\n",
	},
	{
		"receipts: of messages that were not written", "grouproto/receipts.go", "./grouproto", "TestReceiptsSayWhatIsMissing",
		"\tupTo := min(f.UpTo, s.main.next)\n",
		"\tupTo := f.UpTo\n",
	},
	{
		"receipts: go back", "grouproto/receipts.go", "./grouproto", "TestReceiptsSayWhatIsMissing",
		" || upTo < p.delivered {",
		" {",
	},
}
