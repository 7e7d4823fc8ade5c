package oplog

// Version is the highest version of operations that this program can write and judge.
func Version() uint16 { return opVersion }
