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
byte tries[2*OTHERS];            /* E: T1 fired for one offer, at most MOST times: how old it is */
bool hold[2*OTHERS];             /* E: waits for T1 before it begins again */
bool replace[2*OTHERS];          /* E: a connection is wanted beside the working one */
byte last[2*OTHERS];             /* E: route tried last */
byte status = INVITED;           /* of B */
bool asks;                       /* B's question for the log, G_SYNC without heads, is on the way to A */
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
byte at[OTHERS*OTHERS];          /* V: BIT, G_INV_MEM on the way to a forwarder or held there; V(o,o): over the pair itself */
byte to[2*OTHERS];               /* E: BIT, G_MEM_INV on the way to that end */
bool need0[2*OTHERS*OTHERS];     /* 2*V+e: G_NEED, hops 0, of that end, on the way to a forwarder */
byte need1[2*OTHERS];            /* E: G_NEED on the way to that end, by whom */
bool stranger;                   /* G_MEM_INV with an offer of somebody who is no member, on the way to M */

/* trouble to come */
byte early = EARLY;
bool lose, crash, repair, forge;
bool lostEnd;                    /* lost is G_INV: only a person invites again */
#ifdef BOTH
bool think[2] = true;            /* B, M: "I make the offers" */
bool truth;                      /* who does, by both logs */
#endif

hidden byte k_, s_, q_;
hidden byte f_;

#define READYAT(o,s,e) (st[S(o,s,1,e)]==READY||st[S(o,s,2,e)]==READY||st[S(o,s,3,e)]==READY||st[S(o,s,4,e)]==READY)
#define JOINEDAT(o,s,e) (st[S(o,s,1,e)]==JOINED||st[S(o,s,2,e)]==JOINED||st[S(o,s,3,e)]==JOINED||st[S(o,s,4,e)]==JOINED)
#define UNANSWERED(x)  (st[x]==MAKING||st[x]==OFFERED||st[x]==ALLOWED||st[x]==STUCK)
#define OPEN(o,e)      (UNANSWERED(S(o,e,1,e))||UNANSWERED(S(o,e,2,e))||UNANSWERED(S(o,e,3,e))||UNANSWERED(S(o,e,4,e)))
#define WORKS(o,s,n)   (st[S(o,s,n,0)]==READY && st[S(o,s,n,1)]==READY)
#define WORK(o,s)      (WORKS(o,s,1) || WORKS(o,s,2) || WORKS(o,s,3) || WORKS(o,s,4))
#define WAITS(o,s,n)   (st[S(o,s,n,s)]==OFFERED && routed[C(o,s,n)])
#define WAIT(o,s)      (WAITS(o,s,1) || WAITS(o,s,2) || WAITS(o,s,3) || WAITS(o,s,4))
#define COMES(o,s)     (info[C(o,s,1)] || info[C(o,s,2)] || info[C(o,s,3)] || info[C(o,s,4)])
#if SIDES == 2
#define HEALTHY(o,e)   (READYAT(o,0,e) || READYAT(o,1,e))
#define HALF(o,e)      (JOINEDAT(o,0,e) || JOINEDAT(o,1,e))
#define PAIR(o)        (WORK(o,0) || WORK(o,1))
#define OFFERING(o,e)  OPEN(o,e)
#define WAITING(o,e)   WAIT(o,e)
#define COMING(o)      (COMES(o,0) || COMES(o,1))
#else
#define HEALTHY(o,e)   READYAT(o,0,e)
#define HALF(o,e)      JOINEDAT(o,0,e)
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
		f_ = false;                        /* both offered: the smaller key's offer stands */
		if                                 /* outbid(): with a higher attempt than the other end's */
		:: n >= attempt[E(o,e)] && st[S(o,e,attempt[E(o,e)],e)] != ALLOWED ->
			for (k_ : 1 .. MOST) {
				if
				:: UNANSWERED(S(o,e,k_,e)) -> st[S(o,e,k_,e)] = DELETED
				:: else
				fi
			}
			attempt[E(o,e)] = n
		:: else
		fi
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
		tries[E(o,e)] = 0; hold[E(o,e)] = true      /* for T1 */
	:: else
	fi
}

/* stale(): out for so long that another offer may help, the longer the more there were */
#define STALE(o,e) (tries[E(o,e)] >= attempt[E(o,e)] && attempt[E(o,e)] < MOST)

