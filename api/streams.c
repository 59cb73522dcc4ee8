#include "api/streams.h"

#include "api/answer.h"
#include "api/connections.h"
#include "api/limits.h"
#include "api/request.h"
#include "api/routes.h"
#include "api/watch.h"
#include "api/writes.h"
#include "core/base/clock.h"
#include "core/base/metrics.h"
#include "core/codec/avro.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    SEND_MS = 30 * 1000, /* a client that takes nothing for so long is cut off */
    LIFE_MS = 60 * 60 * 1000,
    BLOCK_BYTES = 256, /* the server does not use it for what has no length */
    HOLDERS = 1024,
};

/* ---- how many, in all and by shopper ---- */

struct holder {
    struct holder *next;
    int32_t count;
    char shopper_id[ID_TEXT_SIZE];
};

struct streams {
    pthread_mutex_t lock;
    struct holder *holders[HOLDERS]; /* those with streams */
    int32_t count;
    struct metric *open_metric;
    struct metric *events_metric;
};

struct streams *streams_open(void) {
    struct streams *streams = mem_zalloc(sizeof *streams);
    pthread_mutex_init(&streams->lock, NULL);
    streams->open_metric = metrics_gauge("orderlog_http_streams", "Order streams that are open.", "");
    streams->events_metric = metrics_counter("orderlog_http_stream_events_total", "Events sent to order streams.", "");
    return streams;
}

void streams_close(struct streams *streams) {
    if (!streams)
        return;
    pthread_mutex_destroy(&streams->lock);
    free(streams);
}

/* A shopper's id is random: any bytes of it do. */
static struct holder **holder_at(struct streams *streams, struct str shopper_id) {
    uint32_t hash = 0;
    for (size_t i = 0; i < shopper_id.len; i++)
        hash = hash * 31 + (unsigned char)shopper_id.ptr[i];
    struct holder **at = &streams->holders[hash % HOLDERS];
    while (*at && !str_eq(str_from((*at)->shopper_id), shopper_id))
        at = &(*at)->next;
    return at;
}

/* `shopper_id` is empty for an operator, who may have any number. */
static bool reserve(struct api *api, struct str shopper_id, struct err *err) {
    struct streams *streams = api->streams;
    pthread_mutex_lock(&streams->lock);
    struct holder **at = holder_at(streams, shopper_id);
    bool full = streams->count >= api->config.streams_max;
    bool greedy = shopper_id.len && *at && (*at)->count >= api->config.streams_per_shopper;
    if (!full && !greedy) {
        if (!*at) {
            *at = mem_zalloc(sizeof **at);
            memcpy((*at)->shopper_id, shopper_id.ptr, shopper_id.len);
        }
        (*at)->count++;
        metrics_set(streams->open_metric, ++streams->count);
    }
    pthread_mutex_unlock(&streams->lock);
    if (full || greedy)
        limits_count_shed(api->limits, SHED_STREAMS);
    if (greedy)
        return err_set(err, ERR_RATE_LIMITED, "You have %d streams open; close one first.",
                       api->config.streams_per_shopper);
    return !full || err_set(err, ERR_OVERLOADED, "%d streams are open", api->config.streams_max);
}

static void release(struct streams *streams, struct str shopper_id) {
    pthread_mutex_lock(&streams->lock);
    struct holder **at = holder_at(streams, shopper_id), *holder = *at;
    if (--holder->count == 0) {
        *at = holder->next;
        free(holder);
    }
    metrics_set(streams->open_metric, --streams->count);
    pthread_mutex_unlock(&streams->lock);
}

/* ---- one stream ---- */

struct stream {
    struct watched watched;
    struct api *api;
    char order_id[ID_TEXT_SIZE];
    char shopper_id[ID_TEXT_SIZE]; /* empty: an operator's */
    int32_t sent;                  /* the last version; at first what the client says it has */
    int until;                     /* ends at this rank, or behind it */
    bool refused;                  /* the order is somebody else's */
    bool ended;
    int64_t absent_us; /* until then the order may come to be; 0: it is there */
    int64_t beat_us;
    int64_t end_us;
    struct buf out;
    size_t out_at;
    int socket; /* from the answer's beginning on; -1 before */
    bool corked;
};

