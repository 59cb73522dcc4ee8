#include "core/store/redis_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/config.h"

/* ---- the URL ---- */

static bool malformed(struct err *err, const char *what) {
    return err_set(err, ERR_CONFIG,
                   "the Redis URL %s; it is redis[s]://[[user]:password@]host[:port][/db] or unix:///path", what);
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
    static const struct str tcp = {"redis://", 8}, tls = {"rediss://", 9}, local = {"unix://", 7};
    struct str text = str_from(url ? url : ""), db;
    if (str_starts_with(text, local))
        return parse_unix((struct str){text.ptr + local.len, text.len - local.len}, ret, err);
    ret->tls = str_starts_with(text, tls);
    if (!ret->tls && !str_starts_with(text, tcp))
        return malformed(err, "has an unknown scheme");
    size_t scheme = ret->tls ? tls.len : tcp.len;
    text = str_cut((struct str){text.ptr + scheme, text.len - scheme}, '/', &db);
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

static bool connect_host(const struct redis_address *address, int64_t until_us, int *ret_fd, struct err *err) {
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

/* ---- TLS ---- */

static bool tls_fail(const SSL *tls, const char *doing, struct err *err) {
    long verdict = tls ? SSL_get_verify_result(tls) : X509_V_OK;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return err_set(err, ERR_STORE_UNAVAILABLE, "Redis: TLS, %s: %s", doing,
                   verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
                   : reason             ? reason
                                        : "the connection ended");
}

/* Made at the first connection and kept: REDIS_CA_FILE (PEM), or the system's authorities. */
static SSL_CTX *tls_context(struct err *err) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static SSL_CTX *made;
    pthread_mutex_lock(&lock);
    if (!made) {
        const char *file = config_get("REDIS_CA_FILE", "");
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        bool ok =
            context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) &&
            (*file ? SSL_CTX_load_verify_locations(context, file, NULL) : SSL_CTX_set_default_verify_paths(context));
        if (ok) {
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
            /* A write that had to wait is gone on with from where it was, not with the same call. */
            SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
            made = context;
        } else {
            tls_fail(NULL, *file ? "reading REDIS_CA_FILE" : "reading the system's authorities", err);
            SSL_CTX_free(context);
        }
    }
    pthread_mutex_unlock(&lock);
    return made;
}

/* After a call that gave `rc`: true when it may be done again, after waiting if `until_us` is given. */
static bool tls_wait(struct redis_socket *socket, int rc, const char *doing, int64_t until_us, struct err *err) {
    int why = SSL_get_error(socket->tls, rc);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        return tls_fail(socket->tls, doing, err);
    return wait_for(socket->fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until_us, doing, err);
}

/* A name goes into the handshake as well, for servers with several certificates; an address may not. */
static bool tls_expect(SSL *tls, const char *host) {
    unsigned char bytes[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1;
    return SSL_set1_host(tls, host) == 1 && SSL_set_tlsext_host_name(tls, host) == 1;
}

/* OpenSSL's own way to a socket lets SIGPIPE come when the server has gone. */

static int bio_write(BIO *bio, const char *bytes, size_t len, size_t *ret_len) {
    ssize_t sent = send((int)(intptr_t)BIO_get_data(bio), bytes, len, MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    *ret_len = sent > 0 ? (size_t)sent : 0;
    return sent > 0;
}

static int bio_read(BIO *bio, char *to, size_t size, size_t *ret_len) {
    ssize_t len = recv((int)(intptr_t)BIO_get_data(bio), to, size, 0);
    BIO_clear_retry_flags(bio);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    *ret_len = len > 0 ? (size_t)len : 0;
    return len > 0;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *bio_open(int fd) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static BIO_METHOD *method;
    pthread_mutex_lock(&lock);
    if (!method && (method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "redis"))) {
        BIO_meth_set_write_ex(method, bio_write);
        BIO_meth_set_read_ex(method, bio_read);
        BIO_meth_set_ctrl(method, bio_control);
    }
    BIO *bio = method ? BIO_new(method) : NULL;
    pthread_mutex_unlock(&lock);
    if (bio) {
        BIO_set_data(bio, (void *)(intptr_t)fd);
        BIO_set_init(bio, 1);
    }
    return bio;
}

static bool tls_begin(const struct redis_address *address, int64_t until_us, struct redis_socket *socket,
                      struct err *err) {
    SSL_CTX *context = tls_context(err);
    if (!context)
        return false;
    socket->tls = SSL_new(context);
    BIO *bio = bio_open(socket->fd);
    if (!socket->tls || !bio || !tls_expect(socket->tls, address->host)) {
        BIO_free(bio);
        return tls_fail(NULL, "beginning", err);
    }
    SSL_set_bio(socket->tls, bio, bio); /* which it owns now */
    for (int rc; (rc = SSL_connect(socket->tls)) != 1;)
        if (!tls_wait(socket, rc, "handshake", until_us, err))
            return false;
    return true;
}

static bool tls_write(struct redis_socket *socket, struct str bytes, int64_t until_us, struct err *err) {
    while (bytes.len) {
        size_t written = 0;
        ERR_clear_error();
        int rc = SSL_write_ex(socket->tls, bytes.ptr, bytes.len, &written);
        if (rc != 1 && !tls_wait(socket, rc, "write", until_us, err))
            return false;
        bytes = (struct str){bytes.ptr + written, bytes.len - written};
    }
    return true;
}

static bool tls_read(struct redis_socket *socket, char *to, size_t size, int64_t until_us, size_t *ret_len,
                     struct err *err) {
    for (;;) {
        ERR_clear_error();
        int rc = SSL_read_ex(socket->tls, to, size, ret_len);
        if (rc == 1)
            return true;
        if (!tls_wait(socket, rc, "read", until_us, err))
            return false;
    }
}

static bool tls_take(struct redis_socket *socket, char *to, size_t size, size_t *ret_len, struct err *err) {
    *ret_len = 0;
    ERR_clear_error();
    int rc = SSL_read_ex(socket->tls, to, size, ret_len);
    return rc == 1 || SSL_get_error(socket->tls, rc) == SSL_ERROR_WANT_READ || tls_fail(socket->tls, "read", err);
}

/* ---- either ---- */

bool redis_socket_connect(const struct redis_address *address, int64_t until_us, struct redis_socket *ret,
                          struct err *err) {
    ret->tls = NULL;
    if (address->path)
        return connect_local(address->path, until_us, &ret->fd, err);
    if (!connect_host(address, until_us, &ret->fd, err))
        return false;
    if (!address->tls || tls_begin(address, until_us, ret, err))
        return true;
    redis_socket_close(ret);
    return false;
}

bool redis_socket_write(struct redis_socket *socket, struct str bytes, int64_t until_us, struct err *err) {
    int fd = socket->fd;
    if (socket->tls)
        return tls_write(socket, bytes, until_us, err);
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

bool redis_socket_read(struct redis_socket *socket, char *to, size_t size, int64_t until_us, size_t *ret_len,
                       struct err *err) {
    int fd = socket->fd;
    if (socket->tls)
        return tls_read(socket, to, size, until_us, ret_len, err);
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

bool redis_socket_take(struct redis_socket *socket, char *to, size_t size, size_t *ret_len, struct err *err) {
    int fd = socket->fd;
    if (socket->tls)
        return tls_take(socket, to, size, ret_len, err);
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

void redis_socket_close(struct redis_socket *socket) {
    SSL_free(socket->tls);
    socket->tls = NULL;
    if (socket->fd >= 0)
        close(socket->fd);
    socket->fd = -1;
}
