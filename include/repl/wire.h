/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What travels between two nodes.  docs/PROTOCOL.md tells the order of events.
 *
 * Every TCP connection to an agent starts with TLS 1.3, except a plain link,
 * which starts with struct repl_plain_hello (its token came over TLS).
 * After that it is one of two things:
 *
 *   a session	agent to agent, one per volume and pair of nodes: who is who,
 *		the verdict, deltas, consent.  struct repl_msg and a body.
 *   a link	kernel to kernel, after the agents agreed: live writes, flushes
 *		and their answers.  struct repl_frame and a payload.
 *
 * All integers are little-endian.  A reserved field is sent as zero and must be
 * zero.  A receiver checks every field before it uses it.
 */
#ifndef REPL_WIRE_H
#define REPL_WIRE_H

#include <linux/types.h>
#include "format.h"

enum repl_wire_limits {
	REPL_WIRE_VERSION	= 1,
	REPL_WIRE_VERSION_MIN	= 1,
	REPL_MAX_IO		= 1 << 20,	/* payload of one WRITE frame */
	REPL_MAX_ZEROES		= 1 << 24,	/* bytes of one ZEROES frame */
	REPL_MAX_OUTSTANDING	= 4096,		/* unanswered requests of one link */
	REPL_MAX_SETTLED	= 4,		/* copies that one SETTLED frame names */
	REPL_MSG_MAX		= (1 << 20) + 4096,	/* body of one session message */
	REPL_MSG_EXTENTS_MAX	= 4096,		/* of one MAP message */
	REPL_TEXT_MAX		= 512,		/* a reason in words */
	REPL_NODE_MAX		= 64,		/* a node's name, with the zero */
	REPL_TOKEN_BYTES	= 32,
	REPL_DIGEST_BYTES	= 16,
	REPL_DIGEST_KEY_BYTES	= 16,
	REPL_DIGESTS_MAX	= 256,		/* of one DIGESTS message: one per block */
	REPL_SURVEYED_MAX	= 1 << 16,	/* body of one SURVEYED message */
};

/* ---------------------------------------------------------------- links -- */

#define REPL_FRAME_MAGIC	0x4c504552u	/* "REPL" */

enum repl_frame_type {
	REPL_FRAME_WRITE	= 1,	/* 'length' bytes of payload for 'offset' */
	REPL_FRAME_ZEROES	= 2,	/* zero 'length' bytes at 'offset'; no payload */
	REPL_FRAME_FLUSH	= 3,	/* everything answered so far to stable media */
	REPL_FRAME_GENERATION	= 4,	/* payload: struct repl_frame_generation */
	REPL_FRAME_BEAT		= 5,	/* I live; needs no answer */
	REPL_FRAME_ANSWER	= 6,	/* to the request that carried 'tag' */
	REPL_FRAME_CLOSE	= 7,	/* orderly end: nothing more will be sent */
	REPL_FRAME_READ		= 8,	/* 'length' bytes at 'offset', please; no payload */
	REPL_FRAME_DATA		= 9,	/* answers a READ: the same range, and its bytes */
	REPL_FRAME_SETTLED	= 10,	/* payload: struct repl_frame_settled */
};

/* repl_frame.flags */
enum repl_frame_flags {
	REPL_FF_FUA		= 1 << 0,	/* WRITE, ZEROES: stable before the answer */
	REPL_FF_PREFLUSH	= 1 << 1,	/* WRITE: flush first */
	REPL_FF_UNMAP		= 1 << 2,	/* ZEROES: space may be given back */
	REPL_FF_CRC		= 1 << 3,	/* of a payload: 'payload_crc' is valid */
	REPL_FF_SYNC		= 1 << 4,	/* WRITE: somebody waits for it */
	REPL_FF_ALL		= (1 << 5) - 1,
};

