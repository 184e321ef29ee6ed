// SPDX-License-Identifier: GPL-2.0-or-later
/* The model's agents: verdict, copying, joining, promotion; and what must always hold. */
#include "model.h"

#include <string.h>

#include <linux/repl.h>

#include "promote.h"

enum { SIZE = 64 << 20, COPY_ID = 100, OLD_COPY_ID = 200 };

static struct repl_id id(uint8_t n)
{
	struct repl_id i = { { n } };

	return i;
}

/* As copy_read() says it. */
struct copy model_copy(const struct cluster *c, unsigned int of, unsigned int about)
{
	static const struct { uint16_t node; uint32_t wire; } flags[] = {
		{ N_PRIMARY, REPL_MV_PRIMARY }, { N_SB_CONSISTENT, REPL_MV_CONSISTENT },
		{ N_SB_IDENTITY, REPL_MV_IDENTITY }, { N_SB_PRIMARY, REPL_MV_WAS_PRIMARY },
		{ N_SB_UNPROVEN, REPL_MV_WAS_PRIMARY | REPL_MV_UNPROVEN },
	};
	const struct mnode *m = &c->node[of];
	const struct mslot *s = &m->slot[about];
	struct copy copy = {
		.uuid = id(m->uuid), .copy_id = id((uint8_t)(COPY_ID + of)),
		.generation = id(m->generation), .size = SIZE, .lbs_shift = 12,
		.flags = m->flags & N_SB_CRASHED ? 0 : REPL_MV_CLEAN,
	};
	unsigned int n = 0;

	for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (m->flags & flags[i].node)
			copy.flags |= flags[i].wire;
	for (uint8_t g = 1; g < GENERATIONS; g++)
		if (m->history & 1u << g)
			copy.history[n++] = id(g);
	if (!(s->flags & S_USED))
		return copy;
	copy.flags |= REPL_MV_SLOT | (s->flags & S_LIVE ? REPL_MV_SLOT_LIVE : 0);
	copy.slot_copy_id = id((uint8_t)(s->flags & S_CURRENT ? COPY_ID + about : OLD_COPY_ID));
	copy.slot_generation = id(s->generation);
	copy.slot_dirty_blocks = model_dirty(s);
	return copy;
}

void model_verdict(struct verdict *out, const struct cluster *c, unsigned int mine,
		   unsigned int theirs)
{
	struct copy a = model_copy(c, mine, theirs), b = model_copy(c, theirs, mine);

	if (model_wrong.clean_ignored) {
		a.flags = (a.flags | REPL_MV_CLEAN) & ~(uint32_t)REPL_MV_UNPROVEN;
		b.flags = (b.flags | REPL_MV_CLEAN) & ~(uint32_t)REPL_MV_UNPROVEN;
	}
	if (model_wrong.live_ignored) {
		a.flags &= ~(uint32_t)REPL_MV_SLOT_LIVE;
		b.flags &= ~(uint32_t)REPL_MV_SLOT_LIVE;
	}
	verdict(out, &a, &b, !model_wrong.higher_key && mine < theirs);
	if (model_wrong.newer_ignored && (out->kind == VERDICT_LEAD || out->kind == VERDICT_FOLLOW))
		out->kind = verdict_mirror(out->kind);
}

static bool newer(const struct cluster *c, unsigned int of, unsigned int than)
{
	struct copy a = model_copy(c, of, than), b = model_copy(c, than, of);

	return verdict_newer(&a, &b);
}

static bool was_live(const struct cluster *c, unsigned int of, unsigned int about)
{
	const struct mslot *s = &c->node[of].slot[about];

	return s->flags & S_LIVE && s->generation == c->node[of].generation;
}

static const struct mpair *pair_of(const struct cluster *c, unsigned int a, unsigned int b)
{
	return &c->pair[a + b - 1];
}

static bool live(const struct cluster *c, unsigned int a, unsigned int b)
{
	return pair_of(c, a, b)->link == LINK_LIVE;
}

static bool follows(const struct cluster *c, unsigned int n, unsigned int other)
{
	const struct mpair *p = pair_of(c, n, other);

	return (p->step || p->link == LINK_HALF) && p->leader == other;
}

/* ------------------------------------------------------- who may lead --- */

