/* Where Redis is, and a socket to it whose every wait has a deadline. For redis.c only. */
#ifndef ORDERLOG_STORE_REDIS_SOCKET_H
#define ORDERLOG_STORE_REDIS_SOCKET_H

#include "core/base/err.h"

struct ssl_st; /* OpenSSL's */

/* fd -1: not connected. */
struct redis_socket {
    int fd;
    struct ssl_st *tls; /* NULL: none */
};

struct redis_address { /* owns its texts */
    bool tls;          /* the server's certificate is checked, its name too */
    char *path;        /* of a Unix socket, or NULL */
    char *host;
    char *port;
    char *user; /* NULL: the default one */
    char *password;
    int db;
};

/* *ret must be zeroed; redis_address_free also after a failure. */
CHECK_RESULT bool redis_address_parse(const char *url, struct redis_address *ret, struct err *err);
void redis_address_free(struct redis_address *address);

int64_t redis_deadline_us(int64_t timeout_ms);
/* All fail with ERR_STORE_UNAVAILABLE, also when until_us has passed. */
CHECK_RESULT bool redis_socket_connect(const struct redis_address *address, int64_t until_us, struct redis_socket *ret,
                                       struct err *err);
CHECK_RESULT bool redis_socket_write(struct redis_socket *socket, struct str bytes, int64_t until_us, struct err *err);
/* At least one byte. */
CHECK_RESULT bool redis_socket_read(struct redis_socket *socket, char *to, size_t size, int64_t until_us,
                                    size_t *ret_len, struct err *err);
/* What has come, without waiting: *ret_len may be 0. */
CHECK_RESULT bool redis_socket_take(struct redis_socket *socket, char *to, size_t size, size_t *ret_len,
                                    struct err *err);
void redis_socket_close(struct redis_socket *socket); /* one that is closed is fine, and is what is left */

#endif