/* repl_frame.status of an ANSWER */
enum repl_frame_status {
	REPL_STATUS_OK		= 0,
	REPL_STATUS_IO		= 1,	/* the backing device failed */
	REPL_STATUS_NOSPACE	= 2,
	REPL_STATUS_RESEND	= 3,	/* the payload's CRC did not match */
	REPL_STATUS_REFUSED	= 4,	/* not in this role */
	REPL_STATUS_MAX		= REPL_STATUS_REFUSED,
};

struct repl_frame {
	__le32	magic;		/*  0 */
	__u8	type;		/*  4 enum repl_frame_type */
	__u8	status;		/*  5 ANSWER: enum repl_frame_status */
	__le16	flags;		/*  6 enum repl_frame_flags */
	__le64	cookie;		/*  8 of this link, agreed by the agents */
	__le32	tag;		/* 16 of the request; unique while unanswered */
	__le32	length;		/* 20 bytes */
	__le64	offset;		/* 24 bytes from the volume's start */
	__le32	payload_crc;	/* 32 CRC32C of the payload as sent */
	__le32	header_crc;	/* 36 CRC32C of the 36 bytes before it */
};

struct repl_frame_generation {
	struct repl_id	generation;	/* the new one */
	struct repl_id	previous;	/* what it follows: must be the receiver's current one */
	__le64	epoch;
};

/*
 * The copies that are named hold, on stable media, everything that came over this link
 * before the last SETTLED: as its receiver does.  The first one on a link names nothing.
 */
struct repl_frame_settled {
	struct repl_id	generation;	/* it counts in this one only */
	struct repl_id	copy[REPL_MAX_SETTLED];	/* copy ids, then zero */
};

_Static_assert(sizeof(struct repl_frame) == 40, "a frame header is 40 bytes");
_Static_assert(sizeof(struct repl_frame_settled) == 80, "as documented");
_Static_assert(sizeof(struct repl_frame_generation) == 40, "as documented");

/* ------------------------------------------------------------- sessions -- */

#define REPL_MSG_MAGIC		0x474d5052u	/* "RPMG" */
#define REPL_PLAIN_MAGIC	"REPLPLN1"

enum repl_msg_type {
	REPL_MSG_HELLO		= 1,	/* struct repl_msg_hello, first in each direction */
	REPL_MSG_REFUSE		= 2,	/* words; then the connection is closed */
	REPL_MSG_VOLUME		= 3,	/* struct repl_msg_volume */
	REPL_MSG_MAP		= 4,	/* what my map for you has: struct repl_msg_extent[]; empty: done */
	REPL_MSG_DELTA_BEGIN	= 5,	/* struct repl_msg_delta */
	REPL_MSG_BLOCKS		= 6,	/* struct repl_msg_range, then its bytes */
	REPL_MSG_ZEROS		= 7,	/* struct repl_msg_range */
	REPL_MSG_DELTA_END	= 8,	/* struct repl_msg_delta, with the counts that were sent */
	REPL_MSG_DELTA_DONE	= 9,	/* follower: applied and flushed; struct repl_msg_delta */
	REPL_MSG_LINK_OFFER	= 10,	/* leader: struct repl_msg_link */
	REPL_MSG_LINK_READY	= 11,	/* follower: struct repl_msg_link; my end stands */
	REPL_MSG_LINK_ADOPT	= 12,	/* leader has adopted; follower adopts */
	REPL_MSG_LINK_LIVE	= 13,	/* follower has adopted */
	REPL_MSG_CONSENT_ASK	= 14,	/* struct repl_msg_consent */
	REPL_MSG_CONSENT	= 15,	/* struct repl_msg_consent, then words when refused */
	REPL_MSG_STATE		= 16,	/* struct repl_msg_volume: mine has changed */
	REPL_MSG_PING		= 17,
	REPL_MSG_PONG		= 18,
	REPL_MSG_LINK_HELLO	= 19,	/* struct repl_msg_link: first on a TLS link connection */
	REPL_MSG_LINK_PROOF	= 20,	/* the other side's answer, over the offloaded keys */
	REPL_MSG_FOLLOW		= 21,	/* leader: I lead, stop using your copy; struct repl_msg_volume */
	REPL_MSG_FOLLOWING	= 22,	/* follower: durably so; MAP follows */
	REPL_MSG_DIGESTS	= 23,	/* struct repl_msg_range, then a struct repl_digest a block */
	REPL_MSG_WANT		= 24,	/* follower: struct repl_msg_want, the answer to one of those */
	REPL_MSG_RESOLVE	= 25,	/* of a split: struct repl_msg_resolve, then words */
	REPL_MSG_GROW		= 26,	/* struct repl_msg_grow: be as large, or say how large you can be */
	REPL_MSG_GROWN		= 27,	/* struct repl_msg_grow, then words when refused */
	REPL_MSG_COMMIT		= 28,	/* leader: the deltas staged are, together, this; struct repl_msg_volume */
	REPL_MSG_COMMITTED	= 29,	/* follower: durably my copy; struct repl_msg_volume */
	REPL_MSG_VERIFY		= 32,	/* struct repl_msg_verify, then words when refused */
	REPL_MSG_ASK		= 36,	/* to a witness: struct repl_msg_ask */
	REPL_MSG_ANSWER		= 37,	/* from it: struct repl_msg_answer, then words unless granted */
	REPL_MSG_TAKE_OVER	= 34,	/* struct repl_msg_take_over: could you, or do, serve the volume? */
	REPL_MSG_TAKEN		= 35,	/* struct repl_msg_take_over, then words: the answer */
	REPL_MSG_SURVEY		= 40,	/* struct repl_msg_survey: how are the volumes on your node? */
	REPL_MSG_SURVEYED	= 41,	/* struct repl_msg_surveyed, then its volumes */
};

