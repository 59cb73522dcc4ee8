/* A client without manners: it sends bytes as they are. */
#ifndef ORDERLOG_TESTS_HTTP_RAW_H
#define ORDERLOG_TESTS_HTTP_RAW_H

#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>

static inline int raw_connect(struct server *s) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)api_port(s->api))};
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* False: the server has closed the connection. */
static inline bool raw_send(int fd, struct str bytes) {
    while (bytes.len) {
        ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes = (struct str){bytes.ptr + sent, bytes.len - (size_t)sent};
    }
    return true;
}

/* All that comes until the server closes; it must do so, or there must be at least `until` in it. */
static inline struct str raw_receive(struct server *s, int fd, const char *until) {
    BUF_AUTO all = {0};
    char bytes[4096];
    for (;;) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("the server neither answers nor closes");
        if (got <= 0)
            break;
        buf_add(&all, bytes, (size_t)got);
        if (until && strstr(all.ptr, until))
            break;
    }
    return arena_dup(&s->arena, buf_str(&all));
}

/* One exchange on a connection of its own, up to its end. */
static inline struct str raw_ask(struct server *s, struct str bytes) {
    int fd = raw_connect(s);
    raw_send(fd, bytes);
    struct str answer = raw_receive(s, fd, NULL);
    close(fd);
    return answer;
}

/* The status of the first answer; 0: none came. */
static inline int raw_status(struct str answer) {
    return answer.len > 12 && memcmp(answer.ptr, "HTTP/1.", 7) == 0 ? atoi(answer.ptr + 9) : 0;
}

static inline size_t raw_count(struct str answer, const char *text) {
    size_t count = 0;
    for (const char *at = answer.ptr; (at = strstr(at, text)); at += strlen(text))
        count++;
    return count;
}

#endif
