package main

// pairMutations are bugs in pair connections: hellos, offers, and which frames count when.
var pairMutations = []mutation{
	{
		"hello: signature not checked", "grouproto/pair.go", "./grouproto", "TestAttackHellos.*|TestHelloIs.*",
		"!h.Range.overlaps(ownVersions) || !h.verify(from, binding) {",
		"!h.Range.overlaps(ownVersions) {",
	},
	{
		"hello: side not signed", "grouproto/hello.go", "./grouproto", "TestAttackHellos.*|TestHelloIs.*",
		"text := append(wire.AppendStr8(nil, []byte(labelHello)), byte(s))",
		"text := append(wire.AppendStr8(nil, []byte(labelHello)), byte(sideJoiner))",
	},
	{
		"hello: binding not signed", "grouproto/hello.go", "./grouproto", "TestAttackHellos.*|TestHelloIs.*",
		"return append(append(text, binding[:]...), unsigned...)",
		"return append(text, unsigned...)",
	},
	{
		"hello: attempt not compared", "grouproto/pair.go", "./grouproto", "TestAttackHellos.*|TestHelloIs.*",
		" || h.Attempt != c.attempt ||",
		" ||",
	},
	{
		"hello: sender's key not compared", "grouproto/pair.go", "./grouproto", "TestAttackHellos.*|TestHelloIs.*",
		" || h.From != p.key ||",
		" ||",
	},
	{
		"hello: receiver's key not compared", "grouproto/pair.go", "./grouproto", "TestAttackHellos.*|TestHelloIs.*",
		" || h.To != s.self ||",
		" ||",
	},
	{
		"hello: group not compared", "grouproto/pair.go", "./grouproto", "TestAttackHellos.*|TestHelloIs.*",
		"h.Group != s.id || ",
		"",
	},
	{
		"frames are taken before a good hello", "grouproto/receive.go", "./grouproto", "",
		"if c.state < connAllowed || c.state == connJoined {",
		"if c.state < connMaking {",
	},
	{
		"offer: attempt not compared", "grouproto/forward.go", "./grouproto", "TestOfferCountsOnce",
		" || !stands && o.Attempt <= p.attempt {",
		" {",
	},
	{
		"offer: expiry ignored", "grouproto/forward.go", "./grouproto", "TestAttackOffer.*|TestAttackAnOffer.*|TestStolenRequests.*|TestForged.*|TestJoin.*|TestMemberThat.*|TestBothEndsOffer|TestAnyMessageOfAJoin.*",
		"|| s.due(unix(o.Expiry)) || !s.alive() {",
		"|| !s.alive() {",
	},
	{
		"offer: signature not checked", "grouproto/forward.go", "./grouproto", "TestAttackOffer.*|TestAttackAnOffer.*|TestStolenRequests.*|TestForged.*|TestJoin.*|TestMemberThat.*|TestBothEndsOffer|TestAnyMessageOfAJoin.*",
		"\tif !o.verify(s.id) {\n\t\ts.warn(WarnHello, via.key) //",
		"\tif false {\n\t\ts.warn(WarnHello, via.key) //",
	},
	{
		"offer: group not signed", "grouproto/hello.go", "./grouproto", "TestOfferIsGoodForOneGroupOnly",
		"append(wire.AppendStr8(nil, []byte(labelOffer)), group[:]...)",
		"append(wire.AppendStr8(nil, []byte(labelOffer)), make([]byte, len(group))...)",
	},
	{
		"offer: of somebody else is passed on", "grouproto/forward.go", "./grouproto", "TestAttackOffer.*|TestAttackAnOffer.*|TestStolenRequests.*|TestForged.*|TestJoin.*|TestMemberThat.*|TestBothEndsOffer|TestAnyMessageOfAJoin.*",
		"case o.Initiator != from.key || s.due(unix(o.Expiry)):",
		"case s.due(unix(o.Expiry)):",
	},
	{
		"offer: both stand", "grouproto/forward.go", "./grouproto", "TestAttackOffer.*|TestAttackAnOffer.*|TestStolenRequests.*|TestForged.*|TestJoin.*|TestMemberThat.*|TestBothEndsOffer|TestAnyMessageOfAJoin.*",
		"stands := c != nil && s.self.Compare(p.key) < 0 && s.initiates(p)",
		"stands := c == nil && s.self.Compare(p.key) < 0 && s.initiates(p)",
	},
	{
		"offer: not repeated at T1", "grouproto/pair.go", "./grouproto", "TestAttackOffer.*|TestAttackAnOffer.*|TestStolenRequests.*|TestForged.*|TestJoin.*|TestMemberThat.*|TestBothEndsOffer|TestAnyMessageOfAJoin.*",
		"\t\t\tc.routed = false\n\t\t\tp.retryAt = time.Time{}\n\t\t\ts.wait(p, ReasonNoAnswer)",
		"\t\t\tp.retryAt = time.Time{}\n\t\t\ts.wait(p, ReasonNoAnswer)",
	},
	{
		"unfinished operations are not asked for after a restart", "grouproto/group.go", "./grouproto", "TestUnfinishedOperationsAreAskedForAgain",
		"\ts.pending()\n",
		"",
	},
	{
		"old connection is deleted when the new one is joined", "grouproto/forward.go", "./grouproto", "",
		"\ts.addConn(p, c)\n\ts.counts.Confirmations++",
		"\tfor len(p.conns) > 0 {\n\t\ts.dropConn(p, p.conns[0])\n\t}\n\ts.addConn(p, c)\n\ts.counts.Confirmations++",
	},
	{
		"offer: the one that stands is not made again", "grouproto/forward.go", "./grouproto", "TestAttackOffer.*|TestAttackAnOffer.*|TestStolenRequests.*|TestForged.*|TestJoin.*|TestMemberThat.*|TestBothEndsOffer|TestAnyMessageOfAJoin.*",
		"\t\ts.outbid(p, c, o.Attempt)\n",
		"",
	},
	{
		"G_NEED: not over a connection that was joined", "grouproto/forward.go", "./grouproto", "TestQuestion.*|TestRepairHelps.*|TestHello.*|TestStolen.*|TestJoin.*",
		"if p.sendable() == nil || p.lastRoute == p.key ||",
		"if p.ready() == nil || p.lastRoute == p.key ||",
	},
	{
		"hello: a second confirmation replaces the first", "grouproto/pair.go", "./grouproto", "TestSecondConfirmationChangesNothing",
		"\tif c.state != connOffered {\n\t\treturn // repeated",
		"\tif p == nil {\n\t\treturn // repeated",
	},
	{
		"hello: versions not compared", "grouproto/pair.go", "./grouproto", "TestAttackHellos.*|TestSomebodyInTheMiddle.*|TestHelloIs.*",
		"\t\t!h.Range.overlaps(ownVersions) || !h.verify(from, binding) {",
		"\t\t!h.verify(from, binding) {",
	},
	{
		"hello: over a new ratchet not checked", "grouproto/rebind.go", "./grouproto", "TestRatchet.*|TestNewRatchet.*|TestNothingBeforeTheHello|TestHelloIs.*",
		"\tif !s.helloGood(p, c, b.side.other().hello(), b.binding, frames[0]) {",
		"\tif len(frames[0]) == 0 {",
	},
	{
		"hello: over a new ratchet not said", "grouproto/rebind.go", "./grouproto", "TestRatchet.*|TestNewRatchet.*|TestNothingBeforeTheHello|TestHelloIs.*",
		"\ts.sayHello(p, c)\n}\n\n// sayHello says",
		"}\n\n// sayHello says",
	},
	{
		"hello: bad, and nobody is warned", "grouproto/pair.go", "./grouproto", "TestAttackHellos.*|TestSomebodyInTheMiddle.*|TestHelloIs.*",
		"\ts.dropConn(p, c)\n\ts.warn(WarnHello, p.key)\n",
		"\ts.dropConn(p, c)\n",
	},
	{
		"hello: bad, and the connection stays", "grouproto/pair.go", "./grouproto", "TestBadHelloEndsItsRequest",
		"\ts.dropConn(p, c)\n\ts.warn(WarnHello, p.key)\n",
		"\ts.warn(WarnHello, p.key)\n",
	},
	{
		"pair: both offer", "grouproto/pair.go", "./grouproto", "TestOneOfAPairOffers",
		"\tcase g.log.InPast(own.Added, other.Added):\n\t\treturn false\n",
		"\tcase g.log.InPast(own.Added, other.Added):\n\t\treturn true\n",
	},
	{
		"pair: attempt goes back", "grouproto/pair.go", "./grouproto", "TestAttemptsGoUpWhenTheClockGoesBack",
		"p.attempt = max(p.attempt+1, uint32(s.env.Now.Unix()))",
		"p.attempt = uint32(s.env.Now.Unix())",
	},
	{
		"pair: no limit of attempts in a day", "grouproto/pair.go", "./grouproto", "TestOffersOfADay|TestAtMostTwenty.*|TestAttackOffersWithout.*",
		"if s.attempts(p) >= MaxAttempts {",
		"if s.attempts(p) >= MaxAttempts<<8 {",
	},
	{
		"pair: no limit of offers joined in a day", "grouproto/forward.go", "./grouproto", "TestOffersOfADay|TestAtMostTwenty.*|TestAttackOffersWithout.*",
		"if s.attempts(p) >= 2*MaxAttempts {",
		"if s.attempts(p) >= MaxAttempts<<8 {",
	},
	{
		"pair: no limit of open pairs", "grouproto/pair.go", "./grouproto", "TestOffersOfADay|TestAtMostTwenty.*|TestAttackOffersWithout.*",
		"if open+n > MaxOpenPairs {",
		"if open+n > MaxOpenPairs<<8 {",
	},
	{
		"pair: replaced more than once an hour", "grouproto/pair.go", "./grouproto", "TestConnectionIsReplacedOnceAnHour",
		"if len(p.conns) > 0 && s.env.Now.Before(p.replacedAt.Add(replaceEvery)) {",
		"if false {",
	},
	{
		"pair: GREPAIR more than once an hour", "grouproto/pair.go", "./grouproto", "TestRepair.*|TestOffersOfADay|TestQuestion.*",
		"if s.env.Now.Before(p.replacedAt.Add(replaceEvery)) && len(p.conns) > 0 {",
		"if false {",
	},
	{
		"pair: a replaced connection is kept for ever", "grouproto/pair.go", "./grouproto", "TestBroken.*|TestDeaf.*|TestPair.*|TestMember.*|TestJoinCompletes.*",
		"\t\t\told.until = s.env.Now.Add(oldKept)\n",
		"",
	},
	{
		"pair: a broken connection is not replaced", "grouproto/pair.go", "./grouproto", "TestBroken.*|TestDeaf.*|TestPair.*|TestMember.*|TestJoinCompletes.*",
		"\tp.connected = false\n\ts.wait(p, why)\n\tp.retryAt, p.retryWait = s.env.Now, 0\n",
		"\tp.connected = false\n",
	},
	{
		"pair: R0 and R2 ask nobody", "grouproto/pair.go", "./grouproto", "TestBroken.*|TestDeaf.*|TestPair.*|TestMember.*|TestJoinCompletes.*",
		"\t\t\ts.need(p)\n\t\t\ts.syncWhileWaiting()",
		"\t\t\ts.syncWhileWaiting()",
	},
	{
		"pair: while it waits the group is not read", "grouproto/pair.go", "./grouproto", "TestGroupIsReadWhileAPairWaits",
		"\t\t\ts.need(p)\n\t\t\ts.syncWhileWaiting()",
		"\t\t\ts.need(p)",
	},
	{
		"offer: own expiry ignored", "grouproto/pair.go", "./grouproto", "TestRequestStandsForAWeek",
		"case c != nil && c.state == connOffered && s.due(c.expiry):",
		"case c != nil && c.state == connOffered && s.due(c.expiry.Add(c.expiry.Sub(time.Time{}))):",
	},
	{
		"offer: for a week and ten", "grouproto/types.go", "./grouproto", "TestRequestStandsForAWeek",
		"OfferExpiry      = 7 * 24 * time.Hour",
		"OfferExpiry      = 17 * 24 * time.Hour",
	},
	{
		"offer: of who is not present is joined", "grouproto/forward.go", "./grouproto", "TestOfferOfARemovedMember",
		"if p == nil || p.ended() || s.due(unix(o.Expiry)) || !s.alive() {",
		"if p == nil || s.due(unix(o.Expiry)) || !s.alive() {",
	},
	{
		"offer: passed on to who is not present", "grouproto/forward.go", "./grouproto", "TestOfferIsPassedOn",
		"case q == nil || q.ended() || !s.mayRelay(from):",
		"case q == nil || !s.mayRelay(from):",
	},
	{
		"offer: forged ones are passed on", "grouproto/forward.go", "./grouproto", "TestForged.*|TestAttackWarn.*",
		"\t\tcase !o.verify(s.id):\n\t\t\ts.warn(WarnHello, from.key) //",
		"\t\tcase false:\n\t\t\ts.warn(WarnHello, from.key) //",
	},
	{
		"offer: expired ones that were held are passed on", "grouproto/forward.go", "./grouproto", "TestOfferThatExpiredWhileItWaited",
		"if from != nil && !from.ended() && !s.due(unix(h.offer.Expiry)) {",
		"if from != nil && !from.ended() {",
	},
	{
		"offer: no limit of those held", "grouproto/forward.go", "./grouproto", "TestAttackOffersOfStrangers.*|TestLimit.*",
		"if n >= MaxHeldOffers || len(s.held) >= 16*MaxHeldOffers {",
		"if n >= MaxHeldOffers<<10 {",
	},
	{
		"offer: passed on without what its add needs", "grouproto/forward.go", "./grouproto", "TestOfferIsPassedOn",
		"\t\tf.Ops = append(f.Ops, op)\n\t}\n\tif m.Added",
		"\t}\n\tif m.Added",
	},
	{
		"offer: held ones are forgotten when their add comes", "grouproto/forward.go", "./grouproto", "TestOfferBeforeTheAddOfItsInitiator",
		"\t\ts.offered(&h.offer, s.peers[h.offer.Initiator]) // it",
		"\t\t_ = h // it",
	},
	{
		"offer: not withdrawn for one with a smaller key", "grouproto/forward.go", "./grouproto", "TestOwnOfferIsWithdrawn",
		"\tfor ; c != nil; c = p.offering() {\n\t\ts.dropConn(p, c)\n\t}\n",
		"",
	},
	{
		"G_NEED: passed on again and again", "grouproto/forward.go", "./grouproto", "TestQuestionForAnOffer",
		"\t\tif f.Hops == 0 && f.Responder == from.key &&",
		"\t\tif f.Responder == from.key &&",
	},
	{
		"G_NEED: passed on for somebody else", "grouproto/forward.go", "./grouproto", "TestQuestionForAnOffer",
		"\t\tif f.Hops == 0 && f.Responder == from.key &&",
		"\t\tif f.Hops == 0 &&",
	},
	{
		"G_NEED: taken for somebody else", "grouproto/forward.go", "./grouproto", "TestQuestionForAnOffer",
		"p.ended() || f.Hops == 0 && f.Responder != from.key || !s.initiates(p) {",
		"p.ended() || !s.initiates(p) {",
	},
	{
		"G_NEED: answered by who does not offer", "grouproto/forward.go", "./grouproto", "TestQuestionForAnOffer",
		"p.ended() || f.Hops == 0 && f.Responder != from.key || !s.initiates(p) {",
		"p.ended() || f.Hops == 0 && f.Responder != from.key {",
	},
	{
		"G_NEED: ignored where the pair seems to work", "grouproto/forward.go", "./grouproto", "TestQuestion.*|TestRepairHelps.*|TestHello.*|TestStolen.*|TestJoin.*",
		"\tcase !s.env.Now.Before(p.replacedAt.Add(replaceEvery)):\n\t\tp.replace = true\n\t\tp.retryAt = s.env.Now\n",
		"\tcase !s.env.Now.Before(p.replacedAt.Add(replaceEvery)):\n",
	},
	{
		"place: who was removed may say all", "grouproto/receive.go", "./grouproto", "TestRemoved.*|TestLetters.*|TestUnusable.*|TestAttack.*",
		"\tcase p.ended() && s.wasMember(p.key):\n\t\treturn onLeft",
		"\tcase p.ended() && s.wasMember(p.key):\n\t\treturn onReady",
	},
	{
		"place: who never was a member may say as much as one who left", "grouproto/receive.go", "./grouproto", "TestMessageOfWhoNeverWasAMember",
		"\tcase p.ended():\n\t\treturn onEnded\n\tdefault:",
		"\tcase p.ended():\n\t\treturn onLeft\n\tdefault:",
	},
	{
		"place: delayed frames come from anywhere", "grouproto/limits.go", "./grouproto", "TestDelayedFramesAfterTheOwnRemoval",
		"if err == nil && d.frame != nil && d.tag.row().at&s.where(p) != 0 {",
		"if err == nil && d.frame != nil {",
	},
	{
		"frames: no rate", "grouproto/receive.go", "./grouproto", "TestFlood.*",
		"if p.delayed > 0 || !p.frames.take(s.env.Now, 1, peerBurst, peerRate) {",
		"if p.delayed > 0 {",
	},
	{
		"frames: delayed ones are overtaken", "grouproto/receive.go", "./grouproto", "TestDelayedFramesAreNotOvertaken",
		"if p.delayed > 0 || !p.frames.take(",
		"if !p.frames.take(",
	},
	{
		"frames: no limit of delayed ones", "grouproto/limits.go", "./grouproto", "TestFlood.*",
		"if p.delayed >= mostDelayed {",
		"if p.delayed >= mostDelayed<<10 {",
	},
}