struct repl_msg {
	__le32	magic;		/*  0 */
	__le16	type;		/*  4 enum repl_msg_type */
	__le16	reserved;	/*  6 zero */
	__le32	length;		/*  8 bytes of the body */
	__le32	reserved2;	/* 12 zero */
};

/*
 * repl_msg_hello.features: a bit that is not known is passed over.  A feature that a node
 * cannot do without needs a new version.
 */
#define REPL_HF_ARBITER	(1ULL << 0)	/* knows of arbiters: ASK, and repl_msg_volume.arbiter */
#define REPL_HF_ASKS	(1ULL << 1)	/* client: no copy is spoken of here; one ASK follows */
#define REPL_HF_VERIFY	(1ULL << 2)	/* knows VERIFY, and DIGESTS outside of a delta */
#define REPL_HF_SURVEY	(1ULL << 5)	/* answers SURVEY */
#define REPL_HF_SPLIT_MAP (1ULL << 6)	/* of a split: tells its map (RESOLVE, MAP), and asks for the other's */
#define REPL_HF_QUESTION (1ULL << 7)	/* answers a CONSENT_ASK with its number */

struct repl_msg_hello {
	__le16	version_min;		/*  0 */
	__le16	version;		/*  2 */
	__le32	reserved;		/*  4 */
	__le64	features;		/*  8 */
	char	node[REPL_NODE_MAX];	/* 16 */
	char	volume[REPL_NAME_MAX];	/* 80 the volume this session is about */
};

/* repl_msg_volume.flags */
enum repl_msg_volume_flags {
	REPL_MV_IDENTITY	= 1 << 0,	/* holds, or is being given, volume 'uuid' */
	REPL_MV_CONSISTENT	= 1 << 1,
	REPL_MV_CLEAN		= 1 << 2,	/* the last stop was clean */
	REPL_MV_UNPROVEN	= 1 << 3,
	REPL_MV_PRIMARY		= 1 << 4,	/* now */
	REPL_MV_WAS_PRIMARY	= 1 << 5,	/* now; or at its last stop, and UNPROVEN since */
	REPL_MV_SLOT		= 1 << 6,	/* the slot fields below speak about the receiver's copy */
	REPL_MV_SLOT_LIVE	= 1 << 7,	/* recorded live in slot_generation */
	REPL_MV_LINK_PLAIN	= 1 << 8,	/* wants its links without TLS */
	REPL_MV_LIVE		= 1 << 9,	/* the kernel holds a live link to you: 'cookie' */
	REPL_MV_FAILING		= 1 << 10,	/* its disk has failed: leads and follows nobody */
	REPL_MV_STAGES		= 1 << 11,	/* FOLLOWING: my copy stays as it is until COMMIT, or LINK_ADOPT */
	REPL_MV_ALL		= (1 << 12) - 1,
};

