#include "cli/bench.h"

#include <curl/curl.h>
#include <netdb.h>
#include <stdio.h>

#include "core/base/url.h"

static bool resolve(const char *url, const char *host, const char *port, struct bench_address *ret, struct err *err) {
    char bare[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    size_t len = strlen(host);
    bool brackets = host[0] == '[' && len > 2; /* an IPv6 address */
    snprintf(bare, sizeof bare, "%.*s", (int)(brackets ? len - 2 : len), brackets ? host + 1 : host);
    int code = getaddrinfo(bare, port, &hints, &found);
    if (code != 0)
        return err_set(err, ERR_CONFIG, "%s: %s", url_show(url).text, gai_strerror(code));
    memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
    ret->len = found->ai_addrlen;
    freeaddrinfo(found);
    snprintf(ret->host, sizeof ret->host, "%s:%s", host, port);
    return true;
}

bool bench_address_find(const char *url, struct bench_address *ret, struct err *err) {
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool ok = curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && strcmp(scheme, "http") == 0 &&
              curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    ok = ok ? resolve(url, host, port, ret, err)
            : err_set(err, ERR_CONFIG, "'%s' is no URL such as http://127.0.0.1:8080", url_show(url).text);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
    return ok;
}
