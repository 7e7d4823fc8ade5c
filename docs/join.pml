/*
 * A model of joining a group (docs/groups.md, "Joining") for the model checker spin. What it has, what it leaves out and
 * what it shows is in docs/join-model.md; test/model.sh (make model) runs its configurations.
 *
 * B, the new member, meets each member o of a group that exists: 1 is A, who invites, 2 is M, 3 is K (with -DFOUR). Those
 * are connected with each other. A pair that is modelled has B at one end (0) and o at the other (1). A connection of a
 * pair is named by the end that offered it (its side) and its attempt. [I0], [R1] and so on name the rows of the table
 * in docs/groups.md, "The pair connection"; names with () are functions of package grouproto.
 *
 *   -DGONE_A                A may crash for good, at any moment
 *   -DRESTART=m             member m (0 is B) may crash at any moment and comes back
 *   -DLOSE                  one message, any, may be lost
 *   -DREPAIR                GREPAIR, once, at any end of any pair that works
 *   -DFORGE                 somebody else uses the link of an offer, once; and an offer of a stranger is passed on to M
 *   -DBOTH -DSMALLER=e      B and M both think that they make the offers, until their logs agree; e (0 is B, 1 is M) has
 *                           the smaller key
 *   -DEARLY=n               so many timers fire although their messages are still on the way; 1 if not given
 *   -DBUG_n                 a deliberate fault, which must be found
 */
#ifdef FOUR
#define OTHERS 3
#else
#define OTHERS 2
#endif
#ifdef BOTH
#define SIDES 2
#else
#define SIDES 1
#define SMALLER 1
#endif
#ifndef EARLY
#define EARLY 1
#endif
#define MOST 4                   /* attempts of one pair; after these the reason is LIMIT and stays */
#define A 1
#define M 2

/* a connection at one of its ends (connState); RETIRED and BROKEN are ready connections that were replaced or broke */
#define NONE     0
#define MAKING   1
#define OFFERED  2
#define ALLOWED  3
#define JOINING  4               /* R1: the own confirmation is on its way to the relay */
#define JOINED   5               /* R2 */
#define READY    6               /* I3, R3 */
#define RETIRED  7
#define BROKEN   8
#define DELETED  9
#define STUCK   10               /* BUG_7: an operation that nobody asks for again */

/* B */
#define INVITED 0
#define JOINS   1
#define MEMBER  2
#define ENDED   3

/* why a pair is not connected (Reason) */
#define NOANSWER 1
#define NOROUTE  2               /* and: waiting for inviter */
#define HELLO    3
#define AUTH     4
#define LIMIT    5

/* indices: connection, end of a connection, end of a pair, pair at a forwarder; an offer as a bit */
#define C(o,s,n)   ((((o)-1)*SIDES+(s))*MOST+(n)-1)
#define S(o,s,n,e) (2*C(o,s,n)+(e))
#define E(o,e)     (2*((o)-1)+(e))
#define V(q,o)     (((q)-1)*OTHERS+(o)-1)
#define BIT(s,n)   (1<<((s)*MOST+(n)-1))

byte st[2*OTHERS*SIDES*MOST];    /* S: connState */
bool routed[OTHERS*SIDES*MOST];  /* C: the offer is on its way by some route */
byte attempt[2*OTHERS];          /* E: highest of the pair, own or seen */
byte reason[2*OTHERS];           /* E */
byte tries[2*OTHERS];            /* E: T1 fired for one offer; after two a week is over */
bool hold[2*OTHERS];             /* E: waits for T1 before it begins again */
bool replace[2*OTHERS];          /* E: a connection is wanted beside the working one */
byte last[2*OTHERS];             /* E: route tried last */
byte status = INVITED;           /* of B */
byte age;                        /* rounds of T1 in which B has been joining */
bool knows[OTHERS+1];            /* the add of B is in that member's log */
bool spread;                     /* A owes the add to those who have not got it */
bool up[OTHERS+1] = true;        /* runs; 0 is B */

/* on the way */
bool inv = true;                 /* G_INV */
byte acc;                        /* G_ACC: BIT */
byte lg;                         /* BIT: the log behind the confirmation of that connection (G_SYNC, G_OPS, G_MEM) */
byte conf[OTHERS*SIDES*MOST];    /* C: joiner's confirmation with its hello; 1 genuine, 2 somebody else's */
byte info[OTHERS*SIDES*MOST];    /* C: initiator's confirmation */
bool ops[OTHERS+1];              /* G_OPS with the add */
byte at[OTHERS*OTHERS];          /* V: BIT, G_INV_MEM on the way to a forwarder or held there */
byte to[2*OTHERS];               /* E: BIT, G_MEM_INV on the way to that end, or G_INV_MEM to it over an older connection */
bool need0[2*OTHERS*OTHERS];     /* 2*V+e: G_NEED, hops 0, of that end, on the way to a forwarder */
byte need1[2*OTHERS];            /* E: G_NEED on the way to that end, by whom */
bool stranger;                   /* G_MEM_INV with an offer of somebody who is no member, on the way to M */