static bool served_by_another(const struct cluster *c, unsigned int n, unsigned int but)
{
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != n && i != but && !(c->node[n].flags & N_PRIMARY) && live(c, n, i) &&
		    c->node[i].flags & N_PRIMARY && model_connected(c, n, i))
			return true;
	return false;
}

/* pair_absent() */
static bool absent(const struct cluster *c, unsigned int n, unsigned int but)
{
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != n && i != but && was_live(c, n, i) &&
		    (!model_connected(c, n, i) || c->node[i].flags & N_PRIMARY))
			return true;
	return false;
}

static bool stronger(const struct cluster *c, unsigned int leader, unsigned int than)
{
	return c->node[leader].flags & N_PRIMARY ||
	       c->node[leader].generation != c->node[than].generation;
}

/* pair_unasked(): somebody may have what an unclean stop has lost here. */
static bool unasked(const struct cluster *c, unsigned int n, unsigned int but)
{
	struct verdict v;

	if (!(c->node[n].flags & (N_SB_CRASHED | N_SB_UNPROVEN)) || model_wrong.unasked_ignored)
		return false;
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (i == n || i == but || !was_live(c, n, i) || live(c, n, i))
			continue;
		if (!model_connected(c, n, i))
			return true;
		model_verdict(&v, c, n, i);
		if (!verdict_leads(v.kind))
			return true;
	}
	return false;
}

static bool may_lead(const struct cluster *c, unsigned int l, unsigned int f,
		     const struct verdict *v)
{
	bool weak = !stronger(c, l, f) && !verdict_equal(v->kind);

	if (!verdict_leads(v->kind) || served_by_another(c, l, f) || served_by_another(c, f, l))
		return false;
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (i == l || i == f)
			continue;
		if (follows(c, l, i) || follows(c, f, i) || (weak && live(c, f, i)))
			return false;
		/* Its end of a link that is being joined is live. */
		if (pair_of(c, f, i)->link == LINK_HALF)
			return false;
	}
	return !unasked(c, l, f) && (!weak || !absent(c, f, l));
}

/* --------------------------------------------------------- procedure ---- */

/* Return: whether the slot was assigned anew. */
static bool assign(struct mnode *m, unsigned int peer)
{
	struct mslot *s = &m->slot[peer];

	if ((s->flags & (S_USED | S_CURRENT)) == (S_USED | S_CURRENT))
		return false;
	*s = (struct mslot){ .flags = S_USED | S_CURRENT | S_FULL, .map = model_all() };
	return true;
}

/* know_third(): both follow one primary, which will say what they have in common. */
static void know_third(struct cluster *c, unsigned int n, unsigned int other)
{
	const struct mnode *m = &c->node[other];

	if (served_by_another(c, n, other) && m->flags & N_SB_CONSISTENT &&
	    m->uuid == c->node[n].uuid && !follows(c, n, other) && !follows(c, other, n))
		assign(&c->node[n], other);
}

void model_settle(struct cluster *c)
{
	for (unsigned int a = 0; a < model_nodes; a++)
		for (unsigned int b = 0; b < model_nodes; b++) {
			if (a == b || !model_connected(c, a, b) || pair_of(c, a, b)->link)
				continue;
			if (newer(c, b, a))
				c->node[a].outrun[b] = c->node[a].generation;
			know_third(c, a, b);
		}
}

/* slot_follow(): this copy is the leader's from here on, who must have all that it promised. */
static void give_up(struct cluster *c, struct mnode *f, const struct mnode *l)
{
	if (f->firm & ~l->content & c->acked & ~c->excused)
		model_complain("given up for a copy without an acknowledged write");
	f->firm = 0;
	f->uuid = l->uuid;
	f->flags |= N_SB_IDENTITY;
	if (!model_wrong.kept_consistent)
		f->flags &= (uint16_t)~N_SB_CONSISTENT;
	for (unsigned int i = 0; i < model_nodes; i++)
		f->slot[i].flags &= (uint8_t)~S_LIVE;
}

/* slot_mark_extents(): it saves all maps. */
static void mark(struct cluster *c, unsigned int n, unsigned int slot, uint8_t blocks)
{
	struct mnode *m = &c->node[n];

	m->slot[slot].map |= blocks;
	m->stable = m->content;
	for (unsigned int i = 0; i < model_nodes && !model_wrong.mark_not_saved; i++) {
		m->slot[i].saved = model_dirty(&m->slot[i]);
		if (i != n && pair_of(c, n, i)->leader == i)
			m->slot[i].saved |= pair_of(c, n, i)->cut;
	}
}

