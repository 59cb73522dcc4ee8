/* Non-blocking sockets and one epoll, edge-triggered: a request costs one write, one read and a share of a wait. */
#include "cli/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/clock.h"

enum { READ_BYTES = 16384, EVENTS_MAX = 128, TRIES_MAX = 5, PROGRESS_US = 200000 };

struct conn {
    int fd; /* -1: not open */
    size_t job;
    bool busy;
    int tries; /* of the present request */
    struct buf out;
    size_t sent;
    struct buf in;
    struct bench_reading reading;
    int64_t due_us; /* while it pauses: when its request is to be sent */
};

struct bench_net {
    struct bench_address server;
    int epoll;
    size_t conn_count;
    struct conn *conns;
    size_t *idle; /* a stack: the one used last is the warmest */
    size_t idle_count;
    size_t *pausing; /* a ring in the order of due_us */
    size_t pausing_first, pausing_count;
    size_t reconnects;
};

/* One call of bench_net_run. */
struct run {
    struct bench_net *net;
    const struct bench_work *work;
    size_t started, done, at_once;
    int64_t began_us, next_start_us, answered_us, shown_us;
    uint64_t random;
};

/* ---- connections ---- */

static void conn_close(struct conn *conn) {
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}

/* Waits for the connection: on one machine that is no time. */
static bool conn_open(struct bench_net *net, size_t i, struct err *err) {
    struct conn *conn = &net->conns[i];
    int one = 1;
    conn->fd = socket(net->server.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return err_set(err, ERR_IO, "no socket for connection %zu: %s", i + 1, strerror(errno));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.u64 = i};
    if (connect(conn->fd, (struct sockaddr *)&net->server.address, net->server.len) != 0 ||
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
        fcntl(conn->fd, F_SETFL, O_NONBLOCK) != 0 || epoll_ctl(net->epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        conn_close(conn);
        return err_set(err, ERR_IO, "%s cannot be reached: %s", net->server.host, strerror(errno));
    }
    return true;
}

static bool conn_send(struct bench_net *net, size_t i, struct err *err);

/* The answer will not come: the same request goes out over a new connection. */
static bool conn_again(struct bench_net *net, size_t i, const char *why, struct err *err) {
    struct conn *conn = &net->conns[i];
    conn_close(conn);
    net->reconnects++;
    if (++conn->tries > TRIES_MAX)
        return err_set(err, ERR_IO, "%s: %s, %d times", net->server.host, why, TRIES_MAX);
    conn->sent = 0;
    return conn_send(net, i, err);
}

static bool conn_write(struct bench_net *net, size_t i, struct err *err) {
    struct conn *conn = &net->conns[i];
    while (conn->sent < conn->out.len) {
        ssize_t n = send(conn->fd, conn->out.ptr + conn->sent, conn->out.len - conn->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n < 0 && errno != EINTR)
            return conn_again(net, i, strerror(errno), err);
        conn->sent += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool conn_send(struct bench_net *net, size_t i, struct err *err) {
    struct conn *conn = &net->conns[i];
    buf_reset(&conn->in);
    conn->reading = (struct bench_reading){0};
    if (conn->fd < 0 && !conn_open(net, i, err))
        return false;
    return conn_write(net, i, err);
}

/* The soft limit that shells give is below what --concurrency may ask for. */
static bool allow_descriptors(size_t connections, struct err *err) {
    enum { OTHERS = 64 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= connections + OTHERS)
        return true;
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < connections + OTHERS || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return err_set(err, ERR_CONFIG, "%zu connections need more file descriptors than this process may have (%llu)",
                       connections, (unsigned long long)limit.rlim_max);
    return true;
}

bool bench_net_open(const char *url, size_t connections, struct bench_net **ret, struct err *err) {
    struct bench_net *net = mem_zalloc(sizeof *net);
    net->epoll = -1;
    if (!bench_address_find(url, &net->server, err) || !allow_descriptors(connections, err)) {
        bench_net_close(net);
        return false;
    }
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (net->epoll < 0) {
        bench_net_close(net);
        return err_set(err, ERR_IO, "no epoll: %s", strerror(errno));
    }
    net->conn_count = connections;
    net->conns = mem_zalloc(connections * sizeof *net->conns);
    net->idle = mem_zalloc(connections * sizeof *net->idle);
    net->pausing = mem_zalloc(connections * sizeof *net->pausing);
    for (size_t i = 0; i < connections; i++) {
        net->conns[i].fd = -1;
        net->idle[i] = connections - 1 - i;
    }
    net->idle_count = connections;
    *ret = net;
    return true;
}

void bench_net_close(struct bench_net *net) {
    if (!net)
        return;
    for (size_t i = 0; i < net->conn_count; i++) {
        conn_close(&net->conns[i]);
        buf_free(&net->conns[i].out);
        buf_free(&net->conns[i].in);
    }
    if (net->epoll >= 0)
        close(net->epoll);
    free(net->conns);
    free(net->idle);
    free(net->pausing);
    free(net);
}

const char *bench_net_host(const struct bench_net *net) {
    return net->server.host;
}

size_t bench_net_reconnects(const struct bench_net *net) {
    return net->reconnects;
}

/* ---- jobs ---- */

static bool job_start(struct run *run, int64_t start_us, struct err *err) {
    struct bench_net *net = run->net;
    size_t i = net->idle[--net->idle_count];
    struct conn *conn = &net->conns[i];
    conn->job = run->started++;
    conn->busy = true;
    conn->tries = 0;
    conn->sent = 0;
    buf_reset(&conn->out);
    run->work->begin(run->work->user, conn->job, start_us, &conn->out);
    return conn_send(net, i, err);
}

static bool job_goes_on(struct run *run, size_t i, const struct bench_answer *answer, struct err *err) {
    struct bench_net *net = run->net;
    struct conn *conn = &net->conns[i];
    conn->tries = 0;
    conn->sent = 0;
    buf_reset(&conn->out);
    switch (run->work->answered(run->work->user, conn->job, answer, &conn->out, err)) {
    case BENCH_SEND:
        return conn_send(net, i, err);
    case BENCH_PAUSE:
        conn->due_us = clock_monotonic_us() + run->work->pause_ms * 1000;
        net->pausing[(net->pausing_first + net->pausing_count++) % net->conn_count] = i;
        return true;
    case BENCH_DONE:
        conn->busy = false;
        net->idle[net->idle_count++] = i;
        run->done++;
        return true;
    case BENCH_FAIL:
        break;
    }
    return false;
}

/* What has come in. One read that fills less than it may has taken all there was. */
static bool conn_read(struct run *run, size_t i, struct err *err) {
    struct bench_net *net = run->net;
    struct conn *conn = &net->conns[i];
    for (;;) {
        buf_reserve(&conn->in, READ_BYTES);
        ssize_t n = recv(conn->fd, conn->in.ptr + conn->in.len, READ_BYTES, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0 && (!conn->busy || conn->due_us)) {
            conn_close(conn); /* idle for too long; the next request opens it again */
            return true;
        }
        if (n <= 0)
            return conn_again(net, i, n < 0 ? strerror(errno) : "the connection was closed", err);
        conn->in.len += (size_t)n;
        if (!conn->busy || conn->due_us)
            return err_set(err, ERR_IO, "%s sent something that was not asked for", net->server.host);
        enum bench_read read = bench_read(&conn->reading, &conn->in);
        if (read == BENCH_READ_BAD)
            return err_set(err, ERR_IO, "%s does not answer in HTTP/1.1: %.*s", net->server.host,
                           (int)(conn->in.len < 200 ? conn->in.len : 200), conn->in.ptr);
        if (read == BENCH_READ_WHOLE)
            break;
        if (n < READ_BYTES)
            return true;
    }
    run->answered_us = clock_monotonic_us();
    const struct bench_reading *reading = &conn->reading;
    struct bench_answer answer = {reading->status, {conn->in.ptr + reading->body, reading->end - reading->body}};
    if (reading->closes)
        conn_close(conn);
    return job_goes_on(run, i, &answer, err);
}

static bool conn_event(struct run *run, size_t i, uint32_t events, struct err *err) {
    struct conn *conn = &run->net->conns[i];
    if (conn->fd >= 0 && (events & EPOLLOUT) && conn->busy && !conn->due_us && conn->sent < conn->out.len &&
        !conn_write(run->net, i, err))
        return false;
    if (conn->fd >= 0 && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        return conn_read(run, i, err);
    return true;
}

static bool end_pauses(struct run *run, int64_t now_us, struct err *err) {
    struct bench_net *net = run->net;
    while (net->pausing_count) {
        size_t i = net->pausing[net->pausing_first];
        if (net->conns[i].due_us > now_us)
            break;
        net->pausing_first = (net->pausing_first + 1) % net->conn_count;
        net->pausing_count--;
        net->conns[i].due_us = 0;
        if (!conn_send(net, i, err))
            return false;
    }
    return true;
}

/* ---- when jobs start ---- */

static double random_unit(struct run *run) {
    uint64_t z = run->random += UINT64_C(0x9E3779B97F4A7C15); /* SplitMix64 */
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return ((double)((z ^ z >> 31) >> 11) + 0.5) * 0x1p-53;
}

static void schedule_next(struct run *run) {
    double gap_us = 1e6 / run->work->rate;
    if (run->work->poisson)
        run->next_start_us += (int64_t)(-log(random_unit(run)) * gap_us);
    else
        run->next_start_us = run->began_us + (int64_t)((double)run->started * gap_us);
}

/* Those that are due. Without a free connection a job starts later than it was meant to; its time runs all the same. */
static bool start_jobs(struct run *run, int64_t now_us, struct err *err) {
    const struct bench_work *work = run->work;
    while (run->started < work->count && run->started - run->done < run->at_once) {
        if (work->rate <= 0) {
            if (!job_start(run, clock_monotonic_us(), err))
                return false;
            continue;
        }
        if (run->next_start_us > now_us)
            break;
        if (!job_start(run, run->next_start_us, err))
            return false;
        schedule_next(run);
    }
    return true;
}

/* Until the next job is due, or the next pause ends; a second at most. */
static int64_t wait_us(const struct run *run, int64_t now_us) {
    const struct bench_net *net = run->net;
    int64_t until_us = now_us + 1000000;
    if (run->work->rate > 0 && run->started < run->work->count && run->started - run->done < run->at_once &&
        run->next_start_us < until_us)
        until_us = run->next_start_us;
    if (net->pausing_count && net->conns[net->pausing[net->pausing_first]].due_us < until_us)
        until_us = net->conns[net->pausing[net->pausing_first]].due_us;
    return until_us > now_us ? until_us - now_us : 0;
}

static void show_progress(struct run *run, int64_t now_us, bool last) {
    if (!run->work->what || (!last && now_us - run->shown_us < PROGRESS_US) || !isatty(STDERR_FILENO))
        return;
    run->shown_us = now_us;
    double seconds = (double)(now_us - run->began_us) / 1e6, rate = seconds > 0 ? (double)run->done / seconds : 0;
    fprintf(stderr, "\r%zu/%zu %s  %.0f/s  %.0f s left \033[K%s", run->done, run->work->count, run->work->what, rate,
            rate > 0 ? (double)(run->work->count - run->done) / rate : 0, last ? "\n" : "");
}

static bool run_some(struct run *run, struct err *err) {
    struct epoll_event events[EVENTS_MAX];
    int64_t now_us = clock_monotonic_us();
    if (!start_jobs(run, now_us, err) || !end_pauses(run, now_us, err))
        return false;
    int64_t us = wait_us(run, now_us);
    struct timespec timeout = {us / 1000000, us % 1000000 * 1000};
    int count = epoll_pwait2(run->net->epoll, events, EVENTS_MAX, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        return err_set(err, ERR_IO, "epoll: %s", strerror(errno));
    for (int i = 0; i < count; i++)
        if (!conn_event(run, events[i].data.u64, events[i].events, err))
            return false;
    now_us = clock_monotonic_us();
    if (run->started == run->done)
        run->answered_us = now_us; /* nothing is on its way */
    if (now_us - run->answered_us > BENCH_STALL_S * INT64_C(1000000))
        return err_set(err, ERR_TIMEOUT, "nothing was answered for %d s, with %zu %s on their way", BENCH_STALL_S,
                       run->started - run->done, run->work->what);
    show_progress(run, now_us, false);
    return true;
}

bool bench_net_run(struct bench_net *net, const struct bench_work *work, size_t *ret_done, struct err *err) {
    int64_t now_us = clock_monotonic_us();
    size_t at_once = work->concurrency < net->conn_count ? work->concurrency : net->conn_count;
    struct run run = {.net = net,
                      .work = work,
                      .at_once = at_once,
                      .began_us = now_us,
                      .next_start_us = now_us,
                      .answered_us = now_us,
                      .random = (uint64_t)now_us};
    bool ok = true;
    while (ok && run.done < work->count)
        ok = run_some(&run, err);
    show_progress(&run, clock_monotonic_us(), true);
    *ret_done = run.done;
    return ok;
}