/* repl_msg_volume.arbiter: who is asked before a generation begins.  Both sides need the same. */
enum repl_msg_arbiter {
	REPL_MA_NONE		= 0,
	REPL_MA_NODE		= 1,
	REPL_MA_COMMAND		= 2,
	REPL_MA_MAX		= REPL_MA_COMMAND,
};

/* All that verdict() needs to know of a node's copy. */
struct repl_msg_volume {
	struct repl_id	uuid;			/*   0 */
	struct repl_id	copy_id;		/*  16 */
	struct repl_id	generation;		/*  32 */
	__le64	epoch;				/*  48 */
	__le64	data_size;			/*  56 */
	__le32	flags;				/*  64 */
	__u8	lbs_shift;			/*  68 */
	__u8	arbiter;			/*  69 enum repl_msg_arbiter */
	__u8	arbiter_tag[2];			/*  70 of a NODE: how its public key begins */
	struct repl_id	slot_copy_id;		/*  72 the copy my map for you speaks about */
	struct repl_id	slot_generation;	/*  88 at which we were last equal */
	__le64	slot_epoch;			/* 104 */
	__le64	slot_dirty_blocks;		/* 112 in my map for you */
	__le64	cookie;				/* 120 of the live link; 0 without one */
	__le64	alone_ms;			/* 128 since the last link to you ended; 0: not known */
	struct repl_id	history[REPL_HISTORY];	/* 136 */
};

struct repl_msg_extent {
	__le64	block;		/* first block */
	__le64	count;		/* blocks */
};

struct repl_msg_range {
	__le64	offset;		/* bytes */
	__le64	length;		/* bytes */
};

/*
 * Of one block, or of what the volume has of its last one.  A block of zeroes has a digest
 * of zeroes; any other's is its GMAC with AES-128, the delta's key, and a nonce of the
 * number of the block (le64) and four zeroes.  docs/PROTOCOL.md argues why that is enough.
 */
struct repl_digest {
	__u8	b[REPL_DIGEST_BYTES];
};

struct repl_msg_want {
	__le64	offset;		/* as in the DIGESTS */
	__le64	length;
	__u8	blocks[REPL_DIGESTS_MAX / 8];	/* bit n % 8 of byte n / 8: send block n of the range */
};

struct repl_msg_delta {
	__le64	id;		/* chosen by the leader, echoed */
	__le32	flags;		/* enum repl_msg_delta_flags */
	__le32	reserved;
	__le64	blocks;		/* of the whole delta */
	__le64	sent_bytes;	/* in BLOCKS so far */
	__le64	zero_bytes;	/* in ZEROS so far */
	__le64	compared_bytes;	/* in DIGESTS so far */
	__le64	equal_bytes;	/* of these: not wanted */
	struct repl_id	generation;	/* the follower has it once this delta is applied */
	__le64	epoch;
	__u8	digest_key[REPL_DIGEST_KEY_BYTES];	/* random, new in each DELTA_BEGIN */
};

enum repl_msg_delta_flags {
	REPL_MD_LAST		= 1 << 0,	/* the volume is frozen: after it both are equal */
	REPL_MD_ALL		= (1 << 1) - 1,
};

struct repl_msg_link {
	__le64	cookie;
	__u8	token[REPL_TOKEN_BYTES];	/* zero with TLS */
	__le32	plain;				/* 0 or 1 */
	__le32	reserved;
	char	volume[REPL_NAME_MAX];		/* LINK_HELLO: which */
};

struct repl_msg_consent {
	struct repl_id	generation;	/* in which both are equal */
	__le32	granted;		/* 0 or 1; ASK: absent peers are known to be off */
	__le32	question;		/* any number of the asker's; to a node without QUESTION: 0 */
};