/* How far a status is on the way; one off it counts as the last one on it that must have been. */
static int rank_of(enum order_status status) {
    switch (status) {
    case ORDER_STATUS_PENDING:
        return 0;
    case ORDER_STATUS_AWAITING_PAYMENT:
    case ORDER_STATUS_PAYMENT_FAILED:
        return 1;
    case ORDER_STATUS_CONFIRMED:
    case ORDER_STATUS_CANCELLING:
        return 2;
    case ORDER_STATUS_PROCESSING:
        return 3;
    case ORDER_STATUS_SHIPPED:
        return 4;
    case ORDER_STATUS_DELIVERED:
        return 5;
    default: /* final */
        return 6;
    }
}

/* Those that `until` may name. */
static bool rank_find(struct str name, int *ret) {
    static const char *const names[] = {"pending", "awaiting_payment", "confirmed", "processing",
                                        "shipped", "delivered",        "completed"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *ret = (int)i;
        if (str_eq(name, str_from(names[i])))
            return true;
    }
    return false;
}

static void add_event(struct stream *stream, const struct view_order *order) {
    buf_printf(&stream->out, "event: order\nid: %d\ndata: ", order->version);
    avro_to_json(&schema_view_order, order, &stream->out);
    buf_add_str(&stream->out, STR("\n\n"));
    stream->sent = order->version;
    metrics_add(stream->api->streams->events_metric, 1);
}

static bool look(struct watched *watched, const void *found) {
    struct stream *stream = (struct stream *)watched;
    const struct view_order_row *row = found;
    if (!row)
        return false;
    bool first = stream->absent_us != 0;
    stream->absent_us = 0;
    stream->refused = stream->shopper_id[0] && !str_eq(row->shopper_id, str_from(stream->shopper_id));
    if (stream->refused)
        return true;
    if (row->order.version > stream->sent)
        add_event(stream, &row->order);
    stream->ended = stream->ended || rank_of(row->order.status) >= stream->until;
    return first || stream->ended || stream->out.len > 0;
}

static bool tick(struct watched *watched, int64_t now_us) {
    struct stream *stream = (struct stream *)watched;
    if (stream->absent_us)
        return now_us >= stream->absent_us;
    if (now_us >= stream->end_us)
        return stream->ended = true;
    if (now_us < stream->beat_us)
        return false;
    buf_add_str(&stream->out, STR(":\n\n"));
    return true;
}

static void stop(struct watched *watched) {
    ((struct stream *)watched)->ended = true;
}

static const struct watched_ops stream_ops = {look, tick, stop};

/* ---- sending: on a thread of the server's ---- */

/* The server sends the headers, each event and the end by themselves; what is there at once goes in one packet. Only a
 * saving: a socket that knows no such thing sends them as they come. */
static void cork(struct stream *stream, bool corked) {
    int value = corked;
    if (stream->socket >= 0 && stream->corked != corked)
        (void)setsockopt(stream->socket, IPPROTO_TCP, TCP_CORK, &value, sizeof value);
    stream->corked = corked;
}

static ssize_t send_some(void *user, uint64_t position, char *to, size_t size) {
    (void)position;
    struct stream *stream = user;
    size_t left = stream->out.len - stream->out_at;
    if (left) {
        size_t len = left < size ? left : size;
        cork(stream, true);
        memcpy(to, stream->out.ptr + stream->out_at, len);
        stream->out_at += len;
        stream->beat_us = clock_monotonic_us() + stream->api->config.stream_beat_ms * 1000;
        connections_allow(stream->watched.connection, stream->api->config.stream_beat_ms + SEND_MS);
        return (ssize_t)len;
    }
    if (stream->ended || stream->watched.gone || stream->watched.unreadable)
        return MHD_CONTENT_READER_END_OF_STREAM;
    cork(stream, false);
    /* A stream waits for long, and its next event may be a small one. */
    buf_free(&stream->out);
    stream->out_at = 0;
    watch_wait(stream->api->watch, &stream->watched, false);
    return 0;
}

