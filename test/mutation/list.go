package main

import "slices"

// mutations are bugs that somebody could make, at least one in each rule whose loss would matter.
var mutations = slices.Concat(
	oplogMutations, joinMutations, pairMutations, messageMutations, memberMutations, agentMutations, relayMutations,
)
