package main

// joinMutations are bugs in joining a group, by invitation and by link, and in knocking.
var joinMutations = []mutation{
	{
		"token: used again with another key", "grouproto/invite.go", "./grouproto", "TestAcceptanceIs.*",
		"\t\tif i.member == f.Member {\n\t\t\ts.introduce(f)\n\t\t}\n\t\treturn",
		"\t\tif i.member == f.Member {\n\t\t\ts.introduce(f)\n\t\t\treturn\n\t\t}",
	},
	{
		"token: contact not compared", "grouproto/invite.go", "./grouproto", "TestTokenIsGoodForOneContactAndOneOffer",
		"if i == nil || i.contact != contact || s.main",
		"if i == nil || s.main",
	},
	{
		"card: hash not checked", "grouproto/forward.go", "./grouproto", "TestWrongCard.*",
		"\tif want := s.cardHashOf(k); want != ([32]byte{}) && want != cardHash(card) {",
		"\tif want := s.cardHashOf(k); want != ([32]byte{}) && len(card) > MaxCard {",
	},
	{
		"join: the log is not asked for", "grouproto/join.go", "./grouproto", "Test.*Log.*|TestAnyMessage.*|TestTwoMembersMeetAndTalk",
		"\t\ts.post(s.peers[s.main.inviter], &syncFrame{}, forSync, s.env.Now)\n",
		"",
	},
	{
		"invitation: a refusal is not taken", "grouproto/invite.go", "./grouproto", "TestInvitationCanBeRefusedWithdrawnAndExpire",
		"\t\tif f.Group == s.id && i != nil && i.contact == in.Contact",
		"\t\tif f.Group != s.id && i != nil && i.contact == in.Contact",
	},
	{
		"invitation: refused by another contact", "grouproto/invite.go", "./grouproto", "TestTokenIsGoodForOneContactAndOneOffer",
		"\t\tif f.Group == s.id && i != nil && i.contact == in.Contact &&",
		"\t\tif f.Group == s.id && i != nil &&",
	},
	{
		"invitation: answered after its expiry", "grouproto/invite.go", "./grouproto", "TestInvitationIsNotAcceptedAfterItsExpiry",
		"\tif s.due(i.expiry) {\n\t\treturn // told",
		"\tif false {\n\t\treturn // told",
	},
	{
		"invitation: offer of another key", "grouproto/invite.go", "./grouproto", "TestTokenIsGoodForOneContactAndOneOffer",
		"\t\to.Initiator != f.Member || o.Responder",
		"\t\to.Responder",
	},
	{
		"invitation: offer not checked before the add", "grouproto/invite.go", "./grouproto", "TestTokenIsGoodForOneContactAndOneOffer",
		"|| f.Member == s.self || !o.verify(s.id) {",
		"|| f.Member == s.self {",
	},
	{
		"invitation: role above the own", "grouproto/invite.go", "./grouproto", "TestInvitationsFollowTheRoles",
		"case !s.st.Has(s.self, oplog.PermAdd) || in.Role > self.Role:",
		"case !s.st.Has(s.self, oplog.PermAdd) || in.Role > self.Role+9:",
	},
	{
		"invitation: no limit of members", "grouproto/invite.go", "./grouproto", "TestInvitationCan.*|TestAcceptanceIs.*|TestRolesDecide.*|TestLimits",
		"case s.st.Len() >= s.limits().MaxMembers:",
		"case s.st.Len() >= s.limits().MaxMembers<<10:",
	},
	{
		"join: without the whole log", "grouproto/change.go", "./grouproto", "TestMemberOnlyWithTheWholeLog",
		"if s.log == nil || !s.main.logDone {",
		"if s.log == nil {",
	},
	{
		"join: inviter need not be present", "grouproto/change.go", "./grouproto", "TestNoMemberWithoutThePresentInviter",
		"if !self || !inviter {",
		"if !self || !inviter && s.log == nil {",
	},
	{
		"join: genesis of another group", "grouproto/ops.go", "./grouproto", "TestMemberOnlyWithTheWholeLog",
		"\t\t\tif op.ID() != s.id {\n\t\t\t\tcontinue",
		"\t\t\tif op.ID() == s.id && false {\n\t\t\t\tcontinue",
	},
	{
		"join: card of the inviter not checked against the log", "grouproto/change.go", "./grouproto", "TestInviterWithAnotherCardThanItsAdd",
		"\ts.checkCards()\n",
		"",
	},
	{
		"join: history is given up", "grouproto/change.go", "./grouproto", "TestJoin.*|TestAttack.*|TestWrongCard.*|TestHistory.*|TestTwoMembers.*",
		"\ts.openHistory()\n",
		"",
	},
	{
		"join: the log is lost when asked for again", "grouproto/join.go", "./grouproto", "Test.*Log.*|TestAnyMessage.*|TestTwoMembersMeetAndTalk",
		"\tcase p.logs.take(s.env.Now, 1, mostLogs, mostLogs/3600.0):\n\t\ts.sendLog(p, j)",
		"\tcase p.logs.take(s.env.Now, 1, mostLogs, mostLogs/3600.0):",
	},
	{
		"join: G_DONE is never said", "grouproto/join.go", "./grouproto", "Test.*Log.*|TestAnyMessage.*|TestTwoMembersMeetAndTalk",
		"\ts.post(p, &doneFrame{Forwarded: j.count}, forReports, s.env.Now.Add(rideTime))\n",
		"",
	},
	{
		"join: G_CON is never said", "grouproto/join.go", "./grouproto", "Test.*Log.*|TestAnyMessage.*|TestTwoMembersMeetAndTalk",
		"\t\ts.post(inviter, &conFrame{Pairs: part}, forReports, s.env.Now)\n",
		"\t\t_ = part\n",
	},
	{
		"join: adds that no offer carried are not spread", "grouproto/invite.go", "./grouproto", "TestJoin.*|TestAttack.*|TestWrongCard.*|TestHistory.*|TestTwoMembers.*",
		"\t\ts.main.spreadAt = s.env.Now.Add(spreadWait)\n",
		"",
	},
	{
		"knock: signature not checked", "grouproto/knock.go", "./grouproto", "Test.*Knock.*",
		"\treturn f.Op.Verify() == nil && f.verify()",
		"\treturn f.Op.Verify() == nil",
	},
	{
		"knock: add not checked", "grouproto/knock.go", "./grouproto", "Test.*Knock.*",
		"\treturn f.Op.Verify() == nil && f.verify()",
		"\treturn f.verify()",
	},
	{
		"knock: the creator's signature not checked", "grouproto/knock.go", "./grouproto", "Test.*Knock.*",
		"return f.Member == s.log.Creator() && f.verify()",
		"return f.Member == s.log.Creator()",
	},
	{
		"knock: add by anybody", "grouproto/knock.go", "./grouproto", "Test.*Knock.*",
		"|| f.Op.Group != s.id || !s.knows(f.Op.Author):",
		"|| f.Op.Group != s.id:",
	},
	{
		"knock: meant for another holder", "grouproto/knock.go", "./grouproto", "Test.*Knock.*",
		" || f.Holder != s.self || ",
		" || ",
	},
	{
		"knock: add of somebody else", "grouproto/knock.go", "./grouproto", "Test.*Knock.*",
		"case !ok || add.Member != f.Member || f.Op",
		"case !ok || add == nil || f.Op",
	},
	{
		"knock: who was removed is let in", "grouproto/knock.go", "./grouproto", "Test.*Knock.*",
		"if gone, ok := s.st.Removed(f.Member); ok {",
		"if gone, ok := s.st.Removed(f.Member); ok && len(gone.Ops) == 0 {",
	},
	{
		"knock: no limit in an hour", "grouproto/knock.go", "./grouproto", "TestKnocksOfAnHour",
		"!s.knocks.take(s.env.Now, 1, MaxRequestsHour, MaxRequestsHour/3600.0) {",
		"f.Group != s.id {",
	},
	{
		"link: password not compared", "grouproto/link.go", "./grouproto", "TestJoinByLinkPassword",
		"case rule == joinPassword && !samePassword(f.Password, password):",
		"case rule == joinPassword && len(password) == 0:",
	},
	{
		"link: off lets everybody in", "grouproto/link.go", "./grouproto", "TestJoinByLinkOff",
		"\tcase string(value) == \"off\":\n\t\treturn joinOff, nil",
		"\tcase string(value) == \"off\":\n\t\treturn joinOpen, nil",
	},
	{
		"link: a rule that is not known is open", "grouproto/link.go", "./grouproto", "TestJoinBy.*|TestAttack.*Request.*|TestAddress.*|TestAttack.*Holder.*",
		"\treturn joinApprove, nil\n}",
		"\treturn joinOpen, nil\n}",
	},
	{
		"link: holder without the right to add", "grouproto/link.go", "./grouproto", "TestHolderThatMayNotAddShowsNoRequests",
		"s.main.status == StatusMember && s.st.Has(s.self, oplog.PermAdd) && !s.st.Closed() {",
		"s.main.status == StatusMember && !s.st.Closed() {",
	},
	{
		"link: another group is asked for", "grouproto/link.go", "./grouproto", "TestJoinBy.*|TestAttack.*Request.*|TestAddress.*|TestAttack.*Holder.*",
		"if f.Group == s.id && s.main.status == StatusMember && s.st",
		"if s.main.status == StatusMember && s.st",
	},
	{
		"link: another card than the one that was shown", "grouproto/link.go", "./grouproto", "TestAttack.*Requests|TestAttackAnother.*|TestAttackAddress.*|TestAttackFloodOfRequests",
		"\t\tif cardHash(f.Card) != d.cardHash {",
		"\t\tif false {",
	},
	{
		"link: an address that somebody else published", "grouproto/link.go", "./grouproto", "TestAttack.*Requests|TestAttackAnother.*|TestAttackAddress.*|TestAttackFloodOfRequests",
		"if !ok || g.log.Op(by).Author != k {",
		"if !ok || by == (OpID{}) {",
	},
	{
		"link: observers become members", "grouproto/link.go", "./grouproto", "TestJoinBy.*|TestAttack.*Request.*|TestAddress.*|TestAttack.*Holder.*",
		"if string(value) == oplog.Observer.String() {",
		"if string(value) == \"\" {",
	},
	{
		"link: no limit of requests in an hour", "grouproto/link.go", "./grouproto", "TestAttack.*Requests|TestAttackAnother.*|TestAttackAddress.*|TestAttackFloodOfRequests",
		"case !s.asked.take(s.env.Now, 1, MaxRequestsHour, MaxRequestsHour/3600.0),",
		"case false,",
	},
	{
		"link: no limit of requests that wait", "grouproto/link.go", "./grouproto", "TestAttack.*Requests|TestAttackAnother.*|TestAttackAddress.*|TestAttackFloodOfRequests",
		"rule == joinApprove && len(s.requests) >= MaxRequests,",
		"rule == joinApprove && len(s.requests) >= MaxRequests<<10,",
	},
	{
		"link: two invitations are answered", "grouproto/ask.go", "./grouproto", "TestJoinBy.*|TestAttack.*Request.*|TestAddress.*|TestAttack.*Holder.*",
		"\tcase s.main.status != StatusAsking:\n\t\ts.sendDoor(d, &rejFrame{Group: s.id, Token: f.Token})",
		"\tcase s.main.status != StatusAsking && d.kind != doorAsk:\n\t\ts.sendDoor(d, &rejFrame{Group: s.id, Token: f.Token})",
	},
	{
		"letter: no limit of invitations to forks", "grouproto/letter.go", "./grouproto", "TestLetter.*|TestInvitationFlood.*",
		"ok = p.invites.take(s.env.Now, 1, inviteBurst, inviteRate)",
		"ok = true",
	},
}
