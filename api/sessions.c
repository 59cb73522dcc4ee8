#include "api/answer.h"
#include "api/auth.h"
#include "api/routes.h"
#include "core/base/clock.h"

/* Nothing is written: the token says it all, and whoever holds it is the shopper. */
void sessions_create(struct request *request) {
    struct id shopper_id = id_random();
    int64_t expires_us = (clock_now_us() / 1000000 + SESSION_DAYS * INT64_C(86400)) * 1000000;
    char expires_at[CLOCK_TEXT_SIZE];
    clock_format(expires_us, expires_at);
    struct buf *reply = answer_json(request, 201);
    buf_printf(reply, "{\"shopper_id\":\"%s\",\"token\":\"", shopper_id.text);
    auth_session_token(request->api->auth, id_str(&shopper_id), expires_us, reply);
    buf_printf(reply, "\",\"expires_at\":\"%s\"}", expires_at);
}
