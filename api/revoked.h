/* Sessions that were revoked before their tokens end.
 *
 * No request waits for a store to say whether its token is good: all that is revoked is in memory. A thread looks
 * every second at the store for what others have added, so that another instance refuses a revoked token within about
 * two seconds, as long as its store answers; while it does not, what is known is refused, and nothing else. What this
 * instance revokes it refuses before it answers, and it answers once the store has it for good. What was revoked leaves
 * memory, and the store, when its tokens end. */
#ifndef ORDERLOG_API_REVOKED_H
#define ORDERLOG_API_REVOKED_H

#include "api/internal.h"
#include "core/base/checks.h"

/* Starts the thread, and waits for a moment until it has read the store once. *ret is NULL when there is no store:
 * then nothing can be revoked. */
CHECK_RESULT bool revoked_open(const struct api_config *config, struct revoked **ret, struct err *err);
/* From now on nothing is taken any more; who waits is answered 503. */
void revoked_stop(struct revoked *revoked);
void revoked_close(struct revoked *revoked); /* nobody waits any more; NULL is fine, as it is everywhere here */

/* Whether this shopper's session was. Any thread. */
bool revoked_has(struct revoked *revoked, const struct principal *principal);

/* Each suspends the connection and goes on with `then` once the store has it; a failure is answered here, and `then` is
 * not called. The session of the request: */
void revoked_add_session(struct request *request, request_step *then);
/* All that this shopper has, and this one's tokens until now: */
void revoked_add_shopper(struct request *request, struct str shopper_id, int64_t expires_s, request_step *then);

/* Several times a second, on a thread that no store holds up: who waited too long is answered 503. */
void revoked_tick(struct revoked *revoked);

/* For /readyz: not ready until the store was read once. */
void revoked_check(struct revoked *revoked, struct checks *checks);

#endif
