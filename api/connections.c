#include "api/connections.h"

#include "core/base/clock.h"
#include "core/base/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

struct connection {
    struct connection *prev, *next;
    int fd;
    atomic_int_least64_t deadline_us;
};

enum { CROWDED_MS = 1000 };

struct connections {
    pthread_mutex_t lock;
    atomic_int count;
    struct connection *first;
    struct metric *open_metric;
    struct metric *cut_metric;
};

struct connections *connections_open(void) {
    struct connections *connections = mem_zalloc(sizeof *connections);
    pthread_mutex_init(&connections->lock, NULL);
    connections->open_metric = metrics_gauge("orderlog_http_connections", "Open connections.", "");
    connections->cut_metric =
        metrics_counter("orderlog_http_connections_cut_total", "Connections cut off because they took too long.", "");
    return connections;
}

void connections_close(struct connections *connections) {
    if (!connections)
        return;
    pthread_mutex_destroy(&connections->lock);
    free(connections);
}

static void add(struct api *api, struct MHD_Connection *handle, void **context) {
    struct connections *connections = api->connections;
    struct connection *connection = mem_zalloc(sizeof *connection);
    connection->fd = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    atomic_init(&connection->deadline_us, clock_monotonic_us() + api->config.receive_timeout_ms * 1000);
    *context = connection;
    pthread_mutex_lock(&connections->lock);
    connection->next = connections->first;
    if (connection->next)
        connection->next->prev = connection;
    connections->first = connection;
    pthread_mutex_unlock(&connections->lock);
    atomic_fetch_add(&connections->count, 1);
    metrics_add(connections->open_metric, 1);
}

/* The server closes the socket after this, so that the lock keeps the sweep off a number that is somebody else's. */
static void drop(struct api *api, void **context) {
    struct connections *connections = api->connections;
    struct connection *connection = *context;
    pthread_mutex_lock(&connections->lock);
    *(connection->prev ? &connection->prev->next : &connections->first) = connection->next;
    if (connection->next)
        connection->next->prev = connection->prev;
    pthread_mutex_unlock(&connections->lock);
    atomic_fetch_sub(&connections->count, 1);
    metrics_add(connections->open_metric, -1);
    *context = NULL;
    free(connection);
}

void connections_notify(void *api, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code) {
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        add(api, connection, context);
    else if (*context)
        drop(api, context);
}

void connections_allow(struct MHD_Connection *handle, int64_t timeout_ms) {
    struct connection *connection = MHD_get_connection_info(handle, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    atomic_store_explicit(&connection->deadline_us, clock_monotonic_us() + timeout_ms * 1000, memory_order_relaxed);
}

bool connections_crowded(const struct api *api) {
    return atomic_load_explicit(&api->connections->count, memory_order_relaxed) > api->config.connections_max / 4 * 3;
}

void connections_allow_idle(struct api *api, struct MHD_Connection *connection) {
    connections_allow(connection, connections_crowded(api) ? CROWDED_MS : api->config.idle_timeout_ms);
}

void connections_sweep(struct connections *connections) {
    int64_t now_us = clock_monotonic_us();
    pthread_mutex_lock(&connections->lock);
    for (struct connection *connection = connections->first; connection; connection = connection->next) {
        if (atomic_load_explicit(&connection->deadline_us, memory_order_relaxed) > now_us)
            continue;
        atomic_store_explicit(&connection->deadline_us, INT64_MAX, memory_order_relaxed);
        shutdown(connection->fd, SHUT_RDWR);
        metrics_add(connections->cut_metric, 1);
    }
    pthread_mutex_unlock(&connections->lock);
}