enum repl_resolve_step {
	REPL_RESOLVE_ASK	= 1,	/* to the discarded copy's node: a person has decided */
	REPL_RESOLVE_PROGRESS	= 2,	/* from it: what only it has is being saved */
	REPL_RESOLVE_REFUSED	= 3,	/* either: not so, in words; nothing was discarded */
	REPL_RESOLVE_AGREED	= 4,	/* from it: saved, in words; lead, and I follow */
	REPL_RESOLVE_MAP	= 5,	/* from it: tell me your map first; MAPs are the answer */
	REPL_RESOLVE_STEPS	= 6,
};

/* repl_msg_resolve.flags */
enum repl_msg_resolve_flags {
	REPL_MR_NO_SAVE		= 1 << 0,	/* ASK: the person wants nothing saved */
	REPL_MR_ALL		= (1 << 1) - 1,
};

/* A split is resolved between these two generations, and no others. */
struct repl_msg_resolve {
	struct repl_id	keep;		/*  0 generation of the copy that is kept */
	struct repl_id	discard;	/* 16 of the one that is not */
	__le32	step;			/* 32 enum repl_resolve_step */
	__le32	flags;			/* 36 enum repl_msg_resolve_flags */
	__le64	done_bytes;		/* 40 PROGRESS; else zero */
	__le64	total_bytes;		/* 48 the same */
};

struct repl_msg_grow {
	__le64	size;			/*  0 bytes.  GROW: to grow to, 0: only asks; GROWN: it has */
	__le64	room;			/*  8 GROWN: bytes that it could have */
	__le32	ok;			/* 16 GROWN: 0 or 1 */
	__le32	reserved;		/* 20 */
};

enum repl_take_over_step {
	REPL_TAKE_OVER_CHECK	= 1,	/* TAKE_OVER: whether it could; changes nothing */
	REPL_TAKE_OVER_TAKE	= 2,	/* TAKE_OVER: this node has left it */
	REPL_TAKE_OVER_PROGRESS	= 3,	/* TAKEN: in words; the answer follows */
	REPL_TAKE_OVER_DONE	= 4,	/* TAKEN: it could, or it does */
	REPL_TAKE_OVER_REFUSED	= 5,	/* TAKEN: in words; what was begun is undone */
	REPL_TAKE_OVER_STEPS	= 6,
};

struct repl_msg_take_over {
	__le64	nonce;			/*  0 of the question, echoed */
	__le32	step;			/*  8 enum repl_take_over_step */
	__le32	reserved;		/* 12 */
};

enum repl_verify_step {
	REPL_VERIFY_BEGIN	= 1,	/* I compare: answer my DIGESTS, made with 'key' */
	REPL_VERIFY_READY	= 2,	/* to BEGIN: I do */
	REPL_VERIFY_REFUSED	= 3,	/* to BEGIN, or later: I cannot, or not any more; words */
	REPL_VERIFY_END		= 4,	/* I have compared, or given it up */
	REPL_VERIFY_STEPS	= 5,
};

struct repl_msg_verify {
	__le32	step;			/*  0 enum repl_verify_step */
	__le32	reserved;		/*  4 */
	__u8	key[REPL_DIGEST_KEY_BYTES];	/*  8 BEGIN: of the digests; else zero */
};

/* Whose register it shall be, the key that TLS has proven says. */
struct repl_msg_ask {
	struct repl_id	volume;		/*  0 its UUID */
	struct repl_id	expect;		/* 16 the generation that the register should read */
	struct repl_id	want;		/* 32 the one that it shall read then */
};

/* repl_msg_answer.answer */
enum repl_msg_answer_kind {
	REPL_MN_GRANTED		= 1,
	REPL_MN_DENIED		= 2,	/* for good: it reads something else */
	REPL_MN_UNKNOWN		= 3,	/* the witness cannot tell now: ask again */
	REPL_MN_NO_ENTRY	= 4,	/* it has no register for that volume: ask again */
};

