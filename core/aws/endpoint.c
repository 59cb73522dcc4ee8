#include "core/aws/endpoint.h"

bool aws_endpoint_parse(const char *setting, struct str url, bool *ret_tls, struct str *ret_host, struct err *err) {
    bool tls = str_starts_with(url, STR("https://"));
    if (!tls && !str_starts_with(url, STR("http://")))
        return err_set(err, ERR_CONFIG, "%s must begin with http:// or https://", setting);
    struct str host = {url.ptr + (tls ? 8 : 7), url.len - (tls ? 8 : 7)}, usual = tls ? STR(":443") : STR(":80");
    if (str_ends_with(host, STR("/")))
        host.len--;
    if (str_ends_with(host, usual))
        host.len -= usual.len;
    if (!host.len || memchr(host.ptr, '/', host.len) || memchr(host.ptr, '?', host.len) ||
        memchr(host.ptr, '@', host.len))
        return err_set(err, ERR_CONFIG, "%s must be scheme://host[:port]", setting);
    *ret_tls = tls;
    *ret_host = host;
    return true;
}