/* trouble to come */
byte early = EARLY;
bool lose, crash, repair, forge;
bool lostEnd;                    /* lost is G_INV, the log or B's hello to A: nobody sends those again (docs/join-model.md) */
#ifdef BOTH
bool think[2] = true;            /* B, M: "I make the offers" */
bool truth;                      /* who does, by both logs */
#endif

hidden byte k_, s_, q_;
hidden byte f_;

#define READYAT(o,s,e) (st[S(o,s,1,e)]==READY||st[S(o,s,2,e)]==READY||st[S(o,s,3,e)]==READY||st[S(o,s,4,e)]==READY)
#define UNANSWERED(x)  (st[x]==MAKING||st[x]==OFFERED||st[x]==ALLOWED||st[x]==STUCK)
#define OPEN(o,e)      (UNANSWERED(S(o,e,1,e))||UNANSWERED(S(o,e,2,e))||UNANSWERED(S(o,e,3,e))||UNANSWERED(S(o,e,4,e)))
#define WORKS(o,s,n)   (st[S(o,s,n,0)]==READY && st[S(o,s,n,1)]==READY)
#define WORK(o,s)      (WORKS(o,s,1) || WORKS(o,s,2) || WORKS(o,s,3) || WORKS(o,s,4))
#define WAITS(o,s,n)   (st[S(o,s,n,s)]==OFFERED && routed[C(o,s,n)])
#define WAIT(o,s)      (WAITS(o,s,1) || WAITS(o,s,2) || WAITS(o,s,3) || WAITS(o,s,4))
#define COMES(o,s)     (info[C(o,s,1)] || info[C(o,s,2)] || info[C(o,s,3)] || info[C(o,s,4)])
#if SIDES == 2
#define HEALTHY(o,e)   (READYAT(o,0,e) || READYAT(o,1,e))
#define PAIR(o)        (WORK(o,0) || WORK(o,1))
#define OFFERING(o,e)  OPEN(o,e)
#define WAITING(o,e)   WAIT(o,e)
#define COMING(o)      (COMES(o,0) || COMES(o,1))
#else
#define HEALTHY(o,e)   READYAT(o,0,e)
#define PAIR(o)        WORK(o,0)
#define OFFERING(o,e)  ((e)==0 && OPEN(o,0))
#define WAITING(o,e)   ((e)==0 && WAIT(o,0))
#define COMING(o)      COMES(o,0)
#endif
#if OTHERS == 3
#define ROUTES         (HEALTHY(1,0)+HEALTHY(2,0)+HEALTHY(3,0))
#define ALL(p)         (p(1) && p(2) && p(3))
#else
#define ROUTES         (HEALTHY(1,0)+HEALTHY(2,0))
#define ALL(p)         (p(1) && p(2))
#endif

/* the end takes part: it runs, is in the group or about to be, and knows of the other end */
#define ALIVE(o,e) (((e)==0 && up[0] && (status==MEMBER || (status==JOINS && (o)==A))) || ((e)==1 && up[o] && knows[o]))

/* initiates() */
#ifdef BOTH
#ifdef BUG_1
#define INITIATES(o,e) ((o)==M || (e)==0)
#else
#define INITIATES(o,e) (((o)==M && think[e]) || ((o)!=M && (e)==0))
#endif
#else
#define INITIATES(o,e) ((e)==0)
#endif

/* wanted(), hasRoute(): the other members are connected with each other, B with those that it is connected with */
#define WANTED(o,e)  (ALIVE(o,e) && INITIATES(o,e) && !OFFERING(o,e) && (!HEALTHY(o,e) || replace[E(o,e)]) && !hold[E(o,e)])
#define ROUTE(o,e)   ((e)==1 || (o)==A || ROUTES > 0)

#define RUNS(o)      up[o]

