#include "core/aws/msk_token.h"

void msk_token_make(struct str region, const struct sigv4_keys *keys, int64_t now_us, struct buf *ret,
                    int64_t *expires_ms) {
    BUF_AUTO host = {0};
    BUF_AUTO url = {0};
    buf_printf(&host, "kafka.%.*s.amazonaws.com", STR_ARG(region));
    const struct sigv4_request request = {.method = STR("GET"),
                                          .scheme = STR("https"),
                                          .host = buf_str(&host),
                                          .path = STR("/"),
                                          .query = STR("Action=kafka-cluster%3AConnect")};
    const struct sigv4_scope scope = {.region = region, .service = STR("kafka-cluster"), .time_us = now_us};
    sigv4_presign(&request, &scope, keys, MSK_TOKEN_SECONDS, &url);
    buf_printf(&url, "&User-Agent=orderlog%%2F" ORDERLOG_VERSION); /* behind the signature, which leaves it out */
    buf_add_base64url(ret, (const uint8_t *)url.ptr, url.len);
    *expires_ms = (now_us / 1000000 + MSK_TOKEN_SECONDS) * 1000;
}