struct repl_msg_answer {
	struct repl_id	want;		/*  0 of the ASK */
	__le32	answer;			/* 16 enum repl_msg_answer_kind */
	__le32	reserved;		/* 20 */
};

struct repl_msg_survey {
	__le64	nonce;			/*  0 random, echoed in the answer */
};

/* Of all the node's volumes, also those of which the receiver has no copy; for people. */
struct repl_msg_surveyed {
	__le64	nonce;			/*  0 of the SURVEY */
	__le32	volumes;		/*  8 of them follow here */
	__le32	left_out;		/* 12 more than that, for which there was no room */
};

/* As the kernel tells; followed by its peers. */
struct repl_msg_survey_volume {
	char	name[REPL_NAME_MAX];	/*   0 */
	struct repl_id	uuid;		/*  64 */
	struct repl_id	generation;	/*  80 */
	__le64	epoch;			/*  96 */
	__le64	size;			/* 104 bytes */
	__le64	gate_age_ms;		/* 112 */
	__le32	gate;			/* 120 enum repl_gate */
	__le32	flags;			/* 124 enum repl_volume_flags */
	__le32	sb_flags;		/* 128 enum repl_super_flags */
	__u8	role;			/* 132 enum repl_role; 0: configured and not up, the rest is zero */
	__u8	on_peer_loss;		/* 133 enum repl_on_peer_loss */
	__u8	peers;			/* 134 at most REPL_SLOTS_MAX */
	__u8	reserved;		/* 135 */
};

/* repl_msg_survey_peer.state */
enum repl_survey_state {
	REPL_SURVEY_DISCONNECTED	= 0,
	REPL_SURVEY_CONNECTING		= 1,
	REPL_SURVEY_BEHIND		= 2,
	REPL_SURVEY_SYNCING		= 3,
	REPL_SURVEY_LIVE		= 4,
	REPL_SURVEY_ROLLING		= 5,
	REPL_SURVEY_STATES		= 6,
};

struct repl_msg_survey_peer {
	char	name[REPL_NODE_MAX];	/*  0 as the telling node calls it */
	__le64	dirty_bytes;		/* 64 */
	__le32	state;			/* 72 enum repl_survey_state */
	__le32	reserved;		/* 76 */
};

/* First and only bytes of a plain link before its frames. */
struct repl_plain_hello {
	__u8	magic[8];		/* REPL_PLAIN_MAGIC: no TLS record starts so */
	__le64	cookie;
	__u8	token[REPL_TOKEN_BYTES];
};

_Static_assert(sizeof(struct repl_msg) == 16, "a message header is 16 bytes");
_Static_assert(sizeof(struct repl_msg_hello) == 144, "as documented");
_Static_assert(sizeof(struct repl_msg_volume) == 392, "as documented");
_Static_assert(sizeof(struct repl_digest) == 16, "as documented");
_Static_assert(sizeof(struct repl_msg_want) == 48, "as documented");
_Static_assert(sizeof(struct repl_msg_delta) == 96, "as documented");
_Static_assert(sizeof(struct repl_msg_link) == 112, "as documented");
_Static_assert(sizeof(struct repl_msg_consent) == 24, "as documented");
_Static_assert(sizeof(struct repl_msg_resolve) == 56, "as documented");
_Static_assert(sizeof(struct repl_msg_grow) == 24, "as documented");
_Static_assert(sizeof(struct repl_msg_ask) == 48, "as documented");
_Static_assert(sizeof(struct repl_msg_answer) == 24, "as documented");
_Static_assert(sizeof(struct repl_msg_take_over) == 16, "as documented");
_Static_assert(sizeof(struct repl_msg_verify) == 24, "as documented");
_Static_assert(sizeof(struct repl_msg_surveyed) == 16, "as documented");
_Static_assert(sizeof(struct repl_msg_survey_volume) == 136, "as documented");
_Static_assert(sizeof(struct repl_msg_survey_peer) == 80, "as documented");
_Static_assert(sizeof(struct repl_plain_hello) == 48, "as documented");

#endif /* REPL_WIRE_H */