static void broken(struct cluster *c, unsigned int a, unsigned int b)
{
	model_kill_link(c, a, b);
	model_pair(c, a, b)->cable = 0;
}

static bool agree(struct cluster *c, unsigned int l, unsigned int f, uint8_t variant)
{
	struct mpair *p = model_pair(c, l, f);
	struct mnode *first = &c->node[l], *second = &c->node[f];
	struct verdict v;

	model_verdict(&v, c, l, f);
	if (variant > STEP_BROKEN || !may_lead(c, l, f, &v))
		return false;
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != f && i != l && live(c, f, i) && stronger(c, l, f))
			model_kill_link(c, f, i);
	assign(second, l);
	p->leader = (uint8_t)l;
	p->step = 1;
	p->cut = model_dirty(&second->slot[l]);
	second->slot[l].map = second->slot[l].settling = 0;
	if (!verdict_equal(v.kind)) {
		give_up(c, second, first);
		p->followed = 1;
	}
	if (variant == STEP_BROKEN) {
		broken(c, l, f);
		return true;
	}
	if (!assign(first, f) && verdict_full(v.kind))
		mark(c, l, f, model_all());
	if (p->cut && !model_wrong.follower_map_ignored)
		mark(c, l, f, p->cut);
	if (model_wrong.verdict_clears)
		first->slot[f].map = 0;
	return true;
}

/* The blocks of a delta reach the follower's device. */
static void copy_blocks_of(struct cluster *c, unsigned int l, unsigned int f, uint8_t blocks)
{
	struct mnode *first = &c->node[l], *second = &c->node[f];
	uint8_t lost = second->firm & second->content & blocks & ~first->content;

	if (lost & c->acked & ~c->excused)
		model_complain("an acknowledged write is overwritten");
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != l && second->slot[i].flags & S_USED && !model_wrong.delta_not_marked)
			mark(c, f, i, blocks);
	second->content = (uint8_t)((second->content & ~blocks) | (first->content & blocks));
	second->firm &= second->content;
	second->stable &= second->content;
}

static bool copy_pass(struct cluster *c, unsigned int l, unsigned int f, uint8_t variant)
{
	struct mpair *p = model_pair(c, l, f);
	struct mnode *first = &c->node[l], *second = &c->node[f];
	uint8_t blocks = model_dirty(&first->slot[f]);

	if (variant && !blocks)
		return false;
	/* follow_delta(), slot_follow(): it is not what it was when they agreed, or has a link. */
	if (!p->followed &&
	    ((first->generation != second->generation && !model_wrong.goes_back) ||
	     (blocks && model_live(c, f)))) {
		model_kill_link(c, l, f);
		return !variant;
	}
	if (blocks && !p->followed) {
		give_up(c, second, first);
		p->followed = 1;
	}
	if (variant == STEP_BROKEN)
		blocks &= (uint8_t)-blocks;
	copy_blocks_of(c, l, f, blocks);
	if (variant) {
		broken(c, l, f);
		return true;
	}
	if (!model_wrong.delta_not_flushed)
		second->stable = second->content;
	first->slot[f].map = first->slot[f].settling = 0;
	p->generation = first->generation;
	p->step = 2;
	return true;
}

/* slot_join() of the leader. */
static bool lead_join(struct cluster *c, unsigned int l, unsigned int f, uint8_t variant)
{
	struct mpair *p = model_pair(c, l, f);
	struct mnode *m = &c->node[l];
	struct mslot *s = &m->slot[f];

	if (model_dirty(s) || p->generation != m->generation) {
		if (variant)
			return false;
		p->step = 1;
		return true;
	}
	if (variant > STEP_BROKEN)
		return false;
	m->stable = m->content;
	m->flags &= (uint16_t)~(N_SB_UNPROVEN | N_SB_CRASHED);
	s->flags |= S_LIVE;
	s->flags &= (uint8_t)~S_FULL;
	s->generation = m->generation;
	p->link = LINK_HALF;
	p->step = 0;
	if (variant == STEP_BROKEN)
		broken(c, l, f);
	return true;
}

/* join_refused(): what it holds, or is, has changed since it agreed. */
static bool follow_refused(const struct mnode *first, const struct mnode *m,
			   const struct mslot *s)
{
	return model_dirty(s) || (m->flags & N_SB_CONSISTENT && m->generation != first->generation &&
			  !model_wrong.goes_back);
}

