package relay_test

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"
)

// BenchmarkRefusal measures how long ERR AUTH takes, for every algorithm of the authorization: on queues with keys of each
// algorithm and on queues that do not exist, in turn. spread-% is by how much the slowest of the four medians exceeds the
// fastest: who measures it learns nothing about a queue. At least 1,000 rounds (-benchtime=1000x) make it meaningful.
func BenchmarkRefusal(b *testing.B) {
	r := startRelay(b, nil)
	c := r.at(b, 9)
	algorithms := []string{"Ed25519", "X25519", "Ed448"}
	var queues []queue
	for _, of := range algorithms {
		q, k := c.create(newKey(b, of), "C"), newKey(b, of)
		c.want("OK", k.sign, q.sender, "SKEY "+k.public)
		queues = append(queues, q)
	}
	nobody := randomID(b)
	queues = append(queues, queue{recipient: nobody, sender: nobody})
	for _, by := range algorithms {
		k := newKey(b, by)
		for name, command := range map[string]string{"SUB": "SUB", "SEND": "SEND F hello", "SKEY": "SKEY " + k.public} {
			b.Run(name+"/by="+by, func(b *testing.B) {
				times := make([][]time.Duration, len(queues))
				for b.Loop() {
					for i, q := range queues {
						entity := q.sender
						if command == "SUB" {
							entity = q.recipient
						}
						raw := c.encode(k.sign, "", entity, command)
						begin := time.Now()
						c.write(raw)
						got := c.read()
						times[i] = append(times[i], time.Since(begin))
						if got.body != "ERR AUTH" {
							b.Fatalf("answer is %v", got)
						}
					}
				}
				var medians []float64
				for _, t := range times {
					slices.Sort(t)
					medians = append(medians, float64(t[len(t)/2]))
				}
				b.ReportMetric(100*(slices.Max(medians)/slices.Min(medians)-1), "spread-%")
				b.ReportMetric(slices.Min(medians)/1000, "µs")
				b.ReportMetric(0, "ns/op")
				if testing.Verbose() {
					b.Logf("medians by key of the queue, %v and none: %.0f ns", algorithms, medians)
				}
			})
		}
	}
}

func randomID(t testing.TB) string {
	t.Helper()
	var id [24]byte
	_, err := rand.Read(id[:])
	must(t, err)
	return string(id[:])
}