/* what must come about and stay */
#define FINE(o,e)    (!ALIVE(o,e) || HEALTHY(o,e) || reason[E(o,e)] != 0)
#define SETTLED(o)   (PAIR(o) || (FINE(o,0) && FINE(o,1)))
#define settled      ((status != JOINS || !up[0]) && ALL(SETTLED))
#define connected    (lostEnd || (status == MEMBER && ALL(PAIR)))
/* whom B is connected with can introduce it to everybody else who runs */
#define introduced   (!PAIR(M) || !up[0] || PAIR(OTHERS)) && (!PAIR(OTHERS) || PAIR(M))

/* a working connection is deleted only if a newer one lives at both ends */
inline survivor(o, n, e) {
	f_ = false;
	for (s_ : 0 .. SIDES-1) {
		for (k_ : 1 .. MOST) {
			if
			:: k_ > n && st[S(o,s_,k_,e)] == READY && st[S(o,s_,k_,1-e)] != NONE && st[S(o,s_,k_,1-e)] != DELETED -> f_ = true
			:: k_ > n && st[S(o,s_,k_,e)] == JOINED && st[S(o,s_,k_,1-e)] == READY -> f_ = true
			:: else
			fi
		}
	}
	assert(f_)
}

/* ready() */
inline ready(o, s, n, e) {
	for (s_ : 0 .. SIDES-1) {
		for (k_ : 1 .. MOST) {
			if
			:: k_ < n && st[S(o,s_,k_,e)] == READY -> st[S(o,s_,k_,e)] = RETIRED
			:: k_ < n && st[S(o,s_,k_,e)] != READY && st[S(o,s_,k_,e)] != RETIRED && st[S(o,s_,k_,e)] != NONE ->
				st[S(o,s_,k_,e)] = DELETED
			:: else
			fi
		}
	}
	st[S(o,s,n,e)] = READY;
	reason[E(o,e)] = 0; tries[E(o,e)] = 0; hold[E(o,e)] = false; replace[E(o,e)] = false; last[E(o,e)] = 0;
	for (k_ : 1 .. OTHERS) {                   /* newRoute() */
		if
		:: e == 0 && k_ != o && reason[E(k_,0)] == NOROUTE -> reason[E(k_,0)] = 0
		:: else
		fi
	}
}

/* begin() [I0: pair wanted] */
inline begin(o, e) {
	if
	:: attempt[E(o,e)] == MOST ->
		hold[E(o,e)] = true; replace[E(o,e)] = false;
		if
		:: HEALTHY(o,e)
		:: else -> reason[E(o,e)] = LIMIT
		fi
	:: else ->
#ifndef BOTH
		assert(e == 0);                    /* the initiator of a pair is the newcomer, and nobody else */
#endif
#ifdef BUG_8
		attempt[E(o,e)] = 1;               /* attempts are not remembered */
#else
		attempt[E(o,e)]++;
#endif
		assert(st[S(o,e,attempt[E(o,e)],e)] == NONE);   /* no side uses an attempt twice */
		st[S(o,e,attempt[E(o,e)],e)] = MAKING;
		tries[E(o,e)] = 0; last[E(o,e)] = 0
#ifdef BUG_12
		;                                  /* the initiator deletes the old connection at I0 */
		for (k_ : 1 .. MOST) {
			if
			:: st[S(o,e,k_,e)] == READY -> st[S(o,e,k_,e)] = RETIRED
			:: else
			fi
		}
#endif
	fi
}

/* offered() [R0: offer for me; R1-R3: offer with a higher attempt] */
inline offered(o, s, n, e) {
	f_ = ALIVE(o,e);
#ifndef BUG_4
	if
	:: n <= attempt[E(o,e)] -> f_ = false
	:: else
	fi;
#endif
#ifdef BOTH
	if
#ifdef BUG_1
	:: skip                                    /* both sides offer, and no offer is withdrawn */
#else
	:: OFFERING(o,e) && INITIATES(o,e) && SMALLER == e ->
		f_ = false                         /* both offered: the smaller key's offer stands */
	:: f_ && OFFERING(o,e) && !(INITIATES(o,e) && SMALLER == e) ->
		for (k_ : 1 .. MOST) {
			if
			:: UNANSWERED(S(o,e,k_,e)) -> st[S(o,e,k_,e)] = DELETED
			:: else
			fi
		}
#endif
	:: else
	fi;
#endif
	if
	:: f_ ->
		assert(st[S(o,s,n,e)] == NONE);    /* an offer is never joined twice */
#ifdef BUG_2
		for (k_ : 1 .. MOST) {             /* the responder deletes the old connection at R1 */
			if
			:: st[S(o,s,k_,e)] == READY -> st[S(o,s,k_,e)] = RETIRED
			:: else
			fi
		};
#endif
		st[S(o,s,n,e)] = JOINING;
		if
		:: n > attempt[E(o,e)] -> attempt[E(o,e)] = n
		:: else
		fi;
		tries[E(o,e)] = 0; hold[E(o,e)] = false
	:: else
	fi
}

