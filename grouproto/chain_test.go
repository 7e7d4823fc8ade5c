package grouproto

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestChainKeepsAccount compares a chain with a plain list of what is known about each number.
func TestChainKeepsAccount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const numbers = 24
		const unknown, missing, settled = 0, 1, 2
		c := &chain{}
		var model [numbers]int
		var why [numbers]uint8
		know := func(n uint64) {
			for i := range n + 1 {
				if model[i] == unknown {
					model[i] = missing
				}
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			from := rapid.Uint64Range(0, numbers-1).Draw(t, "from")
			to := rapid.Uint64Range(from, min(from+6, numbers-1)).Draw(t, "to")
			switch rapid.IntRange(0, 4).Draw(t, "act") {
			case 0:
				made := c.know(from)
				if made != (model[from] == unknown) {
					t.Fatalf("knowing %d made a gap: %v", from, made)
				}
				know(from)
			case 1:
				if c.missing(from) {
					c.settle(Range{from, from})
					know(from)
					model[from] = settled
				}
			case 2:
				w := rapid.Uint8Range(1, 3).Draw(t, "why")
				c.giveUp(Range{from, to}, w)
				for n := from; n <= to; n++ {
					if model[n] == missing {
						model[n], why[n] = settled, w
					}
				}
			case 3:
				if model[from] == settled && why[from] != 0 {
					c.appear(from)
					why[from] = 0
				}
			case 4:
				if model[from] == settled && why[from] == 0 {
					c.reopen(from)
					model[from] = missing
				}
			}
			back, err := decodeChain(Key{}, c.encode())
			if err != nil || !bytes.Equal(back.encode(), c.encode()) {
				t.Fatal("not read as it was written", err)
			}
			c = back
		}
		for n := range uint64(numbers) {
			if c.missing(n) != (model[n] != settled) {
				t.Fatalf("%d is missing: %v; gaps %v, top %d", n, c.missing(n), c.gaps, c.top)
			}
			if w, _ := c.absentAt(n); w != why[n] {
				t.Fatalf("%d is absent for %d, not %d: %v", n, w, why[n], c.absent)
			}
		}
		if !slices.IsSortedFunc(c.gaps, func(a, b Range) int { return int(a.To) - int(b.From) }) {
			t.Fatalf("gaps overlap: %v", c.gaps)
		}
		checkFront(t, c, model[:], why[:])
		checkReceipt(t, c, model[:], why[:])
	})
}

func checkFront(t *rapid.T, c *chain, model []int, why []uint8) {
	want, found := 0, false
	for n := range model {
		if model[n] != 2 {
			break
		}
		if why[n] != noneNotExisted {
			want, found = n, true
		}
	}
	own, ownFound, newest, newestFound := 0, false, 0, false
	whole := true
	for n := range model {
		whole = whole && model[n] == 2
		if model[n] == 2 && why[n] == 0 {
			newest, newestFound = n, true
			if whole {
				own, ownFound = n, true
			}
		}
	}
	if n, ok := c.ownFront(); ok != ownFound || ok && n != uint64(own) {
		t.Fatalf("the own front is %d %v, not %d %v", n, ok, own, ownFound)
	}
	if n, ok := c.newest(); ok != newestFound || ok && n != uint64(newest) {
		t.Fatalf("the newest is %d %v, not %d %v", n, ok, newest, newestFound)
	}
	if n, ok := c.front(); ok != found || ok && n != uint64(want) {
		t.Fatalf("front is %d %v, not %d %v", n, ok, want, found)
	}
}

func checkReceipt(t *rapid.T, c *chain, model []int, why []uint8) {
	have := func(n int) bool { return model[n] == 2 && (why[n] == 0 || why[n] == noneNotForYou) }
	last := -1
	for n := range model {
		if have(n) {
			last = n
		}
	}
	upTo, lacks := c.receipt()
	if upTo != uint64(last+1) {
		t.Fatalf("the receipt goes up to %d, not %d", upTo, last+1)
	}
	for n := range last + 1 {
		in := slices.ContainsFunc(lacks, func(r Range) bool { return r.From <= uint64(n) && uint64(n) <= r.To })
		want := !have(n) && why[n] != noneNotExisted
		if in != want {
			t.Fatalf("the receipt lacks %d: %v; %v", n, in, lacks)
		}
	}
}

