package scratch

import "testing"

func TestBuffersComeBackEmptyAndZero(t *testing.T) {
	for range 100 {
		b := Get()
		if len(*b) != 0 {
			t.Fatalf("%d bytes in a fresh buffer", len(*b))
		}
		for i, c := range (*b)[:cap(*b)] {
			if c != 0 {
				t.Fatalf("byte %d is left of somebody else's content", i)
			}
		}
		for range 2 * Size { // grows
			*b = append(*b, 0xee)
		}
		Put(b)
	}
}

func TestRecordsComeBackEmptyAndZero(t *testing.T) {
	for i := range 100 {
		b := Record()
		if len(*b) != 0 {
			t.Fatalf("%d bytes in a fresh buffer", len(*b))
		}
		for i, c := range (*b)[:cap(*b)] {
			if c != 0 {
				t.Fatalf("byte %d is left of somebody else's content", i)
			}
		}
		for range i * RecordSize / 8 { // grows, at last too much to be kept
			*b = append(*b, 0xee)
		}
		whole := (*b)[:cap(*b)]
		PutRecord(b)
		for i, c := range whole[:min(len(whole), i*RecordSize/8)] {
			if c == 0xee {
				t.Fatalf("byte %d is not cleared", i)
			}
		}
	}
}
