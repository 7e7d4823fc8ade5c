#!/usr/bin/env python3
"""Random operation graphs with what the executable model (model/resolve.py) makes of them; see README.md.

usage: python3 generate.py COUNT > resolve.jsonl && gzip -9n resolve.jsonl
"""
import json, os, random, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'model'))
from resolve import Op, World, closure

LEVELS = ('add', 'remove', 'set', 'role', 'policy', 'close')
NAMES = 'FABCDE'


class Watched(World):
    """The model; notes when it decides something by a rule that the text has in another form."""
    differs = False

    def permitted(s, o, st, again=False):
        mem, pol, _, left = st[:4]
        if again and o.act[0] == 'remove' and o.a in mem and pol.get('reach', 0):
            # text: judged again, a target that is not present is no failure; the model still compares the last role
            s.differs |= any(t not in mem and t in left and left[t][0] >= mem[o.a][0] for t in o.act[1])
        return World.permitted(s, o, st, again)


def policies(r, mode):
    """The genesis policy, and a function that makes the policies of later operations."""
    if mode == 0:
        p = {'reach': 0}
        return p, lambda: {**p, 'remove': r.randint(0, 3), 'add': r.randint(0, 3)}
    if mode == 1:
        p = {'reach': 1, 'add': 3, 'remove': 2, 'role': 3, 'policy': 4, 'close': 4, 'set': 3}
        return p, lambda: {**p, 'remove': r.randint(0, 4), 'add': r.randint(0, 4), 'reach': r.randint(0, 1)}
    p = {'reach': r.randint(0, 1), **{k: r.choice((0, 1, 1, 1, 2, 2, 3, 4)) for k in LEVELS}}
    return p, lambda: {**p, r.choice(LEVELS): r.choice((0, 1, 2, 3, 4, 5)), 'reach': r.randint(0, 1)}


def world(seed):
    r = random.Random(seed)
    mode = seed % 3
    first, later = policies(r, mode)
    w = Watched(tuple(first.items()))
    refused = []
    goal = r.randint(8, 22)
    wide = r.choice((0.3, 0.5, 0.7))
    kinds = r.choice((
        ['add', 'add', 'remove', 'remove', 'role', 'role', 'policy', 'leave', 'set', 'close'],
        ['add', 'remove', 'remove', 'remove', 'role'],
        ['add', 'role', 'role', 'policy', 'remove', 'leave'],
    ))

    def attempt(a, S, act):
        own = [x for x in S if w.ops[x].a == a]
        seq = max(w.ops[x].seq for x in own) + 1 if own else 0
        if r.random() < 0.02:
            seq += 1
        o = Op(a, seq, w.heads(S), act, w.ops)
        if o.id in w.ops:
            return
        if not w.admit(o):
            refused.append(o)

    for _ in range(r.randint(1, 4)):  # some members to begin with
        S = set(w.ops)
        attempt(r.choice(sorted(w.state(S)[0])), S, ('add', r.choice(NAMES[1:]), r.choice((1, 1, 2, 3, 4))))
    tries = 0
    while len(w.ops) < goal and tries < 300:
        tries += 1
        S = closure(w, [x for x in w.ops if r.random() < wide] or [w.g])
        mem = w.state(S)[0]
        if not mem:
            continue
        a = r.choice(sorted(mem)) if r.random() < 0.95 else r.choice(NAMES)
        if r.random() < 0.85:  # mostly on top of its own last operations
            S |= closure(w, [x for x in w.ops if w.ops[x].a == a] or [w.g])
        k = r.choice(kinds)
        if k == 'close' and r.random() < 0.7:
            k = 'set'
        t = r.choice(NAMES)
        if k == 'add':
            act = (k, t, r.randint(0, 4))
        elif k == 'remove':
            act = (k, tuple(sorted(set(r.choice(NAMES) for _ in range(r.randint(1, 3))))))
        elif k == 'role':
            # text: lowering oneself takes no permission; the model asks for one, so only where nobody lacks it
            if t == a and mode:
                continue
            act = (k, t, r.randint(0, 4))
        elif k == 'policy':
            act = (k, tuple(later().items()))
        elif k == 'set':
            act = (k, r.choice('xy'), r.random())
        else:
            act = (k,)
        attempt(a, S, act)
    return w, refused, r


def policy(pairs):
    p = dict(pairs)
    return [p.get('reach', 0)] + [p.get(k, 0) for k in LEVELS]


def main():
    seed = written = differing = voids = 0
    while written < int(sys.argv[1]):
        seed += 1
        w, refused, r = world(seed)
        ops = list(w.ops.values())
        at = {o.id: i for i, o in enumerate(ops)}
        by_id = {x: i for i, x in enumerate(sorted(w.ops))}

        def action(act):
            if act[0] in ('genesis', 'policy'):
                return [act[0], policy(act[1])]
            if act[0] == 'remove':
                return [act[0], list(act[1])]
            return list(act[:2]) if act[0] == 'set' else list(act)

        def operation(o):
            return [o.a, o.seq, sorted(at[p] for p in o.par)] + action(o.act)

        def result(S):
            mem, pol, closed, left, void = w.state(S)
            senior = sorted(mem, key=lambda m: w.key(mem[m][:2]))
            return {'h': sorted(at[x] for x in w.heads(S)), 'm': [[m, mem[m][0], at[mem[m][2]]] for m in senior],
                    'l': [[m, left[m][0], at[left[m][2]]] for m in sorted(left)], 'p': policy(pol.items()),
                    'c': int(closed), 'v': sorted(at[x] for x in void)}

        states = [result(set(w.ops))]
        for _ in range(3):
            S = closure(w, [x for x in w.ops if r.random() < 0.3] or [w.g])
            states.append(result(S))
        if w.differs:
            differing += 1
            continue
        voids += bool(states[0]['v'])
        written += 1
        print(json.dumps({'o': [operation(o) for o in ops], 'i': [by_id[o.id] for o in ops],
                          'r': [operation(o) for o in refused[:8]], 's': states}, separators=(',', ':')))
    print(f'{written} graphs, {voids} with void operations, {differing} left out', file=sys.stderr)


main()