/* G_NEED at the end that makes the offers: needed(). Over the pair itself it is read behind a good hello, and does not
   count while the own hello may be on its way */
inline needed(o, e) {
	q_ = need1[E(o,e)];
	need1[E(o,e)] = 0;
	f_ = q_ == o && (!HEALTHY(o,e) || COMING(o));
	for (k_ : 1 .. MOST) {
		if
		:: !f_ && (e < SIDES) && st[S(o,e % SIDES,k_,e)] == OFFERED && (routed[C(o,e % SIDES,k_)] || STALE(o,e)) ->
			f_ = true;
			if
#ifndef BUG_10
			:: STALE(o,e) -> st[S(o,e % SIDES,k_,e)] = DELETED; hold[E(o,e)] = false /* renew() */
			:: !STALE(o,e) && q_ == o -> routed[C(o,e % SIDES,k_)] = false
			:: !STALE(o,e) && q_ != o -> at[V(q_,o)] = at[V(q_,o)] | BIT(e,k_) /* [I1: G_NEED] the way that it came */
#else
			:: q_ == o -> routed[C(o,e % SIDES,k_)] = false
			:: else -> at[V(q_,o)] = at[V(q_,o)] | BIT(e,k_)
#endif
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

#ifdef BUG_14
#define NOTHALF    true
#else
#define NOTHALF    !(HALF(o,e) && last[E(o,e)] != o)
#endif
/* contactOnly() */
#if OTHERS == 3
#define CONTACTONLY(o,e) ((o) == A && (e) == 0 && !HEALTHY(2,0) && !HEALTHY(3,0))
#else
#define CONTACTONLY(o,e) ((o) == A && (e) == 0 && !HEALTHY(2,0))
#endif

/* pairTimers() */
inline t1(o, e) {
	if
	:: !DUE(o,e)
	:: DUE(o,e) && WAITING(o,e) ->
		for (k_ : 1 .. MOST) {
			if
#if defined(BOTH) && !defined(BUG_13)
			:: WAITS(o,e % SIDES,k_) && !INITIATES(o,e) -> st[S(o,e % SIDES,k_,e)] = DELETED
			:: !INITIATES(o,e) && !WAITS(o,e % SIDES,k_) -> skip
#endif
#ifndef BUG_16
			:: (e < SIDES) && INITIATES(o,e) && WAITS(o,e % SIDES,k_) && CONTACTONLY(o,e) && STALE(o,e) -> /* renew() */
				st[S(o,e % SIDES,k_,e)] = DELETED; hold[E(o,e)] = false
			:: (e < SIDES) && INITIATES(o,e) && WAITS(o,e % SIDES,k_) && !(CONTACTONLY(o,e) && STALE(o,e)) -> /* [I1: no hello for T1] */
#else
			:: (e < SIDES) && INITIATES(o,e) && WAITS(o,e % SIDES,k_) ->
#endif
#ifndef BUG_3
				routed[C(o,e % SIDES,k_)] = false;  /* the same offer again */
#endif
				if
				:: tries[E(o,e)] < MOST -> tries[E(o,e)]++
				:: else
				fi
			:: else
			fi
		}
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
#ifdef BUG_14
		:: false -> skip
#else
		:: HALF(o,e) && last[E(o,e)] != o ->             /* over the connection that was joined, every other time */
			last[E(o,e)] = o; need1[E(o,1-e)] = o
#endif
		:: NOTHALF && 1 != o && (e == 1 || HEALTHY(1,0)) && (f_ || last[E(o,e)] != 1) ->
			last[E(o,e)] = 1; need0[2*V(1,o)+e] = true
		:: NOTHALF && 2 != o && (e == 1 || HEALTHY(2,0)) && (f_ || last[E(o,e)] != 2) ->
			last[E(o,e)] = 2; need0[2*V(2,o)+e] = true
#if OTHERS == 3
		:: NOTHALF && 3 != o && (e == 1 || HEALTHY(3,0)) && (f_ || last[E(o,e)] != 3) ->
			last[E(o,e)] = 3; need0[2*V(3,o)+e] = true
#endif
		:: else ->
			if
#ifndef BUG_14
			:: HALF(o,e) -> need1[E(o,1-e)] = o     /* nobody else */
#endif
			:: else -> reason[E(o,e)] = NOROUTE
			fi
		fi
	fi
}

/* sendOffers() of B over one route; over the pair itself while it seems to work */
#define SENDVIA(o,n,q) \
	:: atomic { WAITSFORROUTE(o,0,n) && HEALTHY(q,0) && ((ROUTES == 1 && !(o == A && last[E(o,0)] == A)) || last[E(o,0)] != q) -> \
		routed[C(o,0,n)] = true; last[E(o,0)] = q; at[V(q,o)] = at[V(q,o)] | BIT(0,n) }
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
	:: atomic { up[(s)*(o)] && st[S(o,s,n,s)] == MAKING -> st[S(o,s,n,s)] = OFFERED; routed[C(o,s,n)] = false } \
	/* [I1: confirmation, hello good] confirmation() */ \
	:: atomic { up[(s)*(o)] && conf[C(o,s,n)] == 1 && st[S(o,s,n,s)] == OFFERED -> \
		conf[C(o,s,n)] = 0; st[S(o,s,n,s)] = ALLOWED; hold[E(o,s)] = false } \
	/* [I1: hello bad] badHello() */ \
	:: atomic { up[(s)*(o)] && conf[C(o,s,n)] == 2 && st[S(o,s,n,s)] == OFFERED -> BADHELLO(o,s,n) } \
	:: atomic { conf[C(o,s,n)] && st[S(o,s,n,s)] == DELETED -> conf[C(o,s,n)] = 0 } \
	:: atomic { lose && conf[C(o,s,n)] -> conf[C(o,s,n)] = 0; lose = false } \
	/* [I2: CON, or it cannot be finished] */ \
	:: d_step { up[(s)*(o)] && st[S(o,s,n,s)] == ALLOWED -> \
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
	:: d_step { up[(1-(s))*(o)] && st[S(o,s,n,1-(s))] == JOINING -> \
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
	:: d_step { up[(1-(s))*(o)] && info[C(o,s,n)] && st[S(o,s,n,1-(s))] == JOINED -> \
		info[C(o,s,n)] = 0; \
		ready(o, s, n, 1-(s)); skip } \
	:: atomic { info[C(o,s,n)] && st[S(o,s,n,1-(s))] == DELETED -> info[C(o,s,n)] = 0 } \
	:: atomic { lose && info[C(o,s,n)] -> info[C(o,s,n)] = 0; lose = false }

/* what both ends of a connection do */
#define EITHER(o,s,n,e) \
	/* [I3: sending fails for good] broke() */ \
	:: d_step { up[(e)*(o)] && st[S(o,s,n,e)] == READY && st[S(o,s,n,1-(e))] == DELETED -> \
		st[S(o,s,n,e)] = BROKEN; \
		if \
		:: HEALTHY(o,e) \
		:: else -> reason[E(o,e)] = AUTH; hold[E(o,e)] = false \
		fi; \
		skip } \
	/* [I3, R3: delete the old one] endings() */ \
	:: d_step { up[(e)*(o)] && st[S(o,s,n,e)] == RETIRED -> survivor(o, n, e); st[S(o,s,n,e)] = DELETED }

/* what an end does with an offer for it: toForward(), forwarded() */
#define TAKE(o,s,n) \
	:: d_step { up[(1-(s))*(o)] && (to[E(o,1-(s))] & BIT(s,n)) && (s == 0 || status == MEMBER) -> \
		to[E(o,1-(s))] = to[E(o,1-(s))] & ~BIT(s,n); \
		if \
		:: s == 0 -> knows[o] = true           /* its add is in the same frame */ \
		:: else \
		fi; \
		offered(o, s, n, 1-(s)); skip } \
	:: atomic { lose && (to[E(o,1-(s))] & BIT(s,n)) -> to[E(o,1-(s))] = to[E(o,1-(s))] & ~BIT(s,n); lose = false } \
	/* over the pair itself, behind a good hello */ \
	:: d_step { s == 0 && up[o] && (at[V(o,o)] & BIT(0,n)) && HEALTHY(o,1) -> \
		at[V(o,o)] = at[V(o,o)] & ~BIT(0,n); \
		offered(o, 0, n, 1); skip } \
	:: atomic { s == 0 && up[o] && (at[V(o,o)] & BIT(0,n)) && !HEALTHY(o,1) && !COMING(o) -> at[V(o,o)] = at[V(o,o)] & ~BIT(0,n) } \
	:: atomic { s == 0 && lose && (at[V(o,o)] & BIT(0,n)) -> at[V(o,o)] = at[V(o,o)] & ~BIT(0,n); lose = false }

/* forward(), hold(), forwardHeld(): B's offers and those for B pass a member that is connected with B. What B sent to
   one whose end of their connection never gets B's hello is not read */
#define FORWARD(q,o,s,n) \
	:: atomic { q != o && up[q] && (at[V(q,o)] & BIT(s,n)) && HEALTHY(q,1) -> \
		at[V(q,o)] = at[V(q,o)] & ~BIT(s,n); to[E(o,1-(s))] = to[E(o,1-(s))] | BIT(s,n) } \
	:: atomic { q != o && s == 0 && up[q] && (at[V(q,o)] & BIT(s,n)) && !HEALTHY(q,1) && !COMING(q) -> at[V(q,o)] = at[V(q,o)] & ~BIT(s,n) } \
	:: atomic { q != o && lose && (at[V(q,o)] & BIT(s,n)) -> at[V(q,o)] = at[V(q,o)] & ~BIT(s,n); lose = false }
#define RELAY(q,o,e) \
	/* needed(), of another pair */ \
	:: atomic { q != o && up[q] && need0[2*V(q,o)+(e)] && HEALTHY(q,1) -> need0[2*V(q,o)+(e)] = false; need1[E(o,1-(e))] = q } \
	:: atomic { q != o && up[q] && need0[2*V(q,o)+(e)] && !HEALTHY(q,1) && (e == 1 || !COMING(q)) -> need0[2*V(q,o)+(e)] = false } \
	:: atomic { q != o && lose && need0[2*V(q,o)+(e)] -> need0[2*V(q,o)+(e)] = false; lose = false }

/* begin(), needed() and what has no route, at one end */
#define END(o,e) \
	:: d_step { WANTED(o,e) && ROUTE(o,e) -> begin(o, e); skip } \
	:: atomic { WANTED(o,e) && !ROUTE(o,e) && reason[E(o,e)] != NOROUTE -> reason[E(o,e)] = NOROUTE } /* noRoute() */ \
	:: d_step { up[(e)*(o)] && need1[E(o,e)] -> needed(o, e); skip } \
	:: atomic { lose && need1[E(o,e)] -> need1[E(o,e)] = 0; lose = false }

#define EACH(f,o,s)      f(o,s,1) f(o,s,2) f(o,s,3) f(o,s,4)
#define EACHEND(o,s,e)   EITHER(o,s,1,e) EITHER(o,s,2,e) EITHER(o,s,3,e) EITHER(o,s,4,e)
#define EACHVIA(q,o,s)   FORWARD(q,o,s,1) FORWARD(q,o,s,2) FORWARD(q,o,s,3) FORWARD(q,o,s,4)

/* with -DBOTH: offers of M */
#define SENDM(o,s,n) \
	:: atomic { WAITSFORROUTE(o,s,n) -> routed[C(o,s,n)] = true; at[V(A,o)] = at[V(A,o)] | BIT(s,n) }

/* G_ACC at A: accepted(), introduce() */
#define ACCEPT(n) \
	:: d_step { up[A] && (acc & BIT(0,n)) -> \
		acc = acc & ~BIT(0,n); \
		if \
		:: !knows[A] -> knows[A] = true; spread = true \
		:: else \
		fi; \
		offered(A, 0, n, 1); skip } \
	:: atomic { lose && (acc & BIT(0,n)) -> acc = acc & ~BIT(0,n); lose = false } \
	/* over the contact connection if there is no other route, or if the pair itself brought nothing: sendAcc() */ \
	:: atomic { WAITSFORROUTE(A,0,n) && (ROUTES == 0 || (ROUTES == 1 && HEALTHY(A,0) && last[E(A,0)] == A)) -> \
		routed[C(A,0,n)] = true; last[E(A,0)] = 0; acc = acc | BIT(0,n) } \
	/* the log at B: opsCame(), tryJoin() */ \
	:: atomic { up[0] && (lg & BIT(0,n)) && (st[S(A,0,n,0)] == READY || st[S(A,0,n,0)] == RETIRED || st[S(A,0,n,0)] == ALLOWED) -> \
		lg = lg & ~BIT(0,n); \
		if \
		:: status == JOINS -> status = MEMBER \
		:: else \
		fi } \
	:: atomic { (lg & BIT(0,n)) && (st[S(A,0,n,0)] == DELETED || st[S(A,0,n,0)] == BROKEN) -> lg = lg & ~BIT(0,n) } \
	:: atomic { lose && (lg & BIT(0,n)) -> lg = lg & ~BIT(0,n); lose = false } \
	/* logWanted(), over the newest connection */ \
	:: atomic { up[A] && asks && st[S(A,0,n,1)] == READY -> asks = false; lg = lg | BIT(0,n) }

proctype Pair(byte unused) {
end:	do
	/* GJOIN: Accept() */
	:: atomic { up[0] && inv -> inv = false; status = JOINS }
	:: atomic { lose && inv -> inv = false; lose = false; lostEnd = true }
	ACCEPT(1) ACCEPT(2) ACCEPT(3) ACCEPT(4)
	:: atomic { up[A] && asks && !HEALTHY(A,1) && !COMING(A) -> asks = false }
	:: atomic { lose && asks -> asks = false; lose = false }
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
	:: atomic { think[0] && truth != 0 -> think[0] = false }    /* the logs come to agree */
	:: atomic { think[1] && truth != 1 -> think[1] = false }
#endif
	:: atomic { up[M] && stranger ->                 /* forwarded(): the initiator is not present */
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
	:: atomic { up[A] && spread ->
		spread = false;
		for (k_ : 2 .. OTHERS) { ops[k_] = !knows[k_] } }
	:: atomic { up[M] && ops[M] -> ops[M] = false; knows[M] = true }
	:: atomic { lose && ops[M] -> ops[M] = false; lose = false }
#if OTHERS == 3
	:: atomic { up[3] && ops[3] -> ops[3] = false; knows[3] = true }
	:: atomic { lose && ops[3] -> ops[3] = false; lose = false }
#endif
	od
}

/* time: T1 of all ends when nothing else can happen, and a few earlier ones */
proctype Clock(byte unused) {
	do
	:: atomic { early > 0 && DUE(1,0) -> early--; t1(1, 0) }
	:: atomic { early > 0 && DUE(1,1) -> early--; t1(1, 1) }
	:: atomic { early > 0 && DUE(2,0) -> early--; t1(2, 0) }
	:: atomic { early > 0 && DUE(2,1) -> early--; t1(2, 1) }
	:: timeout -> atomic {
		if
		:: (status != JOINS || !up[0]) && ALL(NOTDUES) -> assert(settled); goto over
		:: else
		fi;
		t1(1, 0); t1(1, 1); t1(2, 0); t1(2, 1);
#if OTHERS == 3
		t1(3, 0); t1(3, 1);
#endif
#ifndef BUG_15
		if
		:: status == JOINS && up[0] && HEALTHY(A,0) -> asks = true /* askForLog() */
		:: else
		fi;
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
	:: atomic { crash -> crash = false; up[A] = false }
#endif
#ifdef RESTART
	/* what a step stored and handed over stays; operations under way have to be asked for again */
	:: atomic { crash ->
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
	:: atomic { repair && HEALTHY(1,0) -> repair = false; replace[E(1,0)] = true }
	:: atomic { repair && HEALTHY(2,0) -> repair = false; replace[E(2,0)] = true }
	:: atomic { repair && HEALTHY(1,1) -> repair = false; need1[E(1,0)] = 1 }
	:: atomic { repair && HEALTHY(2,1) -> repair = false; need1[E(2,0)] = 2 }
#endif
#ifdef FORGE
	:: atomic { forge && WAITS(1,0,1) && conf[C(1,0,1)] == 0 && st[S(1,0,1,1)] != JOINED -> forge = false; conf[C(1,0,1)] = 2 }
	:: atomic { forge && WAITS(2,0,1) && conf[C(2,0,1)] == 0 && st[S(2,0,1,1)] != JOINED -> forge = false; conf[C(2,0,1)] = 2 }
#endif
	/* nothing more will go wrong */
	:: atomic { crash || repair || forge -> crash = false; repair = false; forge = false }
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
