package oplog

// Version is the highest version of operations that this program can write and judge.
func Version() uint16 { return opVersion }

// Option says how a Log is to be made or loaded.
type Option func(*Log)

// Judging makes a Log judge operations of versions up to one, as if their content were that of version 1. It is for
// tests of what happens where programs of different versions meet; without it a Log judges what Version tells.
func Judging(version uint16) Option { return func(l *Log) { l.known = version } }