/* G_NEED at the end that makes the offers: needed() */
inline needed(o, e) {
	q_ = need1[E(o,e)];
	need1[E(o,e)] = 0;
	f_ = false;
	for (k_ : 1 .. MOST) {
		if
		:: (e < SIDES) && st[S(o,e % SIDES,k_,e)] == OFFERED && routed[C(o,e % SIDES,k_)] -> /* [I1: G_NEED] the way that it came */
			f_ = true;
			if
			:: q_ == o -> to[E(o,1-e)] = to[E(o,1-e)] | BIT(e,k_)
			:: else -> at[V(q_,o)] = at[V(q_,o)] | BIT(e,k_)
			fi
		:: else
		fi
	}
	if
	:: f_ || OFFERING(o,e) || !INITIATES(o,e) || !ALIVE(o,e)
	:: else ->                                 /* [I3: G_NEED from the peer] */
#ifdef BUG_9
		if
		:: HEALTHY(o,e)
		:: else -> hold[E(o,e)] = false
		fi
#else
		hold[E(o,e)] = false;
		if
		:: HEALTHY(o,e) -> replace[E(o,e)] = true
		:: else
		fi
#endif
	fi
}

#define NEEDS(o,e) (!INITIATES(o,e) && !OFFERING(o,e) && !HEALTHY(o,e))
#define DUE(o,e)   (ALIVE(o,e) && (WAITING(o,e) || NEEDS(o,e) || \
	(INITIATES(o,e) && !OFFERING(o,e) && hold[E(o,e)] && attempt[E(o,e)] < MOST && (!HEALTHY(o,e) || replace[E(o,e)]))))
#define DUES(o)    (DUE(o,0) || DUE(o,1))
#define NOTDUES(o) (!DUES(o))

/* pairTimers() */
inline t1(o, e) {
	if
	:: !DUE(o,e)
	:: DUE(o,e) && WAITING(o,e) ->
		f_ = false;
		for (k_ : 1 .. MOST) {
			if
			:: (e < SIDES) && WAITS(o,e % SIDES,k_) && tries[E(o,e)] < 2 -> /* [I1: no hello for T1] the same offer again */
#ifndef BUG_3
				routed[C(o,e % SIDES,k_)] = false;
				tries[E(o,e)]++;
#endif
				f_ = true
#ifndef BUG_10
			:: (e < SIDES) && WAITS(o,e % SIDES,k_) && tries[E(o,e)] == 2 -> /* [I1: offer expired] */
				st[S(o,e % SIDES,k_,e)] = DELETED
#endif
			:: else
			fi
		}
		if
		:: f_
		:: else -> tries[E(o,e)] = 0; hold[E(o,e)] = false
		fi;
		if
		:: HEALTHY(o,e)
		:: else -> reason[E(o,e)] = NOANSWER
		fi
	:: DUE(o,e) && !WAITING(o,e) && INITIATES(o,e) -> hold[E(o,e)] = false
	:: DUE(o,e) && !WAITING(o,e) && NEEDS(o,e) ->        /* [R0, R2: nothing for T1] need() */
		reason[E(o,e)] = NOANSWER;
		hold[E(o,e)] = false;
		f_ = (OTHERS == 2 || (e == 0 && ROUTES < 2));
		if
		:: 1 != o && (e == 1 || HEALTHY(1,0)) && (f_ || last[E(o,e)] != 1) ->
			last[E(o,e)] = 1; need0[2*V(1,o)+e] = true
		:: 2 != o && (e == 1 || HEALTHY(2,0)) && (f_ || last[E(o,e)] != 2) ->
			last[E(o,e)] = 2; need0[2*V(2,o)+e] = true
#if OTHERS == 3
		:: 3 != o && (e == 1 || HEALTHY(3,0)) && (f_ || last[E(o,e)] != 3) ->
			last[E(o,e)] = 3; need0[2*V(3,o)+e] = true
#endif
		:: else -> reason[E(o,e)] = NOROUTE
		fi
	fi
}

/* sendOffers() of B over one route */
#define SENDVIA(o,n,q) \
	:: WAITSFORROUTE(o,0,n) && HEALTHY(q,0) && (q == o -> 1 : 1) && (ROUTES == 1 || last[E(o,0)] != q) -> atomic { \
		routed[C(o,0,n)] = true; last[E(o,0)] = q; \
		if \
		:: q == o -> to[E(o,1)] = to[E(o,1)] | BIT(0,n) \
		:: else -> at[V(q,o)] = at[V(q,o)] | BIT(0,n) \
		fi }
