#include "api/probes.h"

#include "api/listen.h"
#include "api/readiness.h"
#include "core/base/metrics.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, IDLE_TIMEOUT_S = 30 };

struct probes {
    struct probes_config config;
    struct MHD_Daemon *daemon;
    int port;
};

/* ---- answers ---- */

struct reply {
    int status;
    const char *content_type;
    struct buf body;
};

static const char text_plain[] = "text/plain; charset=utf-8";

static void answer_ready(const struct probes *probes, struct MHD_Connection *connection, struct reply *reply) {
    CHECKS_AUTO checks = {0};
    /* "?verbose" has no value, which is not the same as not being there. */
    const char *value = NULL;
    size_t len = 0;
    bool verbose = MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, "verbose", strlen("verbose"),
                                                 &value, &len) == MHD_YES;
    probes->config.report(probes->config.user, &checks);
    bool ready = readiness_of(&checks);
    struct str how = {value ? value : "", len};
    reply->status = ready ? 200 : 503;
    if (verbose && str_eq(how, STR("json")))
        reply->content_type = "application/json";
    readiness_write(&checks, ready, verbose ? how : STR_NULL, &reply->body);
}

static void answer(const struct probes *probes, struct MHD_Connection *connection, const char *path,
                   struct reply *reply) {
    if (strcmp(path, "/livez") == 0) {
        buf_add_str(&reply->body, STR("ok\n"));
    } else if (strcmp(path, "/readyz") == 0) {
        answer_ready(probes, connection, reply);
    } else if (strcmp(path, "/metrics") == 0) {
        reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write(&reply->body);
    } else {
        reply->status = 404;
        buf_add_str(&reply->body, STR("there is /livez, /readyz and /metrics\n"));
    }
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct reply *reply) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(reply->body.len, reply->body.ptr, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    if (result == MHD_YES && reply->status == 405)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    return result;
}

/* Called once with the headers, for each piece of a body, which nobody wants, and at its end. */
static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **context) {
    (void)version, (void)upload;
    static char begun;
    if (!*context) {
        *context = &begun;
        return MHD_YES;
    }
    if (*upload_len) {
        *upload_len = 0;
        return MHD_YES;
    }
    struct reply reply = {.status = 200, .content_type = text_plain};
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
        answer(user, connection, url, &reply);
    } else {
        reply.status = 405;
        buf_add_str(&reply.body, STR("only GET and HEAD\n"));
    }
    enum MHD_Result result = send_reply(connection, &reply);
    buf_free(&reply.body);
    return result;
}

/* ---- life ---- */

bool probes_start(const struct probes_config *config, struct probes **ret, struct err *err) {
    int fd = -1, port = 0;
    if (!listen_open(config->listen, &fd, &port, err))
        return false;
    struct probes *probes = mem_zalloc(sizeof *probes);
    probes->config = *config;
    probes->port = port;
    probes->daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, probes, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (!probes->daemon) {
        close(fd);
        free(probes);
        return err_set(err, ERR_IO, "cannot start the HTTP server of the probes");
    }
    *ret = probes;
    return true;
}

int probes_port(const struct probes *probes) {
    return probes->port;
}

void probes_stop(struct probes *probes) {
    if (!probes)
        return;
    MHD_stop_daemon(probes->daemon);
    free(probes);
}
