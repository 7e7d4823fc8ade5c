package conn

import (
	"slices"
	"testing"
	"time"
)

func TestIntervalsGrow(t *testing.T) {
	rule := intervals{10 * time.Second, 20 * time.Second, 40 * time.Second}
	var p pace
	var got []time.Duration
	for range 7 {
		got = append(got, p.next(rule))
	}
	want := []time.Duration{10, 10, 15, 22, 33, 40, 40}
	for i := range want {
		want[i] *= time.Second
	}
	want[3] += 500 * time.Millisecond
	want[4] += 750 * time.Millisecond
	if !slices.Equal(got, want) {
		t.Errorf("waits %v, want %v", got, want)
	}
}

func TestRulesKeepTheirOwnProgress(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var r retry
	for _, c := range []struct {
		rule intervals
		want time.Duration
	}{
		{fastIntervals, 2 * time.Second}, {slowIntervals, 300 * time.Second}, {fastIntervals, 2 * time.Second},
		{slowIntervals, 450 * time.Second}, {fastIntervals, 2 * time.Second}, {slowIntervals, 675 * time.Second},
	} {
		r.after(now, c.rule)
		if got := r.next.Sub(now); got != c.want {
			t.Errorf("wait %v, want %v", got, c.want)
		}
	}
	for range 40 {
		r.after(now, fastIntervals)
		r.after(now, slowIntervals)
	}
	if r.fast.wait != 120*time.Second || r.slow.wait != 6*time.Hour {
		t.Errorf("longest waits %v and %v", r.fast.wait, r.slow.wait)
	}
}

func TestJudge(t *testing.T) {
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	for _, c := range []struct {
		class Class
		age   time.Duration
		want  verdict
		rule  intervals
	}{
		{Temporary, 0, tryAgain, fastIntervals},
		{Temporary, 2*day - 1, tryAgain, fastIntervals},
		{Temporary, 2 * day, giveUpOlder, fastIntervals},
		{Host, 0, warnAndTry, fastIntervals},
		{Host, 2 * day, giveUpOlder, fastIntervals},
		{Quota, 0, warnAndTry, slowIntervals},
		{Quota, 7*day - 1, warnAndTry, slowIntervals},
		{Quota, 7 * day, giveUpOlder, slowIntervals},
		{Auth, 0, giveUp, intervals{}},
		{Large, 0, giveUp, intervals{}},
		{Permanent, 0, giveUp, intervals{}},
	} {
		if got, rule := judge(c.class, created, created.Add(c.age)); got != c.want || rule != c.rule {
			t.Errorf("class %d after %v: %d, %v", c.class, c.age, got, rule)
		}
	}
}