#define WAITSFORROUTE(o,s,n) (ALIVE(o,s) && st[S(o,s,n,s)] == OFFERED && !routed[C(o,s,n)])
#ifdef BUG_11
#define SEND3(o,n) SENDVIA(o,n,1)              /* nobody but the inviter passes offers on */
#else
#if OTHERS == 3
#define SEND3(o,n) SENDVIA(o,n,1) SENDVIA(o,n,2) SENDVIA(o,n,3)
#else
#define SEND3(o,n) SENDVIA(o,n,1) SENDVIA(o,n,2)
#endif
#endif

/* what the end that offered does */
#define OFFERER(o,s,n) \
	/* [I0] linkReady() */ \
	:: up[(s)*(o)] && st[S(o,s,n,s)] == MAKING -> atomic { st[S(o,s,n,s)] = OFFERED; routed[C(o,s,n)] = false } \
	/* [I1: confirmation, hello good] confirmation() */ \
	:: up[(s)*(o)] && conf[C(o,s,n)] == 1 && st[S(o,s,n,s)] == OFFERED -> atomic { \
		conf[C(o,s,n)] = 0; st[S(o,s,n,s)] = ALLOWED; hold[E(o,s)] = false } \
	/* [I1: hello bad] badHello() */ \
	:: up[(s)*(o)] && conf[C(o,s,n)] == 2 && st[S(o,s,n,s)] == OFFERED -> BADHELLO(o,s,n) \
	:: conf[C(o,s,n)] && st[S(o,s,n,s)] == DELETED -> conf[C(o,s,n)] = 0 \
	:: lose && conf[C(o,s,n)] -> atomic { conf[C(o,s,n)] = 0; lose = false } \
	/* [I2: CON, or it cannot be finished] */ \
	:: up[(s)*(o)] && st[S(o,s,n,s)] == ALLOWED -> d_step { \
		if \
		:: st[S(o,s,n,1-(s))] == DELETED -> st[S(o,s,n,s)] = DELETED; reason[E(o,s)] = AUTH; hold[E(o,s)] = true \
		:: else -> \
			assert(st[S(o,s,n,1-(s))] == JOINED);  /* it is the member, and nobody else */ \
			info[C(o,s,n)] = 1; \
			ready(o, s, n, s) \
		fi; \
		skip }
#ifdef BUG_5
#define BADHELLO(o,s,n) atomic { conf[C(o,s,n)] = 0; st[S(o,s,n,s)] = ALLOWED }
#else
#define BADHELLO(o,s,n) atomic { conf[C(o,s,n)] = 0; st[S(o,s,n,s)] = DELETED; \
	reason[E(o,s)] = HELLO; hold[E(o,s)] = true }
#endif

/* what the end that joined does */
#define JOINER(o,s,n) \
	/* [R1: own confirmation sent, or permanent error]; the log goes right behind, introduce() */ \
	:: up[(1-(s))*(o)] && st[S(o,s,n,1-(s))] == JOINING -> d_step { \
		if \
		:: st[S(o,s,n,s)] == OFFERED && conf[C(o,s,n)] == 0 -> \
			conf[C(o,s,n)] = 1; st[S(o,s,n,1-(s))] = JOINED; \
			if \
			:: o == A && status == JOINS -> lg = lg | BIT(0,n) \
			:: else \
			fi \
		:: else -> st[S(o,s,n,1-(s))] = DELETED; hold[E(o,1-(s))] = true; \
			if \
			:: HEALTHY(o,1-(s)) \
			:: else -> reason[E(o,1-(s))] = AUTH \
			fi \
		fi; \
		skip } \
	/* [R2: initiator's confirmation, hello good] answered() */ \
	:: up[(1-(s))*(o)] && info[C(o,s,n)] && st[S(o,s,n,1-(s))] == JOINED -> d_step { \
		info[C(o,s,n)] = 0; \
		ready(o, s, n, 1-(s)); skip } \
	:: info[C(o,s,n)] && st[S(o,s,n,1-(s))] == DELETED -> info[C(o,s,n)] = 0 \
	:: lose && info[C(o,s,n)] -> atomic { info[C(o,s,n)] = 0; lose = false; lostEnd = (o == A) }