/* slot_join() of the follower, after its cut was committed. */
static bool follow_join(struct cluster *c, unsigned int l, unsigned int f, uint8_t variant)
{
	struct mpair *p = model_pair(c, l, f);
	struct mnode *first = &c->node[l], *m = &c->node[f];
	struct mslot *s = &m->slot[l];

	if (variant > STEP_BROKEN)
		return false;
	p->cut = 0;
	if (variant == STEP_BROKEN) {
		broken(c, l, f);
		return true;
	}
	if (follow_refused(first, m, s)) {
		model_kill_link(c, l, f);
		return true;
	}
	if (m->content != first->content)
		model_complain("copies are in sync and differ");
	if (!(first->flags & N_SB_CONSISTENT))
		model_complain("a copy that is not consistent leads");
	m->generation = first->generation;
	m->history = first->history;
	m->flags |= N_SB_CONSISTENT | N_SB_IDENTITY;
	m->flags &= (uint16_t)~(N_SB_UNPROVEN | N_SB_CRASHED);
	s->flags |= S_LIVE;
	s->flags &= (uint8_t)~S_FULL;
	s->generation = m->generation;
	m->stable = m->firm = m->content;
	p->link = LINK_LIVE;
	p->step = p->followed = p->generation = 0;
	return true;
}

bool model_step(struct cluster *c, unsigned int l, unsigned int f, uint8_t variant)
{
	struct mpair *p = model_pair(c, l, f);

	if (!model_connected(c, l, f) || p->link == LINK_LIVE)
		return false;
	if (!p->step && p->link == LINK_NONE)
		return agree(c, l, f, variant);
	if (p->leader != l)
		return false;
	/* lead_snapshot(): it has begun to follow somebody itself. */
	if (p->link == LINK_NONE && !model_wrong.leads_incomplete &&
	    !(c->node[l].flags & N_SB_CONSISTENT)) {
		model_kill_link(c, l, f);
		return true;
	}
	if (p->link == LINK_HALF)
		return follow_join(c, l, f, variant);
	return p->step == 1 ? copy_pass(c, l, f, variant) : lead_join(c, l, f, variant);
}

bool model_sync(struct cluster *c, unsigned int l, unsigned int f)
{
	bool any = false;

	for (unsigned int i = 0; i < 8 && model_step(c, l, f, STEP_WHOLE); i++) {
		any = true;
		if (live(c, l, f))
			break;
	}
	return any;
}

/* --------------------------------------------------------- promotion ---- */

static void gather(struct promote_facts *f, const struct cluster *c, unsigned int n)
{
	static const char *const names[] = { "a", "b", "c" };
	const struct mnode *m = &c->node[n];

	*f = (struct promote_facts){
		.volume = "spool", .size = SIZE, .primary = m->flags & N_PRIMARY,
		.consistent = m->flags & N_SB_CONSISTENT, .identity = m->flags & N_SB_IDENTITY,
	};
	for (unsigned int i = 0; i < model_nodes; i++) {
		const struct mnode *peer = &c->node[i];
		bool there = i != n && model_connected(c, n, i);

		if (i == n)
			continue;
		f->slots += m->slot[i].flags & S_USED;
		f->peer[f->peer_count++] = (struct promote_peer){
			.name = names[i], .connected = there, .live = live(c, n, i),
			.primary = there && peer->flags & N_PRIMARY,
			.consistent = there && peer->flags & N_SB_CONSISTENT,
			.identity = there && peer->flags & N_SB_IDENTITY,
			.same_generation = there && peer->generation == m->generation,
			.newer = there && newer(c, i, n),
			.outrun = m->outrun[i] && m->outrun[i] == m->generation,
			.was_live = was_live(c, n, i) && !model_wrong.absent_ignored,
		};
	}
}

