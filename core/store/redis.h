/* Redis: a small blocking client. hiredis parses the replies; the socket, its deadlines and the scripts are ours.
 *
 *   redis://[[user]:password@]host[:6379][/db]      unix:///path/to/socket[?db=N][&password=…]
 *   rediss://…    the same over TLS; the server's certificate must be one of REDIS_CA_FILE's authorities (the system's)
 *
 * A `struct redis` belongs to one thread at a time. A call blocks for at most the command's time-out, and for the
 * connect's when it has to connect first; name resolution is the system's. Replies are borrowed until the next call on
 * the same client.
 *
 * Errors: ERR_STORE_UNAVAILABLE when Redis cannot be reached, did not answer in time, or cannot serve now (loading,
 * read-only, out of memory …): whether a write was applied is then not known, and the next call connects anew.
 * ERR_INTERNAL when it refused the command itself. */
#ifndef ORDERLOG_STORE_REDIS_H
#define ORDERLOG_STORE_REDIS_H

#include "core/base/err.h"

struct redis;
struct redisReply; /* hiredis's; read it with the functions below */

struct redis_options {
    int64_t connect_timeout_ms; /* 0: 1,000 */
    int64_t command_timeout_ms; /* 0: 2,000 */
};

/* Does not connect yet. ERR_CONFIG for a URL that is not one (the text is not repeated: it may hold a password). */
CHECK_RESULT bool redis_open(const char *url, const struct redis_options *options, struct redis **ret, struct err *err);
void redis_close(struct redis *redis); /* NULL is fine */

/* The arguments of one command, its name first; any bytes. */
struct redis_command {
    const struct str *args;
    size_t count;
};

CHECK_RESULT bool redis_call(struct redis *redis, const struct str *args, size_t count, const struct redisReply **ret,
                             struct err *err);
/* Several commands in one round trip: ret[i] answers commands[i]. One refused command fails the call (with its error),
 * though the others were run. `ret` may be NULL. */
CHECK_RESULT bool redis_pipeline(struct redis *redis, const struct redis_command *commands, size_t count,
                                 const struct redisReply **ret, struct err *err);

/* A Lua script by its source, a string literal. */
struct redis_script {
    const char *source;
    char sha[41]; /* filled by the first use */
};
/* `args` of each command are what follows the script: the number of keys, the keys, the arguments. Sent by EVALSHA;
 * what the server does not know (a restart, a failover) is sent again with its source. Other commands of the pipeline
 * may already have been run by then, so their order is kept only between commands that know their script. */
CHECK_RESULT bool redis_eval_pipeline(struct redis *redis, struct redis_script *script,
                                      const struct redis_command *commands, size_t count, const struct redisReply **ret,
                                      struct err *err);

/* ---- listening: a client that has subscribed to something is used for nothing else ---- */

/* Sends commands without waiting for an answer, connecting when needed: what is answered comes by redis_take. */
CHECK_RESULT bool redis_send(struct redis *redis, const struct redis_command *commands, size_t count, struct err *err);
/* The next reply, or what is told unasked. Does not wait: *ret is NULL when nothing has come. An error that Redis
 * answers is a failure, as for redis_call. After one the client is not connected any more. */
CHECK_RESULT bool redis_take(struct redis *redis, const struct redisReply **ret, struct err *err);
/* To wait on for reading, once redis_take had nothing; -1 while not connected. */
int redis_fd(const struct redis *redis);

/* Text of a string, status or bulk reply; ptr NULL for nil and for anything else. */
struct str redis_text(const struct redisReply *reply);
int64_t redis_integer(const struct redisReply *reply); /* 0 for anything else */
size_t redis_count(const struct redisReply *reply);    /* of an array; 0 for anything else */
const struct redisReply *redis_item(const struct redisReply *reply, size_t index);

#endif
