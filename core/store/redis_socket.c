#include "core/store/redis_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/clock.h"

/* ---- the URL ---- */

static bool malformed(struct err *err, const char *what) {
    return err_set(err, ERR_CONFIG,
                   "the Redis URL %s; it is redis://[[user]:password@]host[:port][/db] or unix:///path", what);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes percent-encoding; NULL when it is not that, or hides a zero byte. */
static char *url_decode(struct str text) {
    char *decoded = mem_alloc(text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        int high = 0, low = 0;
        char c = text.ptr[i];
        if (c == '%') {
            high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            low = high >= 0 ? hex_digit(text.ptr[i + 2]) : -1;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (high < 0 || low < 0 || !c) {
            free(decoded);
            return NULL;
        }
        decoded[len++] = c;
    }
    decoded[len] = '\0';
    return decoded;
}

static bool parse_db(struct str text, struct redis_address *ret, struct err *err) {
    int64_t db = 0;
    if (text.len && (!str_to_i64(text, &db) || db < 0 || db > 65535))
        return malformed(err, "has a database that is not a number");
    ret->db = (int)db;
    return true;
}

static bool parse_unix(struct str rest, struct redis_address *ret, struct err *err) {
    struct str query, path = str_cut(rest, '?', &query);
    ret->path = url_decode(path);
    if (!ret->path || ret->path[0] != '/' || strlen(ret->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return malformed(err, "has no absolute path, or too long a one");
    while (query.ptr) {
        struct str value, field = str_cut(query, '&', &query), name = str_cut(field, '=', &value);
        if (str_eq(name, STR("db")) && value.len) {
            if (!parse_db(value, ret, err))
                return false;
        } else if (str_eq(name, STR("password")) && value.len && !ret->password) {
            if (!(ret->password = url_decode(value)))
                return malformed(err, "has a password that is not percent-encoded");
        } else {
            return malformed(err, "has an unknown parameter");
        }
    }
    return true;
}

static bool parse_credentials(struct str text, struct redis_address *ret, struct err *err) {
    struct str password, user = str_cut(text, ':', &password);
    if (!password.len)
        return malformed(err, "has a user without a password");
    if (user.len && !(ret->user = url_decode(user)))
        return malformed(err, "has a user that is not percent-encoded");
    if (!(ret->password = url_decode(password)))
        return malformed(err, "has a password that is not percent-encoded");
    return true;
}

static bool parse_host(struct str text, struct redis_address *ret, struct err *err) {
    struct str host, port = STR_NULL;
    if (text.len && text.ptr[0] == '[') {
        struct str behind;
        host = str_cut((struct str){text.ptr + 1, text.len - 1}, ']', &behind);
        if (!behind.ptr || (behind.len && behind.ptr[0] != ':'))
            return malformed(err, "has a host that is not one");
        if (behind.len)
            port = (struct str){behind.ptr + 1, behind.len - 1};
    } else {
        host = str_cut(text, ':', &port);
    }
    int64_t number = 6379;
    if (!host.len || (port.ptr && (!str_to_i64(port, &number) || number < 1 || number > 65535)))
        return malformed(err, "has no host, or a port that is not one");
    ret->host = mem_strdup(host);
    ret->port = port.ptr ? mem_strdup(port) : mem_strdup(STR("6379"));
    return true;
}

bool redis_address_parse(const char *url, struct redis_address *ret, struct err *err) {
    static const struct str tcp = {"redis://", 8}, local = {"unix://", 7};
    struct str text = str_from(url ? url : ""), db;
    if (str_starts_with(text, local))
        return parse_unix((struct str){text.ptr + local.len, text.len - local.len}, ret, err);
    if (!str_starts_with(text, tcp))
        return malformed(err, "has an unknown scheme");
    text = str_cut((struct str){text.ptr + tcp.len, text.len - tcp.len}, '/', &db);
    const char *at = text.len ? memrchr(text.ptr, '@', text.len) : NULL;
    if (at) {
        struct str credentials = {text.ptr, (size_t)(at - text.ptr)};
        if (!parse_credentials(credentials, ret, err))
            return false;
        text = (struct str){at + 1, text.len - credentials.len - 1};
    }
    return parse_host(text, ret, err) && parse_db(db, ret, err);
}

void redis_address_free(struct redis_address *address) {
    free(address->path);
    free(address->host);
    free(address->port);
    free(address->user);
    if (address->password)
        explicit_bzero(address->password, strlen(address->password));
    free(address->password);
    *address = (struct redis_address){0};
}

/* ---- the socket ---- */

int64_t redis_deadline_us(int64_t timeout_ms) {
    return clock_monotonic_us() + timeout_ms * 1000;
}

static bool away(struct err *err, const char *doing, int error) {
    return err_set(err, ERR_STORE_UNAVAILABLE, "Redis: %s: %s", doing, strerror(error));
}

static bool wait_for(int fd, short events, int64_t until_us, const char *doing, struct err *err) {
    for (;;) {
        int64_t left_us = until_us - clock_monotonic_us();
        struct pollfd entry = {fd, events, 0};
        int ready = left_us > 0 ? poll(&entry, 1, (int)((left_us + 999) / 1000)) : 0;
        if (ready > 0)
            return true;
        if (ready == 0)
            return away(err, doing, ETIMEDOUT);
        if (errno != EINTR)
            return away(err, doing, errno);
    }
}

static bool connect_to(int family, const struct sockaddr *to, socklen_t len, int64_t until_us, int *ret_fd,
                       struct err *err) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return away(err, "socket", errno);
    int failed = connect(fd, to, len) < 0 ? errno : 0;
    if (failed == EINPROGRESS) {
        socklen_t size = sizeof(failed);
        if (!wait_for(fd, POLLOUT, until_us, "connect", err)) {
            close(fd);
            return false;
        }
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size);
    }
    if (failed) {
        close(fd);
        return away(err, "connect", failed);
    }
    int on = 1;
    if (family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *ret_fd = fd;
    return true;
}

static bool connect_local(const char *path, int64_t until_us, int *ret_fd, struct err *err) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strlen(path) + 1);
    return connect_to(AF_UNIX, (const struct sockaddr *)&to, sizeof(to), until_us, ret_fd, err);
}

bool redis_socket_connect(const struct redis_address *address, int64_t until_us, int *ret_fd, struct err *err) {
    if (address->path)
        return connect_local(address->path, until_us, ret_fd, err);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(address->host, address->port, &hints, &found);
    if (rc != 0)
        return err_set(err, ERR_STORE_UNAVAILABLE, "Redis: resolving its host: %s", gai_strerror(rc));
    bool ok = false;
    for (const struct addrinfo *to = found; to && !ok; to = to->ai_next)
        ok = connect_to(to->ai_family, to->ai_addr, to->ai_addrlen, until_us, ret_fd, err);
    freeaddrinfo(found);
    return ok;
}

bool redis_socket_write(int fd, struct str bytes, int64_t until_us, struct err *err) {
    while (bytes.len) {
        ssize_t written = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (written > 0) {
            bytes = (struct str){bytes.ptr + written, bytes.len - (size_t)written};
            continue;
        }
        if (errno == EAGAIN && !wait_for(fd, POLLOUT, until_us, "write", err))
            return false;
        if (errno != EAGAIN && errno != EINTR)
            return away(err, "write", errno);
    }
    return true;
}

bool redis_socket_read(int fd, char *to, size_t size, int64_t until_us, size_t *ret_len, struct err *err) {
    for (;;) {
        ssize_t len = recv(fd, to, size, 0);
        if (len > 0) {
            *ret_len = (size_t)len;
            return true;
        }
        if (len == 0)
            return away(err, "read", ECONNRESET);
        if (errno == EAGAIN && !wait_for(fd, POLLIN, until_us, "read", err))
            return false;
        if (errno != EAGAIN && errno != EINTR)
            return away(err, "read", errno);
    }
}

bool redis_socket_take(int fd, char *to, size_t size, size_t *ret_len, struct err *err) {
    for (;;) {
        ssize_t len = recv(fd, to, size, 0);
        if (len == 0)
            return away(err, "read", ECONNRESET);
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0 && errno != EAGAIN)
            return away(err, "read", errno);
        *ret_len = len > 0 ? (size_t)len : 0;
        return true;
    }
}

void redis_socket_close(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