/* Whether the peer @k consents to @n. */
static bool consents(const struct cluster *c, unsigned int k, unsigned int n, bool peer_dead)
{
	const struct mnode *m = &c->node[k];
	char text[REPL_TEXT_MAX];
	struct promote_consent facts = {
		.node = "n", .primary = m->flags & N_PRIMARY, .live = live(c, k, n),
		.consistent = m->flags & N_SB_CONSISTENT, .identity = m->flags & N_SB_IDENTITY,
		.same_generation = m->generation == c->node[n].generation,
		.absent = absent(c, k, n) ? "absent" : NULL, .peer_dead = peer_dead,
	};

	for (unsigned int i = 0; i < model_nodes; i++) {
		if (i == k || i == n)
			continue;
		if (live(c, k, i))
			facts.linked = "another";
		if (!model_connected(c, k, i))
			continue;
		if (c->node[i].flags & N_PRIMARY)
			facts.knows_primary = "another";
		if (newer(c, i, k))
			facts.newer = "another";
	}
	return model_wrong.consent_given || promote_consent(&facts, text);
}

static uint8_t at_stake(const struct cluster *c)
{
	uint8_t firm = 0;

	for (unsigned int i = 0; i < model_nodes; i++)
		firm |= c->node[i].firm;
	return firm & c->acked & (uint8_t)~c->excused;
}

static bool went_on(const struct cluster *c, unsigned int n)
{
	uint8_t mine = c->node[n].generation;

	for (unsigned int i = 0; i < model_nodes; i++) {
		uint8_t g = c->node[i].generation;

		if (g && g != mine && !(mine && c->ancestors[mine] & 1u << g))
			return true;
	}
	return false;
}

/* What a promotion of this kind may lack, and what the operator's word makes of it. */
static void judge_promotion(struct cluster *c, unsigned int n, enum promote_how how)
{
	const struct mnode *m = &c->node[n];
	uint8_t lacks = at_stake(c) & (uint8_t)~m->content;

	if (how == BY_CONSENT) {
		if (lacks & ~c->parted)
			model_complain("promoted without an acknowledged write");
		if (m->flags & N_SB_UNPROVEN)
			model_complain("a crashed primary is promoted by itself");
		for (unsigned int i = 0; i < model_nodes && !c->word; i++)
			if (c->node[i].flags & N_PRIMARY)
				model_complain("two primaries, without anybody's word");
		return;
	}
	if (m->flags & N_SB_IDENTITY)
		c->word = 1;
	if (how == BY_FORCE) {
		c->excused |= c->acked & (uint8_t)~m->content;
		return;
	}
	/* A cache lost power: what was never flushed may go, once the peer is given up. */
	if (m->flags & N_SB_CRASHED)
		c->excused |= lacks & (uint8_t)~c->synced;
	lacks &= (uint8_t)~c->excused;
	if (lacks & ~c->parted && !went_on(c, n))
		model_complain("the last copy in sync lacks an acknowledged write");
	c->parted |= lacks;
}

static bool planned(struct cluster *c, unsigned int n, enum promote_how how,
		    struct promote_plan *plan)
{
	struct promote_facts facts;
	unsigned int at = 0;

	gather(&facts, c, n);
	facts.force = how == BY_FORCE;
	facts.peer_dead = how == BY_PEER_DEAD;
	promote_plan(plan, &facts);
	if (plan->step != PROMOTE_ASK && plan->step != PROMOTE_GO)
		return false;
	for (unsigned int i = 0; i < model_nodes; i++) {
		if (i == n)
			continue;
		if (plan->ask & 1u << at && !consents(c, i, n, how == BY_PEER_DEAD))
			return false;
		if (plan->unlink && !(plan->ask & 1u << at))
			model_kill_link(c, n, i);
		at++;
	}
	return !(plan->flags & REPL_F_ALONE && model_live(c, n));
}

static bool end_possible(struct cluster *c, unsigned int n, enum promote_end end)
{
	return end <= CRASH_COMMITTED || model_live(c, n);
}

/* promote(): a generation, durable everywhere, begins the term. */
bool model_promote(struct cluster *c, unsigned int n, unsigned int peer, uint8_t variant)
{
	enum promote_how how = variant / PROMOTE_ENDS;
	enum promote_end end = variant % PROMOTE_ENDS;
	struct mnode *m = &c->node[n];
	struct promote_plan plan;
	uint16_t clear = 0;

	(void)peer;
	if (!(m->flags & N_UP) || m->flags & N_PRIMARY || model_half(c, n) ||
	    !planned(c, n, how, &plan) || !end_possible(c, n, end))
		return false;
	if (!(m->flags & N_SB_CONSISTENT) && !(plan.flags & REPL_F_FORCE))
		return false;
	judge_promotion(c, n, how);
	if (plan.flags & (REPL_F_FORCE | REPL_F_PEER_DEAD))
		clear = N_SB_UNPROVEN | N_SB_CRASHED;
	for (unsigned int i = 0; i < model_nodes; i++)
		if (i != n && !live(c, n, i))
			model_kill_link(c, n, i);
	if (!model_generation(c, n, N_SB_PRIMARY | N_SB_CONSISTENT | N_SB_IDENTITY, clear, end))
		return true;
	for (unsigned int i = 0; end >= LOST_ADOPTED && i < model_nodes; i++)
		if (i != n && live(c, n, i))
			model_kill_link(c, n, i);
	if (end == PROMOTED) {
		m->flags |= N_PRIMARY;
		m->told = 0;
		model_end_settling(m);
	} else {
		m->flags &= (uint16_t)~N_SB_PRIMARY;
	}
	return true;
}