func TestChainIsBounded(t *testing.T) {
	c := &chain{author: Key{1}}
	for n := range uint64(10 * maxGaps) {
		c.settle(Range{2 * n, 2 * n})
		c.refer(2*n + 1)
		c.fix(2*n+1, [32]byte{byte(n)})
	}
	for n := range uint64(10 * maxAbsent) {
		c.know(10_000 + 3*n)
		c.giveUp(Range{10_000 + 3*n, 10_000 + 3*n}, uint8(1+n%2))
	}
	if len(c.gaps) > maxGaps || len(c.absent) > maxAbsent || len(c.fixed) > maxFixed || len(c.refs) > maxRefs {
		t.Errorf("%d gaps, %d absences, %d hashes, %d references", len(c.gaps), len(c.absent), len(c.fixed), len(c.refs))
	}
	if h, ok := c.fixedHash(20*maxGaps - 1); !ok || h[0] != byte((10*maxGaps-1)&0xff) {
		t.Error("the newest hash was forgotten")
	}
	c.unfix(20*maxGaps - 1)
	if _, ok := c.fixedHash(20*maxGaps - 1); ok {
		t.Error("a hash was not forgotten")
	}
	if c.know(^uint64(0)) {
		t.Error("a number after which none can follow")
	}
}

func TestReceiptGoesUpToWhatHasCome(t *testing.T) {
	c := &chain{}
	c.settle(Range{0, 3})
	c.know(1000)
	c.giveUp(Range{4, 1000}, noneNotExisted) // somebody made numbers up
	if upTo, missing := c.receipt(); upTo != 4 || len(missing) != 0 {
		t.Errorf("up to %d, missing %v", upTo, missing)
	}
	c.appear(4)
	if upTo, _ := c.receipt(); upTo != 5 {
		t.Errorf("up to %d", upTo)
	}
	c.know(1001)
	if upTo, _ := c.receipt(); upTo != 5 {
		t.Errorf("up to %d", upTo)
	}
}

func TestWhatWasGivenUpIsLookedForAgain(t *testing.T) {
	c := &chain{}
	c.settle(Range{0, 9})
	c.reopen(5)
	c.know(20)
	c.giveUp(Range{4, 15}, noneNotKept)
	c.giveUp(Range{16, 18}, noneNotForYou)
	c.giveUp(Range{19, 19}, saidNotForYou)
	if c, err := decodeChain(c.author, c.encode()); err != nil || !c.lookAgain(noneNotKept) || c.lookAgain(noneNotKept) {
		t.Error("not looked for once")
	} else if want := []Range{{5, 5}, {10, 15}, {20, 20}}; !slices.Equal(c.gaps, want) {
		t.Errorf("gaps %v, want %v", c.gaps, want)
	}
	if !c.lookAgain(noneNotKept, saidNotForYou) {
		t.Error("nothing to look for")
	}
	if want := []Range{{5, 5}, {10, 15}, {19, 19}, {20, 20}}; !slices.Equal(c.gaps, want) {
		t.Errorf("gaps %v, want %v", c.gaps, want)
	}
}

func TestDamagedChainIsNoticed(t *testing.T) {
	c := &chain{author: Key{1}, fixed: []MessageID{{Key{1}, 1, [32]byte{}}}, refs: []uint64{1}}
	c.settle(Range{4, 5})
	b := c.encode()
	for n := range b {
		if _, err := decodeChain(c.author, b[:n]); !errors.Is(err, ErrRecords) {
			t.Fatalf("%d of %d bytes were taken", n, len(b))
		}
	}
}

func FuzzChain(f *testing.F) {
	c := &chain{fixed: []MessageID{{Number: 1}}, refs: []uint64{1}, absent: []absence{{Range{1, 2}, 1}}}
	c.settle(Range{4, 5})
	f.Add(c.encode())
	f.Fuzz(func(t *testing.T, in []byte) {
		if c, err := decodeChain(Key{}, in); err == nil && !bytes.Equal(c.encode(), in) && c.hint.Author == (Key{}) {
			t.Fatalf("%x became %x", in, c.encode())
		}
	})
}

// What is named again is missing again with what is absent before it in its run, but for what its author said is not for us.
func TestLookForARun(t *testing.T) {
	run := uint64(5) << runBits
	c := &chain{author: Key{1}}
	c.settle(Range{0, run + 20})
	c.noteAbsent(Range{3, 9}, noneNotKept)
	c.noteAbsent(Range{run - 2, run + 6}, noneNotExisted)
	c.noteAbsent(Range{run + 7, run + 8}, noneNotForYou)
	c.noteAbsent(Range{run + 9, run + 20}, saidNotKept)
	c.lookFor(run + 12)
	if want := []Range{{run, run + 6}, {run + 9, run + 12}}; !slices.Equal(c.gaps, want) {
		t.Errorf("gaps %v, not %v", c.gaps, want)
	}
	want := []absence{
		{Range{3, 9}, noneNotKept}, {Range{run - 2, run - 1}, noneNotExisted}, {Range{run + 7, run + 8}, noneNotForYou}, {Range{run + 13, run + 20}, saidNotKept},
	}
	if !slices.Equal(c.absent, want) {
		t.Errorf("absent %v, not %v", c.absent, want)
	}
}