static void stream_free(void *user) {
    struct stream *stream = user;
    cork(stream, false); /* the end has been sent */
    watch_remove(stream->api->watch, &stream->watched);
    release(stream->api->streams, str_from(stream->shopper_id));
    buf_free(&stream->out);
    free(stream);
}

/* ---- beginning ---- */

static void abandon(struct request *request) {
    stream_free(request->context);
}

static void refuse(struct request *request, const struct stream *stream) {
    struct err err = {0};
    if (stream->refused) {
        answer_not_found(request);
    } else if (stream->watched.unreadable) {
        err_set(&err, ERR_CORRUPT, "the order's row cannot be read");
        answer_err(request, &err);
    } else if (stream->absent_us && stream->watched.looked && !stream->ended) {
        answer_not_found_yet(request);
    } else if (stream->absent_us) {
        err_set(&err, ERR_STORE_UNAVAILABLE, "%s", stream->ended ? "the server is stopping" : "no view answers");
        answer_err(request, &err);
    } else {
        answer_text(request, 204, NULL); /* which tells an EventSource not to come again */
    }
}

/* The first look at the order was taken, or there is none. */
static void begin(struct request *request) {
    struct stream *stream = request->context;
    bool nothing_more = stream->ended && !stream->out.len;
    struct MHD_Response *response = NULL;
    if (!stream->refused && !stream->absent_us && !stream->watched.unreadable && !nothing_more)
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, send_some, stream, stream_free);
    if (response) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        stream->socket = info ? info->connect_fd : -1;
        cork(stream, true);
        answer_stream(request, "text/event-stream", response);
        answer_header(request, "X-Accel-Buffering", STR("no")); /* for a proxy that would gather what it passes on */
        return;
    }
    refuse(request, stream);
    stream_free(stream);
}

static bool read_wishes(const struct request *request, int *ret_until, int32_t *ret_sent, struct err *err) {
    struct str until = request_query(request, "until");
    int64_t sent = 0;
    *ret_until = rank_of(ORDER_STATUS_COMPLETED);
    if (until.ptr && !rank_find(until, ret_until))
        return err_set(err, ERR_INVALID_BODY,
                       "The query parameter until must be pending, awaiting_payment, confirmed, processing, shipped, "
                       "delivered or completed.");
    if (request->last_event_id.len && (!str_to_i64(request->last_event_id, &sent) || sent < 0 || sent > INT32_MAX))
        return err_set(err, ERR_INVALID_BODY, "The header Last-Event-ID must be the id of an event of this stream.");
    *ret_sent = (int32_t)sent;
    return true;
}

static struct stream *stream_new(struct request *request, int until, int32_t sent) {
    struct stream *stream = mem_zalloc(sizeof *stream);
    int64_t now_us = clock_monotonic_us();
    memcpy(stream->order_id, request->params[0].ptr, request->params[0].len);
    if (request->principal.kind == PRINCIPAL_SHOPPER)
        memcpy(stream->shopper_id, request->principal.id.ptr, request->principal.id.len);
    stream->api = request->api;
    stream->sent = sent;
    stream->until = until;
    stream->socket = -1;
    stream->absent_us = now_us + request->api->config.stream_absent_ms * 1000;
    stream->end_us = now_us + LIFE_MS * INT64_C(1000);
    stream->watched = (struct watched){
        .ops = &stream_ops, .connection = request->connection, .view = &view_orders, .key = str_from(stream->order_id)};
    return stream;
}

void orders_stream(struct request *request) {
    struct err err = {0};
    struct api *api = request->api;
    bool shopper = request->principal.kind == PRINCIPAL_SHOPPER;
    int until;
    int32_t sent = 0;
    if (!write_owns(request))
        return;
    bool ok = read_wishes(request, &until, &sent, &err);
    if (ok && !api->watch)
        ok = err_set(&err, ERR_STORE_UNAVAILABLE, "no views are configured");
    if (!ok || !reserve(api, shopper ? request->principal.id : STR(""), &err)) {
        answer_err(request, &err);
        return;
    }
    struct stream *stream = stream_new(request, until, sent);
    request->context = stream;
    request->resumed = begin;
    request->abandoned = abandon;
    watch_add(api->watch, &stream->watched);
    watch_wait(api->watch, &stream->watched, true);
}
