package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// check compares what the members have at the end.
func (d *demo) check(ctx context.Context) error {
	d.headline("does everybody agree?")
	if err := d.sameState(ctx); err != nil {
		return err
	}
	if err := d.sameMessages(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintln(d.out)
	for _, c := range d.costs {
		fmt.Fprintln(d.out, c)
	}
	return nil
}

// sameState waits for equal operations and then compares members and state hashes.
func (d *demo) sameState(ctx context.Context) error {
	lists, hashes := map[string][]string{}, map[string][]string{}
	err := d.eventually(ctx, "equal states", func() (bool, error) {
		clear(lists)
		clear(hashes)
		for _, m := range d.present {
			info, err := m.info(ctx)
			if err != nil {
				return false, err
			}
			var present []string
			for _, other := range info.Members {
				if other.Present {
					present = append(present, d.nameOf(other.Member))
				}
			}
			slices.Sort(present)
			list := strings.Join(present, " ")
			lists[list] = append(lists[list], m.name)
			hash := fmt.Sprintf("%.16x", info.StateHash)
			hashes[hash] = append(hashes[hash], m.name)
		}
		return len(lists) == 1 && len(hashes) == 1, nil
	})
	want := slices.Sorted(slices.Values(names(d.present)))
	for list, who := range lists {
		d.verdict(list == strings.Join(want, " "), "members [%s] for %s", list, strings.Join(who, ", "))
	}
	for hash, who := range hashes {
		d.verdict(len(hashes) == 1, "state %s for %s", hash, strings.Join(who, ", "))
	}
	if err != nil {
		d.failures++
	}
	return ctx.Err()
}

func (d *demo) verdict(ok bool, format string, args ...any) {
	d.account(fmt.Sprintf(format, args...), ok)
}

// sameMessages checks that every member, those who left included, has each message meant for it once, and no other.
func (d *demo) sameMessages() error {
	for _, m := range d.order {
		texts, err := m.texts()
		if err != nil {
			return err
		}
		times := map[string]int{}
		for _, t := range texts {
			if !t.Own {
				times[nameInHistory(t.Origin)]++
			}
		}
		missing, foreign, repeated := 0, 0, 0
		for name, e := range d.sent {
			n := times[name]
			delete(times, name)
			switch meant := slices.Contains(e.recipients, m); {
			case meant && n == 0:
				missing++
			case !meant && n > 0:
				foreign++
			case n > 1:
				repeated++
			}
		}
		foreign += len(slices.Collect(maps.Keys(times)))
		d.verdict(missing+foreign+repeated == 0, "%s: %d messages, %d missing, %d not meant for it, %d double", m.name, len(texts), missing, foreign, repeated)
	}
	return nil
}

// nameInHistory cuts the hash off the origin of a message, which leaves author and number.
func nameInHistory(origin string) string { return origin[:strings.LastIndex(origin, "/")] }

// missing returns the messages that a member should have and does not.
func (d *demo) missing(m *member) (names []string, err error) {
	texts, err := m.texts()
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, t := range texts {
		if !t.Own {
			has[nameInHistory(t.Origin)] = true
		}
	}
	for name, e := range d.sent {
		if slices.Contains(e.recipients, m) && !has[name] {
			names = append(names, name)
		}
	}
	return names, nil
}
