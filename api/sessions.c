#include "api/answer.h"
#include "api/auth.h"
#include "api/revoked.h"
#include "api/revoked_store.h"
#include "api/routes.h"
#include "core/base/clock.h"

/* When a token that is handed out now ends. */
static int64_t new_expires_s(void) {
    return clock_now_us() / 1000000 + SESSION_DAYS * INT64_C(86400);
}

/* Nothing is written: the token says it all, and whoever holds it is the shopper. */
void sessions_create(struct request *request) {
    struct id shopper_id = id_random();
    int64_t expires_us = new_expires_s() * 1000000;
    char expires_at[CLOCK_TEXT_SIZE];
    clock_format(expires_us, expires_at);
    struct buf *reply = answer_json(request, 201);
    buf_printf(reply, "{\"shopper_id\":\"%s\",\"token\":\"", shopper_id.text);
    auth_session_token(request->api->auth, id_str(&shopper_id), expires_us, reply);
    buf_printf(reply, "\",\"expires_at\":\"%s\"}", expires_at);
}

static void revoked(struct request *request) {
    answer_text(request, 204, NULL);
}

void sessions_revoke(struct request *request) {
    revoked_add_session(request, revoked);
}

/* Whether there is such a shopper is not known: nobody has a list of them. A token that another API has just handed
 * out, by a clock that is ahead, is meant as well; there is none to come: each session begins with a shopper of its
 * own. */
void sessions_revoke_all(struct request *request) {
    if (id_valid(request->params[0]))
        revoked_add_shopper(request, request->params[0], new_expires_s() + REVOKED_OVERLAP_S, revoked);
    else
        answer_not_found(request);
}
