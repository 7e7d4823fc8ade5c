package sntrup761

// smallSize is the length in bytes of an encoded small polynomial.
const smallSize = (p + 3) / 4

// encode appends s: four coefficients per byte, each plus one in two bits, lowest bits first.
func (s *small) encode(dst []byte) []byte {
	for i := 0; i < p; i += 4 {
		var b byte
		for j := i; j < min(i+4, p); j++ {
			b |= byte(s[j]+1) << (2 * (j - i))
		}
		dst = append(dst, b)
	}
	return dst
}

// decode reads what encode wrote; of other bytes it makes some polynomial.
func (s *small) decode(b []byte) {
	for i := range s {
		s[i] = int8(b[i/4]>>(2*(i%4))&3) - 1
	}
}

// encode appends l as a public key holds it.
func (l *large) encode(dst []byte) []byte {
	r := make([]uint32, p)
	for i, x := range l {
		r[i] = uint32(x + half)
	}
	return encodeRadix(dst, r, equal(q))
}

// decode reads a public key; of bytes that encode did not write it makes some polynomial.
func (l *large) decode(b []byte) {
	for i, x := range decodeRadix(b, equal(q)) {
		l[i] = int16(x) - half
	}
}

// Rounded coefficients are multiples of 3.
const roundedModulus = (q + 2) / 3

// encodeRounded appends a rounded l as a ciphertext holds it.
func (l *large) encodeRounded(dst []byte) []byte {
	r := make([]uint32, p)
	for i, x := range l {
		r[i] = uint32(x+half) / 3
	}
	return encodeRadix(dst, r, equal(roundedModulus))
}

// decodeRounded reads the polynomial at the start of a ciphertext.
func (l *large) decodeRounded(b []byte) {
	for i, x := range decodeRadix(b[:roundedSize], equal(roundedModulus)) {
		l[i] = int16(x)*3 - half
	}
}

func equal(m uint32) []uint32 {
	moduli := make([]uint32, p)
	for i := range moduli {
		moduli[i] = m
	}
	return moduli
}

// radixLimit is the modulus from which on joined digits give off their low byte.
const radixLimit = 16384

// join returns the modulus of two joined digits after giving off low bytes, and how many.
func join(m0, m1 uint32) (m uint32, bytes int) {
	for m = m0 * m1; m >= radixLimit; m = (m + 255) >> 8 {
		bytes++
	}
	return m, bytes
}

// encodeRadix appends the digits r with the moduli m in a mixed radix: neighbours are joined, round after round, and
// give off low bytes so that moduli stay small. It overwrites r and m.
func encodeRadix(dst []byte, r, m []uint32) []byte {
	for len(r) > 1 {
		n := 0
		for i := 0; i+1 < len(r); i += 2 {
			digit := r[i] + m[i]*r[i+1]
			modulus, bytes := join(m[i], m[i+1])
			for range bytes {
				dst = append(dst, byte(digit))
				digit >>= 8
			}
			r[n], m[n] = digit, modulus
			n++
		}
		if len(r)%2 == 1 {
			r[n], m[n] = r[len(r)-1], m[len(r)-1]
			n++
		}
		r, m = r[:n], m[:n]
	}
	for digit, modulus := r[0], m[0]; modulus > 1; modulus = (modulus + 255) >> 8 {
		dst = append(dst, byte(digit))
		digit >>= 8
	}
	return dst
}

// decodeRadix reads digits with the moduli m from the start of b, which has enough bytes. Digits are below their moduli
// whatever the bytes are.
func decodeRadix(b []byte, m []uint32) []uint32 {
	if len(m) == 1 {
		var digit uint32
		for modulus, i := m[0], 0; modulus > 1; modulus, i = (modulus+255)>>8, i+1 {
			digit |= uint32(b[i]) << (8 * i)
		}
		return []uint32{digit % m[0]}
	}
	var moduli, low []uint32
	var shift []int
	for i := 0; i+1 < len(m); i += 2 {
		modulus, bytes := join(m[i], m[i+1])
		var l uint32
		for j := range bytes {
			l |= uint32(b[j]) << (8 * j)
		}
		b = b[bytes:]
		moduli, low, shift = append(moduli, modulus), append(low, l), append(shift, 8*bytes)
	}
	if len(m)%2 == 1 {
		moduli = append(moduli, m[len(m)-1])
	}
	joined := decodeRadix(b, moduli)
	r := make([]uint32, 0, len(m)+1)
	for i := range low {
		digit := low[i] + joined[i]<<shift[i]
		r = append(r, digit%m[2*i], digit/m[2*i]%m[2*i+1])
	}
	if len(m)%2 == 1 {
		r = append(r, joined[len(joined)-1])
	}
	return r
}