/* what both ends of a connection do */
#define EITHER(o,s,n,e) \
	/* [I3: sending fails for good] broke() */ \
	:: up[(e)*(o)] && st[S(o,s,n,e)] == READY && st[S(o,s,n,1-(e))] == DELETED -> d_step { \
		st[S(o,s,n,e)] = BROKEN; \
		if \
		:: HEALTHY(o,e) \
		:: else -> reason[E(o,e)] = AUTH; hold[E(o,e)] = false \
		fi; \
		skip } \
	/* [I3, R3: delete the old one] endings() */ \
	:: up[(e)*(o)] && st[S(o,s,n,e)] == RETIRED -> d_step { survivor(o, n, e); st[S(o,s,n,e)] = DELETED }

/* what an end does with an offer for it: toForward(), forwarded() */
#define TAKE(o,s,n) \
	:: up[(1-(s))*(o)] && (to[E(o,1-(s))] & BIT(s,n)) && (s == 0 || status == MEMBER) -> d_step { \
		to[E(o,1-(s))] = to[E(o,1-(s))] & ~BIT(s,n); \
		if \
		:: s == 0 -> knows[o] = true           /* its add is in the same frame */ \
		:: else \
		fi; \
		offered(o, s, n, 1-(s)); skip } \
	:: lose && (to[E(o,1-(s))] & BIT(s,n)) -> atomic { to[E(o,1-(s))] = to[E(o,1-(s))] & ~BIT(s,n); lose = false }

/* forward(), hold(), forwardHeld(): B's offers and those for B pass a member that is connected with B. What B sent to
   one whose end of their connection never gets B's hello is not read */
#define FORWARD(q,o,s,n) \
	:: q != o && up[q] && (at[V(q,o)] & BIT(s,n)) && HEALTHY(q,1) -> atomic { \
		at[V(q,o)] = at[V(q,o)] & ~BIT(s,n); to[E(o,1-(s))] = to[E(o,1-(s))] | BIT(s,n) } \
	:: q != o && s == 0 && up[q] && (at[V(q,o)] & BIT(s,n)) && !HEALTHY(q,1) && !COMING(q) -> at[V(q,o)] = at[V(q,o)] & ~BIT(s,n) \
	:: q != o && lose && (at[V(q,o)] & BIT(s,n)) -> atomic { at[V(q,o)] = at[V(q,o)] & ~BIT(s,n); lose = false }
#define RELAY(q,o,e) \
	/* needed(), of another pair */ \
	:: q != o && up[q] && need0[2*V(q,o)+(e)] && HEALTHY(q,1) -> atomic { need0[2*V(q,o)+(e)] = false; need1[E(o,1-(e))] = q } \
	:: q != o && up[q] && need0[2*V(q,o)+(e)] && !HEALTHY(q,1) && (e == 1 || !COMING(q)) -> need0[2*V(q,o)+(e)] = false \
	:: q != o && lose && need0[2*V(q,o)+(e)] -> atomic { need0[2*V(q,o)+(e)] = false; lose = false }

/* begin(), needed() and what has no route, at one end */
#define END(o,e) \
	:: WANTED(o,e) && ROUTE(o,e) -> d_step { begin(o, e); skip } \
	:: WANTED(o,e) && !ROUTE(o,e) && reason[E(o,e)] != NOROUTE -> reason[E(o,e)] = NOROUTE /* noRoute() */ \
	:: up[(e)*(o)] && need1[E(o,e)] -> d_step { needed(o, e); skip } \
	:: lose && need1[E(o,e)] -> atomic { need1[E(o,e)] = 0; lose = false }

#define EACH(f,o,s)      f(o,s,1) f(o,s,2) f(o,s,3) f(o,s,4)
#define EACHEND(o,s,e)   EITHER(o,s,1,e) EITHER(o,s,2,e) EITHER(o,s,3,e) EITHER(o,s,4,e)
#define EACHVIA(q,o,s)   FORWARD(q,o,s,1) FORWARD(q,o,s,2) FORWARD(q,o,s,3) FORWARD(q,o,s,4)

/* with -DBOTH: offers of M */
#define SENDM(o,s,n) \
	:: WAITSFORROUTE(o,s,n) -> atomic { routed[C(o,s,n)] = true; at[V(A,o)] = at[V(A,o)] | BIT(s,n) }