/* --------------------------------------------------- what always holds -- */

static bool continues(const struct cluster *c, uint8_t g, uint8_t of)
{
	return g == of || (g && of && c->ancestors[g] & 1u << of);
}

static void check_leader(const struct cluster *c, unsigned int l, unsigned int f)
{
	const struct mnode *first = &c->node[l], *second = &c->node[f];

	if (!(first->flags & N_SB_CONSISTENT))
		model_complain("a copy that is not consistent leads");
	if (second->flags & N_SB_CONSISTENT &&
	    !continues(c, first->generation, second->generation))
		model_complain("a copy leads over newer data");
}

static void check_verdict(const struct cluster *c, unsigned int a, unsigned int b)
{
	const struct mnode *x = &c->node[a], *y = &c->node[b];
	struct verdict v, w;
	bool apart;

	model_verdict(&v, c, a, b);
	model_verdict(&w, c, b, a);
	if (w.kind != verdict_mirror(v.kind))
		model_complain("the verdicts are no mirror images");
	if (!v.why[0])
		model_complain("a verdict without words");
	if (verdict_leads(v.kind))
		check_leader(c, a, b);
	else if (verdict_follows(v.kind))
		check_leader(c, b, a);
	apart = x->flags & y->flags & N_SB_CONSISTENT &&
		!continues(c, x->generation, y->generation) &&
		!continues(c, y->generation, x->generation);
	if ((v.kind == VERDICT_SPLIT) != apart && v.kind != VERDICT_REFUSE &&
	    v.kind != VERDICT_UNRELATED)
		model_complain("a split is not what is called one");
}

static void check_live(const struct cluster *c, unsigned int a, unsigned int b)
{
	const struct mnode *x = &c->node[a], *y = &c->node[b];

	if ((x->content ^ y->content) & ~(x->held | y->held))
		model_complain("copies are in sync and differ");
	if (x->generation != y->generation)
		model_complain("copies are in sync and of two generations");
	if (model_dirty(&x->slot[b]) || model_dirty(&y->slot[a]))
		model_complain("a live slot has a bit");
}

/* Left alone, all that can be in sync comes to be. */
static void check_progress(const struct cluster *c)
{
	struct cluster then = *c;
	unsigned int syncs = 0;
	struct verdict v;
	bool any = true;

	while (any && syncs <= 12) {
		any = false;
		for (unsigned int a = 0; a < model_nodes; a++)
			for (unsigned int b = 0; b < model_nodes; b++)
				if (a != b && model_sync(&then, a, b))
					any = ++syncs;
	}
	if (any)
		model_complain("copies change hands for ever");
	for (unsigned int a = 0; a < model_nodes; a++)
		for (unsigned int b = 0; b < model_nodes; b++) {
			if (a == b || !model_connected(&then, a, b) || live(&then, a, b))
				continue;
			model_verdict(&v, &then, a, b);
			if (verdict_leads(v.kind) &&
			    (model_nodes == 2 || then.node[a].flags & N_PRIMARY) &&
			    !served_by_another(&then, b, a))
				model_complain("there is no way to be in sync");
		}
}

void model_check(const struct cluster *c)
{
	for (unsigned int a = 0; a < model_nodes; a++)
		for (unsigned int b = a + 1; b < model_nodes; b++) {
			const struct mpair *p = pair_of(c, a, b);

			if (p->link == LINK_LIVE)
				check_live(c, a, b);
			else if (model_connected(c, a, b) && !p->link && !p->step)
				check_verdict(c, a, b);
		}
	check_progress(c);
}
