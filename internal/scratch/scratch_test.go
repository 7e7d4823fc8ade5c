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
