package main

// oplogMutations are bugs in the rules of operations and state (docs/groups.md, "Operations" to "What it gives").
var oplogMutations = []mutation{
	{
		"operation: permission not checked", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\tif !policy.granted(own, author, a) && !(policy",
		"\tif !policy.granted(own, author, a) && own > Owner && !(policy",
	},
	{
		"operation: taken from who is no member", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\tif !ok {\n\t\treturn ReasonAuthor\n\t}",
		"\tif !ok && again {\n\t\treturn ReasonAuthor\n\t}",
	},
	{
		"operation: seq not checked", "grouproto/oplog/admit.go", "./grouproto/oplog", "",
		"\tif op.Seq != l.nextSeq(op.Author, x.past) {",
		"\tif op.Seq > l.nextSeq(op.Author, x.past)+1<<40 {",
	},
	{
		"operation: implied parents are taken", "grouproto/oplog/admit.go", "./grouproto/oplog", "",
		"\t\t\tif l.nodes[j].past.has(i) {",
		"\t\t\tif i < 0 && l.nodes[j].past.has(i) {",
	},
	{
		"V1 skipped", "grouproto/oplog/void.go", "./grouproto/oplog", "",
		"\t\tif s.has(y) && !decided.has(y) {",
		"\t\tif i < 0 && s.has(y) && !decided.has(y) {",
	},
	{
		"V2 skipped", "grouproto/oplog/void.go", "./grouproto/oplog", "",
		"\tif !l.viewDiffers(x, decided) {",
		"\tif !l.viewDiffers(x, decided) || i >= 0 {",
	},
	{
		"V1 by an operation that is void itself", "grouproto/oplog/void.go", "./grouproto/oplog", "",
		"\t\tif s.has(y) && !decided.has(y) {",
		"\t\tif s.has(y) {",
	},
	{
		"rank: the longer path is higher", "grouproto/oplog/rank.go", "./grouproto/oplog", "",
		"cmp.Compare(b.len(), a.len()); c != 0",
		"cmp.Compare(a.len(), b.len()); c != 0",
	},
	{
		"rank: no tie-break by ID", "grouproto/oplog/rank.go", "./grouproto/oplog", "",
		"\treturn b.id.Compare(a.id)\n",
		"\treturn 0\n",
	},
	{
		"opsVersion ignored when writing", "grouproto/oplog/unjudged.go", "./grouproto/oplog ./grouproto", "",
		"return l.state.policy.OpsVersion > l.known }",
		"return l.state.policy.OpsVersion == 0 }",
	},
	{
		"operation: signature not checked", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"if op.Verify() != nil {",
		"if op.Seq > 1<<40 && op.Verify() != nil {",
	},
	{
		"operation: group not compared", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"if op.Group != l.Group() {",
		"if op.Seq > 1<<40 && op.Group != l.Group() {",
	},
	{
		"operation: author's key of small order", "grouproto/oplog/op.go", "./grouproto/oplog", "",
		"if SmallOrder(op.Author) || !ed25519",
		"if !ed25519",
	},
	{
		"operation: what follows a refused one waits", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"if _, refused := l.waiting.refused[p]; refused {",
		"if _, refused := l.waiting.refused[p]; refused && op.Seq > 1<<40 {",
	},
	{
		"operation: of a version that its past does not accept", "grouproto/oplog/admit.go", "./grouproto/oplog", "",
		"\tif op.version > st.policy.OpsVersion {\n\t\treturn nil, nil, ReasonVersion",
		"\tif op.version > st.policy.OpsVersion+9 {\n\t\treturn nil, nil, ReasonVersion",
	},
	{
		"operation: parents twice", "grouproto/oplog/op.go", "./grouproto/oplog", "",
		"if ids[i-1].Compare(ids[i]) >= 0 {",
		"if ids[i-1].Compare(ids[i]) > 0 {",
	},
	{
		"operation: seq of the latest branch only", "grouproto/oplog/admit.go", "./grouproto/oplog", "",
		"\t\tnext = max(next, l.nodes[i].op.Seq+1)\n",
		"\t\tnext = l.nodes[i].op.Seq + 1\n",
	},
	{
		"operation: admitted after the end of the group", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\tif f.isClosed() {\n",
		"\tif again && f.isClosed() {\n",
	},
	{
		"add: role above the author's", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\t\tif a.Role > own {\n\t\t\treturn ReasonTarget\n\t\t}\n\tcase *Remove:",
		"\t\tif a.Role > Owner {\n\t\t\treturn ReasonTarget\n\t\t}\n\tcase *Remove:",
	},
	{
		"add: of a key that was added before", "grouproto/oplog/state.go", "./grouproto/oplog", "",
		"\t\t\tif s.known.has(i) {\n\t\t\t\treturn ReasonAdded",
		"\t\t\tif i < 0 && s.known.has(i) {\n\t\t\t\treturn ReasonAdded",
	},
	{
		"add: of who made the group", "grouproto/oplog/state.go", "./grouproto/oplog", "",
		"\t\tif add.Member == s.l.nodes[0].op.Author {",
		"\t\tif len(s.l.nodes) < 0 && add.Member == s.l.nodes[0].op.Author {",
	},
	{
		"add: 1,001 members", "grouproto/oplog/state.go", "./grouproto/oplog", "",
		"if len(s.members) >= MaxMembers {",
		"if len(s.members) > MaxMembers {",
	},
	{
		"remove: oneself", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"if m.Member == author || !known && !again ||",
		"if !known && !again ||",
	},
	{
		"remove: somebody unknown", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"|| !known && !again || known && !policy.Reach.within(own, role) {",
		"|| known && !policy.Reach.within(own, role) {",
	},
	{
		"remove: reach not checked", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		" || known && !policy.Reach.within(own, role) {",
		" || known && role > Owner {",
	},
	{
		"remove: who has left is unknown", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\t\t\tif !known && !again {\n\t\t\t\trole, known = left(m.Member)\n\t\t\t}\n",
		"",
	},
	{
		"remove: hiding takes no permission of its own", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"return []Permission{PermRemove, PermHide}",
		"return []Permission{PermRemove}",
	},
	{
		"remove: the last cut counts", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"r.Cut = max(r.Cut, m.Cut)",
		"r.Cut = m.Cut",
	},
	{
		"remove: the last flag to hide counts", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"r.Hide = r.Hide || a.Hide",
		"r.Hide = a.Hide",
	},
	{
		"reach: lower roles include equal ones", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\t\treturn target < own\n",
		"\t\treturn target <= own\n",
	},
	{
		"reach: any role", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\t\treturn target <= own\n",
		"\t\treturn target <= Owner\n",
	},
	{
		"role: above the author's", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"if a.Role > own || !present && !again ||",
		"if !present && !again ||",
	},
	{
		"role: of somebody above the author", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"present && (role > own || !policy.Reach.within(own, role)) {",
		"present && !policy.Reach.within(own, role) {",
	},
	{
		"role: reach not checked", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"present && (role > own || !policy.Reach.within(own, role)) {",
		"present && role > own {",
	},
	{
		"role: of somebody who is not present", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"if a.Role > own || !present && !again || present",
		"if a.Role > own || present",
	},
	{
		"role: oneself to the same role", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\t\t\tif a.Role >= own {",
		"\t\t\tif a.Role > own {",
	},
	{
		"set: pins take no permission of their own", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"strings.HasPrefix(name, \"pin/\"):",
		"strings.HasPrefix(name, \"pins/\"):",
	},
	{
		"set: the title takes no permission of its own", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"name == \"title\" || name == \"about\"",
		"name == \"about\"",
	},
	{
		"owner: nobody stands in", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		" && !(policy.granted(Owner, author, a) && f.standsIn(author)) {",
		" {",
	},
	{
		"owner: everybody stands in", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"policy.granted(Owner, author, a) && f.standsIn(author)) {",
		"policy.granted(Owner, author, a)) {",
	},
	{
		"owner: the lowest stands in", "grouproto/oplog/state.go", "./grouproto/oplog", "",
		"if !s.deputy.any || m.Rank.higher(top) {",
		"if !s.deputy.any || top.higher(m.Rank) {",
	},
	{
		"owner: the lowest stands in when judged again", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"v.l.nodes[v.grant(other)].grants.higher(v.l.nodes[own].grants) {",
		"v.l.nodes[own].grants.higher(v.l.nodes[v.grant(other)].grants) {",
	},
	{
		"grant: the highest role is current", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"return x.grants.role < y.grants.role",
		"return x.grants.role > y.grants.role",
	},
	{
		"grant: of two the one of lower rank is current", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"\t\treturn c > 0\n\t}\n\treturn x.op.id.Compare(y.op.id) < 0",
		"\t\treturn c < 0\n\t}\n\treturn x.op.id.Compare(y.op.id) < 0",
	},
	{
		"grant: of two the greater ID is current", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"return x.op.id.Compare(y.op.id) < 0",
		"return x.op.id.Compare(y.op.id) > 0",
	},
	{
		"grant: one that another replaced is current", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"if !v.in(i) || found.has(i) {",
		"if !v.in(i) {",
	},
	{
		"setting: of the lower rank", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"c > 0 || c == 0 && x.op.id.Compare(y.op.id) > 0",
		"c < 0 || c == 0 && x.op.id.Compare(y.op.id) > 0",
	},
	{
		"setting: of two of one author the smaller ID", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"c > 0 || c == 0 && x.op.id.Compare(y.op.id) > 0",
		"c > 0 || c == 0 && x.op.id.Compare(y.op.id) < 0",
	},
	{
		"policy: the last level counts", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"p.Levels[what] = max(p.Levels[what], q.Levels[what])",
		"p.Levels[what] = q.Levels[what]",
	},
	{
		"policy: the last reach counts", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"p.Reach = max(p.Reach, q.Reach)",
		"p.Reach = q.Reach",
	},
	{
		"policy: the last version counts", "grouproto/oplog/view.go", "./grouproto/oplog", "TestPoliciesSideBySide",
		"p.OpsVersion = max(p.OpsVersion, q.OpsVersion)",
		"p.OpsVersion = q.OpsVersion",
	},
	{
		"closed: void closes count", "grouproto/oplog/state.go", "./grouproto/oplog", "",
		"\t\ts.closed = v.isClosed()",
		"\t\ts.closed = len(s.l.index.closes) > 0",
	},
	{
		"leave: can be void", "grouproto/oplog/view.go", "./grouproto/oplog", "",
		"\tcase *Genesis, *Leave:\n\t\treturn true",
		"\tcase *Genesis:\n\t\treturn true",
	},
	{
		"removal ends with a new role", "grouproto/oplog/state.go", "./grouproto/oplog", "",
		"\tok := grant >= 0 && !removed\n",
		"\t_, again := s.l.nodes[max(grant, 0)].op.Action.(*RoleChange)\n\tok := grant >= 0 && (!removed || again)\n",
	},
	{
		"V1: also by who has the lower rank", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"\treturn y.rank.higher(x.rank)\n",
		"\treturn true\n",
	},
	{
		"V1: also the removal's own author", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"if y.op.Author == author || x.unvoidable() {",
		"if x.unvoidable() {",
	},
	{
		"V1: every role change", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"if a.Member != author || x.policy.granted(a.Role, author, x.op.Action) {",
		"if a.Member != author {",
	},
	{
		"V1: no role change", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"if a.Member != author || x.policy.granted(a.Role, author, x.op.Action) {",
		"if true {",
	},
	{
		"V1: no policy", "grouproto/oplog/rules.go", "./grouproto/oplog", "",
		"if a.Policy.granted(x.rank.role, author, x.op.Action) {",
		"if true {",
	},
	{
		"V2: what is void above still counts", "grouproto/oplog/void.go", "./grouproto/oplog", "",
		"\t\t\treturn !decided.has(y)\n",
		"\t\t\treturn true\n",
	},
	{
		"V2: what was void below still counts", "grouproto/oplog/void.go", "./grouproto/oplog", "",
		"\t\treturn !x.void.has(y)\n",
		"\t\treturn true\n",
	},
	{
		"V2: a target that is gone is a failure", "grouproto/oplog/void.go", "./grouproto/oplog", "",
		"judge(v, nil, x.op.Author, x.op.Action)",
		"judge(v, func(Key) (Role, bool) { return 0, false }, x.op.Author, x.op.Action)",
	},
	{
		"rank: the role does not count", "grouproto/oplog/rank.go", "./grouproto/oplog", "",
		"if c := cmp.Compare(r.role, other.role); c != 0 {",
		"if c := cmp.Compare(r.role, other.role); c > 1 {",
	},
	{
		"rank: the later of two grants is higher", "grouproto/oplog/rank.go", "./grouproto/oplog", "",
		"cmp.Compare(b.seq, a.seq); c != 0",
		"cmp.Compare(a.seq, b.seq); c != 0",
	},
	{
		"rank: the last element of the path decides", "grouproto/oplog/rank.go", "./grouproto/oplog", "",
		"for a.up != b.up { //",
		"for a.depth < 0 { //",
	},
	{
		"parallel: no limit for an author's own", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"if r == ReasonNone && !vouched && l.tooParallel(op.Author, x.past) &&",
		"if r == ReasonNone && !vouched && op.Seq > 1<<40 &&",
	},
	{
		"parallel: also what others vouch for is refused", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"if r == ReasonNone && !vouched && l.tooParallel(op.Author, x.past) &&",
		"if r == ReasonNone && l.tooParallel(op.Author, x.past) &&",
	},
	{
		"parallel: also what others name is refused", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		" && !l.waiting.needed(op.id) {",
		" {",
	},
	{
		"parallel: nobody is told of an equivocation", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"if e, found := l.equivocation(i); found {",
		"if e, found := l.equivocation(i); found && i < 0 {",
	},
	{
		"waiting: no limit for one member", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"if a.of[w.from] >= MaxWaitingOf {",
		"if a.of[w.from] >= MaxWaitingOf<<10 {",
	},
	{
		"waiting: what was dropped is not asked for", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"\ta.dropped = append(a.dropped, w.op.id)\n",
		"",
	},
	{
		"refused for a wrong signature for ever", "grouproto/oplog/waiting.go", "./grouproto/oplog", "",
		"case ReasonNone, ReasonSignature, ReasonParallel,",
		"case ReasonNone, ReasonParallel,",
	},
	{
		"full: written into a full log", "grouproto/oplog/build.go", "./grouproto/oplog", "",
		"if len(l.nodes) >= MaxOps && !always(action) {",
		"if len(l.nodes) >= MaxOps<<1 && !always(action) {",
	},
	{
		"full: nobody can be removed", "grouproto/oplog/build.go", "./grouproto/oplog", "TestNothingIsWrittenIntoAFullGroup",
		"\tcase *Remove, *Leave, *Close:\n\t\treturn true",
		"\tcase *Leave, *Close:\n\t\treturn true",
	},
	{
		"parents: the own last operation is left out", "grouproto/oplog/build.go", "./grouproto/oplog", "",
		"\t\tif len(chosen) < MaxParents && !slices.ContainsFunc(chosen, implies) {",
		"\t\tif false && !slices.ContainsFunc(chosen, implies) {",
	},
	{
		"time: not rounded", "grouproto/oplog/build.go", "./grouproto/oplog", "",
		"\treturn seconds - r\n",
		"\treturn seconds\n",
	},
	{
		"contest: after the removal", "grouproto/oplog/build.go", "./grouproto/oplog", "",
		"func(r int32) bool { return i == r || l.nodes[i].past.has(r) })",
		"func(r int32) bool { return i != r && l.nodes[i].past.has(r) })",
	},
	{
		"contest: against a higher rank", "grouproto/oplog/build.go", "./grouproto/oplog", "",
		"if present && !member.Rank.higher(l.nodes[r].rank) {",
		"if present && l.Len() < 0 && !member.Rank.higher(l.nodes[r].rank) {",
	},
	{
		"contest: who has written since", "grouproto/oplog/build.go", "./grouproto/oplog", "",
		"\tif slices.ContainsFunc(l.index.authors[author], after) {",
		"\tif false && slices.ContainsFunc(l.index.authors[author], after) {",
	},
	{
		"state of a branch: without what its past made void", "grouproto/oplog/admit.go", "./grouproto/oplog", "",
		"if l.nodes[i].hits > 0 && !l.state.void.has(i) {",
		"if l.nodes[i].hits < 0 && !l.state.void.has(i) {",
	},
	{
		"state: what a new operation voids stays", "grouproto/oplog/admit.go", "./grouproto/oplog", "",
		"\t\tif !before.has(y) {\n\t\t\treturn l.voids(whole(len(l.nodes)))",
		"\t\tif y < 0 && !before.has(y) {\n\t\t\treturn l.voids(whole(len(l.nodes)))",
	},
	{
		"operations: a removed member writes without end", "grouproto/oplog/admit.go", "./grouproto/oplog", "",
		"\treturn late >= MaxLate\n",
		"\treturn late < 0\n",
	},
}