/* G_ACC at A: accepted(), introduce() */
#define ACCEPT(n) \
	:: up[A] && (acc & BIT(0,n)) -> d_step { \
		acc = acc & ~BIT(0,n); \
		if \
		:: !knows[A] -> knows[A] = true; spread = true \
		:: else \
		fi; \
		offered(A, 0, n, 1); skip } \
	:: lose && (acc & BIT(0,n)) -> atomic { acc = acc & ~BIT(0,n); lose = false } \
	/* over the contact connection if there is no other route: sendAcc() */ \
	:: WAITSFORROUTE(A,0,n) && ROUTES == 0 -> atomic { routed[C(A,0,n)] = true; acc = acc | BIT(0,n) } \
	/* the log at B: opsCame(), tryJoin() */ \
	:: up[0] && (lg & BIT(0,n)) && (st[S(A,0,n,0)] == READY || st[S(A,0,n,0)] == RETIRED || st[S(A,0,n,0)] == ALLOWED) -> atomic { \
		lg = lg & ~BIT(0,n); \
		if \
		:: status == JOINS -> status = MEMBER \
		:: else \
		fi } \
	:: (lg & BIT(0,n)) && (st[S(A,0,n,0)] == DELETED || st[S(A,0,n,0)] == BROKEN) -> lg = lg & ~BIT(0,n) \
	:: lose && (lg & BIT(0,n)) -> atomic { lg = lg & ~BIT(0,n); lose = false; lostEnd = true }

proctype Pair(byte unused) {
end:	do
	/* GJOIN: Accept() */
	:: up[0] && inv -> atomic { inv = false; status = JOINS }
	:: lose && inv -> atomic { inv = false; lose = false; lostEnd = true }
	ACCEPT(1) ACCEPT(2) ACCEPT(3) ACCEPT(4)
	EACH(OFFERER,A,0) EACH(JOINER,A,0) EACHEND(A,0,0) EACHEND(A,0,1) EACH(TAKE,A,0)
	SEND3(A,1) SEND3(A,2) SEND3(A,3) SEND3(A,4)
	END(A,0) END(A,1)
	od
}

proctype PairM(byte unused) {
end:	do
	EACH(OFFERER,M,0) EACH(JOINER,M,0) EACHEND(M,0,0) EACHEND(M,0,1) EACH(TAKE,M,0)
	SEND3(M,1) SEND3(M,2) SEND3(M,3) SEND3(M,4)
	END(M,0) END(M,1)
#ifdef BOTH
	EACH(OFFERER,M,1) EACH(JOINER,M,1) EACHEND(M,1,0) EACHEND(M,1,1) EACH(TAKE,M,1)
	EACH(SENDM,M,1)
	:: think[0] && truth != 0 -> think[0] = false    /* the logs come to agree */
	:: think[1] && truth != 1 -> think[1] = false
#endif
	:: up[M] && stranger -> atomic {                 /* forwarded(): the initiator is not present */
		stranger = false;
#ifdef BUG_6
		assert(false)                            /* an offer of a stranger was joined */
#endif
	}
	od
}
#if OTHERS == 3
proctype PairK(byte unused) {
end:	do
	EACH(OFFERER,3,0) EACH(JOINER,3,0) EACHEND(3,0,0) EACHEND(3,0,1) EACH(TAKE,3,0)
	SEND3(3,1) SEND3(3,2) SEND3(3,3) SEND3(3,4)
	END(3,0) END(3,1)
	od
}
#endif

proctype Forwarders(byte unused) {
end:	do
	EACHVIA(1,2,0) EACHVIA(2,1,0) RELAY(1,2,0) RELAY(1,2,1) RELAY(2,1,0) RELAY(2,1,1)
#if SIDES == 2
	EACHVIA(1,2,1)
#endif
#if OTHERS == 3
	EACHVIA(1,3,0) EACHVIA(3,1,0) EACHVIA(2,3,0) EACHVIA(3,2,0)
	RELAY(1,3,0) RELAY(1,3,1) RELAY(3,1,0) RELAY(3,1,1) RELAY(2,3,0) RELAY(2,3,1) RELAY(3,2,0) RELAY(3,2,1)
#endif
	/* spreadLate(), opsCame() */
	:: up[A] && spread -> atomic {
		spread = false;
		for (k_ : 2 .. OTHERS) { ops[k_] = !knows[k_] } }
	:: up[M] && ops[M] -> atomic { ops[M] = false; knows[M] = true }
	:: lose && ops[M] -> atomic { ops[M] = false; lose = false }
#if OTHERS == 3
	:: up[3] && ops[3] -> atomic { ops[3] = false; knows[3] = true }
	:: lose && ops[3] -> atomic { ops[3] = false; lose = false }
#endif
	od
}

