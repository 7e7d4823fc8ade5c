package main

import "slices"

// mutations are bugs that somebody could make, one from each rule whose loss would matter.
var mutations = slices.Concat(oplogMutations, groupMutations, agentMutations, relayMutations)
