package sntrup761

import (
	"encoding/binary"
	"io"
)

// Parameters of the ring Z[x]/(x^p - x - 1).
const (
	p      = 761
	q      = 4591
	half   = (q - 1) / 2 // coefficients modulo q are -half to half
	weight = 286         // non-zero coefficients of a short polynomial
)

// small is a polynomial with coefficients -1, 0 and 1; as an element of the ring modulo 3, too.
type small [p]int8

// large is a polynomial with coefficients modulo q, -half to half.
type large [p]int16

// mod3 returns the representative -1, 0 or 1 of x, which is between -2^13 and 2^13.
func mod3(x int32) int8 {
	const shift = 16
	const inverse = (1<<shift + 1) / 3
	return int8(x - 3*((inverse*x+1<<(shift-1))>>shift))
}

// modQ returns the representative -half to half of x, which is between -2^24 and 2^24.
func modQ(x int32) int16 {
	const shift = 40
	const inverse = (1<<shift + half) / q
	return int16(x - q*int32((inverse*int64(x)+1<<(shift-1))>>shift))
}

// random makes a polynomial of independent coefficients.
func (s *small) random(rand io.Reader) error {
	var b [4 * p]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return err
	}
	defer clear(b[:])
	for i := range s {
		x := binary.LittleEndian.Uint32(b[4*i:]) >> 2
		s[i] = int8(x*3>>30) - 1
	}
	return nil
}

// randomShort makes a polynomial with weight non-zero coefficients at random places: random numbers that carry a
// coefficient in their lowest two bits are sorted.
func (s *small) randomShort(rand io.Reader) error {
	var b [4 * p]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return err
	}
	defer clear(b[:])
	var tagged [p]uint32
	defer clear(tagged[:])
	for i := range tagged {
		x := binary.LittleEndian.Uint32(b[4*i:])
		if i < weight {
			tagged[i] = x &^ 1 // 0 or 2: coefficient -1 or 1
		} else {
			tagged[i] = x&^3 | 1
		}
	}
	sort(tagged[:])
	for i := range s {
		s[i] = int8(tagged[i]&3) - 1
	}
	return nil
}

// sort sorts in an order of comparisons that does not depend on the values (merge exchange).
func sort(x []uint32) {
	top := 1
	for top < len(x)-top {
		top *= 2
	}
	for step := top; step > 0; step /= 2 {
		distance, offset, parity := step, top, 0
		for {
			for i := range len(x) - distance {
				if i&step == parity {
					order(&x[i], &x[i+distance])
				}
			}
			if offset == step {
				break
			}
			distance, offset, parity = offset-step, offset/2, step
		}
	}
}

// order swaps a and b if a is greater, without a branch.
func order(a, b *uint32) {
	swap := uint32((uint64(*b) - uint64(*a)) >> 32) // all ones if b < a
	swap &= *a ^ *b
	*a ^= swap
	*b ^= swap
}

// multiply sets l to a*b in the ring modulo q.
func (l *large) multiply(a *large, b *small) {
	// Sums of p products with a factor -1, 0 or 1 stay below 2^21.
	var product [2*p - 1]int32
	for i, y := range b {
		row := product[i : i+p]
		for j, x := range a {
			row[j] += int32(x) * int32(y)
		}
	}
	fold(&product)
	for i := range l {
		l[i] = modQ(product[i])
	}
}

// multiply sets s to a*b in the ring modulo 3.
func (s *small) multiply(a, b *small) {
	var product [2*p - 1]int32
	for i, y := range b {
		row := product[i : i+p]
		for j, x := range a {
			row[j] += int32(x) * int32(y)
		}
	}
	fold(&product)
	for i := range s {
		s[i] = mod3(product[i])
	}
}

// fold reduces a product modulo x^p - x - 1, so that x^p becomes x + 1.
func fold(product *[2*p - 1]int32) {
	for i := 2*p - 2; i >= p; i-- {
		product[i-p] += product[i]
		product[i-p+1] += product[i]
	}
}

// round moves every coefficient to the nearest multiple of 3.
func (l *large) round() {
	for i, x := range l {
		l[i] = x - int16(mod3(int32(x)))
	}
}

// fromTriple sets s to 3*l modulo q, taken modulo 3.
func (s *small) fromTriple(l *large) {
	for i, x := range l {
		s[i] = mod3(int32(modQ(3 * int32(x))))
	}
}

// orDefault replaces s by weight ones followed by zeros unless it has the right weight.
func (s *small) orDefault() {
	var n int32
	for _, x := range s {
		n += int32(x & 1)
	}
	wrong := int8(((n - weight) | (weight - n)) >> 31) // all ones unless n is weight
	for i, x := range s {
		var d int8
		if i < weight {
			d = 1
		}
		s[i] = x ^ wrong&(x^d)
	}
}