/* time: T1 of all ends when nothing else can happen, and a few earlier ones */
proctype Clock(byte unused) {
	do
	:: early > 0 && DUE(1,0) -> atomic { early--; t1(1, 0) }
	:: early > 0 && DUE(1,1) -> atomic { early--; t1(1, 1) }
	:: early > 0 && DUE(2,0) -> atomic { early--; t1(2, 0) }
	:: early > 0 && DUE(2,1) -> atomic { early--; t1(2, 1) }
	:: timeout -> atomic {
		if
		:: (status != JOINS || !up[0]) && ALL(NOTDUES) -> assert(settled); goto over
		:: else
		fi;
		t1(1, 0); t1(1, 1); t1(2, 0); t1(2, 1);
#if OTHERS == 3
		t1(3, 0); t1(3, 1);
#endif
		if
		:: status == JOINS && up[0] && age < 4 -> age++
		:: status == JOINS && up[0] && age == 4 ->      /* endings(): the invitation has expired */
			status = ENDED;
			age = 0;
			for (q_ : 1 .. OTHERS) {
				for (k_ : 1 .. MOST) {
					if
					:: st[S(q_,0,k_,0)] != NONE -> st[S(q_,0,k_,0)] = DELETED
					:: else
					fi
				}
			}
		:: else -> age = 0
		fi }
	od;
over:	skip
}

#ifdef BUG_7
/* after a restart nobody asks for the operations that were not answered: no Pending() */
#define FORGET(x) if :: st[x]==MAKING || st[x]==JOINING -> st[x] = STUCK :: else fi
#else
#define FORGET(x) skip
#endif

proctype Trouble(byte unused) {
	do
#ifdef GONE_A
	:: crash -> atomic { crash = false; up[A] = false }
#endif
#ifdef RESTART
	/* what a step stored and handed over stays; operations under way have to be asked for again */
	:: crash -> atomic {
		crash = false; up[RESTART] = false;
		for (q_ : 1 .. OTHERS) {
			for (k_ : 1 .. MOST) {
				if
				:: RESTART == 0 -> FORGET(S(q_,0,k_,0))
				:: RESTART == q_ -> FORGET(S(q_,0,k_,1))
				:: else
				fi
			}
		} }
	:: !up[RESTART] -> up[RESTART] = true
#endif
#ifdef REPAIR
	:: repair && HEALTHY(1,0) -> atomic { repair = false; replace[E(1,0)] = true }
	:: repair && HEALTHY(2,0) -> atomic { repair = false; replace[E(2,0)] = true }
	:: repair && HEALTHY(1,1) -> atomic { repair = false; need1[E(1,0)] = 1 }
	:: repair && HEALTHY(2,1) -> atomic { repair = false; need1[E(2,0)] = 2 }
#endif
#ifdef FORGE
	:: forge && WAITS(1,0,1) && conf[C(1,0,1)] == 0 && st[S(1,0,1,1)] != JOINED -> atomic { forge = false; conf[C(1,0,1)] = 2 }
	:: forge && WAITS(2,0,1) && conf[C(2,0,1)] == 0 && st[S(2,0,1,1)] != JOINED -> atomic { forge = false; conf[C(2,0,1)] = 2 }
#endif
	/* nothing more will go wrong */
	:: crash || repair || forge -> atomic { crash = false; repair = false; forge = false }
	:: !crash && !repair && !forge && ALL(RUNS) && up[0] -> break
#ifdef GONE_A
	:: !crash && !up[A] -> break
#endif
	od
}

init {
	atomic {
#ifdef LOSE
		lose = true;
#endif
#if defined(GONE_A) || defined(RESTART)
		crash = true;
#endif
#ifdef REPAIR
		repair = true;
#endif
#ifdef FORGE
		forge = true; stranger = true;
#endif
#ifdef BOTH
		if
		:: truth = 0
		:: truth = 1
		fi;
		/* attempts are times: any of them may be the higher one */
		if
		:: skip
		:: attempt[E(M,0)] = 1
		:: attempt[E(M,1)] = 1
		fi;
		knows[M] = true;
		/* B is a member already, and connected with A */
		inv = false; status = MEMBER; knows[A] = true;
		st[S(A,0,1,0)] = READY; st[S(A,0,1,1)] = READY; attempt[E(A,0)] = 1; attempt[E(A,1)] = 1;
#endif
		run Pair(0); run PairM(0); run Forwarders(0); run Clock(0); run Trouble(0)
#if OTHERS == 3
		; run PairK(0)
#endif
	}
}

/* -DHOLDS=p: from some moment on p holds for ever, <>[] p, whatever happens */
#ifdef HOLDS
never {
again:	do
	:: !(HOLDS) -> goto accept
	:: true
	od;
accept:	goto again
}
#endif
