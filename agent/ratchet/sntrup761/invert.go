package sntrup761

// Inversion follows Bernstein and Yang, "Fast constant-time gcd computation and modular inversion" (2019), sections 3 and
// 7: 2p-1 division steps on the reversed polynomials, whose number and operations do not depend on the values. A step is
//
//	if δ > 0 and g(0) ≠ 0:  δ, f, g = 1-δ, g, (g(0)f - f(0)g)/x
//	otherwise:              δ, f, g = 1+δ, f, (f(0)g - g(0)f)/x
//
// while v and r keep track of what f and g are multiples of.

const steps = 2*p - 1

// swapMask returns all ones if delta is positive and g0 is not zero, else zero.
func swapMask(delta, g0 int32) int32 { return (-delta & (g0 | -g0)) >> 31 }

// invert sets s to 1/a in the ring modulo 3 and tells whether there is an inverse.
func (s *small) invert(a *small) bool {
	var f, g, v, r [p + 1]int8
	f[0], f[p-1], f[p] = 1, -1, -1
	for i, x := range a {
		g[p-1-i] = x
	}
	r[0] = 1
	delta := int32(1)
	for range steps {
		copy(v[1:], v[:p])
		v[0] = 0
		swap := swapMask(delta, int32(g[0]))
		delta ^= swap & (delta ^ -delta)
		delta++
		mask := int8(swap)
		for i := range f {
			t := mask & (f[i] ^ g[i])
			f[i] ^= t
			g[i] ^= t
			t = mask & (v[i] ^ r[i])
			v[i] ^= t
			r[i] ^= t
		}
		f0, g0 := int32(f[0]), int32(g[0])
		for i := range g {
			g[i] = mod3(f0*int32(g[i]) - g0*int32(f[i]))
			r[i] = mod3(f0*int32(r[i]) - g0*int32(v[i]))
		}
		copy(g[:p], g[1:])
		g[p] = 0
	}
	for i := range s {
		s[i] = f[0] * v[p-1-i] // 1/f(0) = f(0)
	}
	return delta == 0
}

// invertTriple sets l to 1/(3a) in the ring modulo q.
func (l *large) invertTriple(a *small) {
	var f, g, v, r [p + 1]int16
	f[0], f[p-1], f[p] = 1, -1, -1
	for i, x := range a {
		g[p-1-i] = 3 * int16(x)
	}
	r[0] = 1
	delta := int32(1)
	for range steps {
		copy(v[1:], v[:p])
		v[0] = 0
		swap := swapMask(delta, int32(g[0]))
		delta ^= swap & (delta ^ -delta)
		delta++
		mask := int16(swap)
		for i := range f {
			t := mask & (f[i] ^ g[i])
			f[i] ^= t
			g[i] ^= t
			t = mask & (v[i] ^ r[i])
			v[i] ^= t
			r[i] ^= t
		}
		f0, g0 := int32(f[0]), int32(g[0])
		for i := range g {
			g[i] = modQ(f0*int32(g[i]) - g0*int32(f[i]))
			r[i] = modQ(f0*int32(r[i]) - g0*int32(v[i]))
		}
		copy(g[:p], g[1:])
		g[p] = 0
	}
	scale := int32(inverseModQ(f[0]))
	for i := range l {
		l[i] = modQ(scale * int32(v[p-1-i]))
	}
}

// inverseModQ returns 1/x modulo q as x^(q-2); the exponent is public.
func inverseModQ(x int16) int16 {
	result, base := int32(1), int32(x)
	for e := q - 2; e > 0; e >>= 1 {
		if e&1 == 1 {
			result = int32(modQ(result * base))
		}
		base = int32(modQ(base * base))
	}
	return int16(result)
}
