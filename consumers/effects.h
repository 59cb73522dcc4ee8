/* Calls to the outside, made after the commit of their intent, by threads of their own, again and again until there
 * is an answer (section 4 of the design: "Calls to the outside"). Each repetition is the same bytes with the same
 * idempotency key. */
#ifndef ORDERLOG_CONSUMERS_EFFECTS_H
#define ORDERLOG_CONSUMERS_EFFECTS_H

#include "core/base/arena.h"
#include "core/base/err.h"
#include "gen/types.h"

struct effects;

/* Makes the call and fills *answer (in `arena`); an outcome that is not known yet is an answer, too. Blocks; called
 * from several threads at once. `traceparent` is that of the decision; ptr NULL: none. */
typedef void effect_call(void *user, const struct message *request, struct str traceparent, struct arena *arena,
                         struct message *answer);
/* What an intent's request is encoded by: intent/payment of a call to the provider, intent/notice of a message to a
 * shopper. */
const struct schema_subject *effect_subject(enum message_type request);
/* Whether this answer says that there is no outcome yet, so that the call is made again. */
bool effect_is_open(const struct message *answer);
typedef void effects_wake(void *user);

/* Providers forget idempotency keys after about 24 hours; after that, the same call would be a fresh one. So later than
 * this after it was decided, the request is given with look_up set: what came of it is asked, and nothing is done. */
#define EFFECT_GIVE_UP_US (INT64_C(20) * 3600 * 1000 * 1000)

/* One intent, as it stands in the table. Copied. */
struct effect {
    int32_t shard;
    int64_t epoch; /* of the shard's owner; an answer of an earlier epoch is dropped by the taker */
    struct str id;
    struct str key;
    struct str command_id;
    struct str traceparent;
    struct str request; /* message_encode()d, subject intent/… */
    int64_t created_us; /* when it was decided */
    int32_t tries;      /* so far, without an outcome */
    bool closed;        /* an operator knows that it was not done: no call, but an answer that says so */
};

/* What came of it: the caller's to free with effect_result_free. */
struct effect_result {
    struct effect effect;
    struct arena arena;
    struct message answer;
    struct err err; /* kind not NONE: the request cannot be read, and there is no answer */
    int64_t at_us;
};

struct effects *effects_open(effect_call *call, void *user, int threads, effects_wake *wake, void *wake_user);
/* No call begins after this; those in flight go on, and their answers are there to be taken. */
void effects_stop(struct effects *effects);
/* Whether there is a call in flight, or an answer not yet taken. */
bool effects_pending(struct effects *effects);
/* Waits for the calls in flight. */
void effects_close(struct effects *effects);
void effects_add(struct effects *effects, const struct effect *effect);
/* Calls again, once more than effect->tries, after a delay that grows with them: from 1 s to 5 min. */
void effects_again(struct effects *effects, const struct effect *effect);
/* Makes a call that waits for its next try now. */
void effects_hurry(struct effects *effects, int32_t shard, struct str id);
/* Forgets what waits for this shard, and the answers not yet taken. */
void effects_drop(struct effects *effects, int32_t shard);
/* NULL when there is no answer now. */
struct effect_result *effects_take(struct effects *effects);
void effect_result_free(struct effect_result *result);
/* A copy of its own, with no answer yet. */
struct effect_result *effect_copy(const struct effect *effect);

#endif
