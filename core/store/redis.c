#include "core/store/redis.h"

#include <hiredis/hiredis.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/config.h"
#include "core/store/redis_socket.h"

struct redis {
    char *url; /* as it was given: what it stands for now is asked at each connect */
    struct redis_address address;
    int64_t connect_timeout_ms;
    int64_t command_timeout_ms;
    struct redis_socket socket;
    redisReader *reader;
    bool refused; /* the last greeting, for its password */
    struct buf out;
    redisReply **replies; /* of the last call */
    size_t reply_count;
    size_t reply_cap;
};

/* Of a URL without them, REDIS_USER and REDIS_PASSWORD are taken. Settings that stand for secrets are asked for anew.
 */
static bool address_get(const char *url, bool again, struct redis_address *ret, struct err *err) {
    BUF_AUTO text = {0};
    const char *user, *password;
    struct redis_address address = {0};
    bool ok = config_optional("REDIS_USER", &user, err) && config_optional("REDIS_PASSWORD", &password, err) &&
              config_fresh(url ? url : "", again, &text, err) &&
              redis_address_parse(text.ptr ? text.ptr : "", &address, err);
    if (text.ptr)
        explicit_bzero(text.ptr, text.len);
    if (ok && !address.password && password && (ok = config_fresh(password, again, &text, err))) {
        address.password = mem_strdup(buf_str(&text));
        explicit_bzero(text.ptr, text.len);
        if (!address.user && user && (ok = config_fresh(user, again, &text, err)))
            address.user = mem_strdup(buf_str(&text));
    }
    if (!ok) {
        redis_address_free(&address);
        return false;
    }
    redis_address_free(ret);
    *ret = address;
    return true;
}

bool redis_open(const char *url, const struct redis_options *options, struct redis **ret, struct err *err) {
    struct redis_address address = {0};
    if (!address_get(url, false, &address, err))
        return false;
    struct redis *redis = mem_zalloc(sizeof(*redis));
    redis->url = mem_strdup(str_from(url));
    redis->address = address;
    redis->connect_timeout_ms = options && options->connect_timeout_ms ? options->connect_timeout_ms : 1000;
    redis->command_timeout_ms = options && options->command_timeout_ms ? options->command_timeout_ms : 2000;
    redis->socket.fd = -1;
    *ret = redis;
    return true;
}

static void replies_free(struct redis *redis) {
    for (size_t i = 0; i < redis->reply_count; i++)
        freeReplyObject(redis->replies[i]);
    redis->reply_count = 0;
}

/* Room for so many. */
static void replies_keep(struct redis *redis, size_t count) {
    if (redis->reply_cap >= count)
        return;
    redis->reply_cap = count;
    redis->replies = mem_realloc(redis->replies, count * sizeof(redis->replies[0]));
}

static void disconnect(struct redis *redis) {
    redis_socket_close(&redis->socket);
    if (redis->reader)
        redisReaderFree(redis->reader);
    redis->reader = NULL;
}

void redis_close(struct redis *redis) {
    if (!redis)
        return;
    disconnect(redis);
    replies_free(redis);
    free(redis->replies);
    buf_free(&redis->out);
    redis_address_free(&redis->address);
    explicit_bzero(redis->url, strlen(redis->url));
    free(redis->url);
    free(redis);
}

/* ---- one round trip ---- */

/* By hand: there are two of these per row. */
static void format_part(struct buf *out, char kind, size_t number) {
    char text[24], *at = text + sizeof(text);
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    *--at = kind;
    buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

static void format_arg(struct buf *out, struct str arg) {
    format_part(out, '$', arg.len);
    buf_add_str(out, arg);
    buf_add(out, "\r\n", 2);
}

static void format_command(struct buf *out, const struct str *head, size_t head_count,
                           const struct redis_command *command) {
    format_part(out, '*', head_count + command->count);
    for (size_t i = 0; i < head_count; i++)
        format_arg(out, head[i]);
    for (size_t i = 0; i < command->count; i++)
        format_arg(out, command->args[i]);
}

static const char not_protocol[] = "what Redis answered is not its protocol";

/* The next reply, reading from the socket as long as none is whole. */
static bool read_reply(struct redis *redis, int64_t until_us, redisReply **ret, struct err *err) {
    void *reply = NULL;
    if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK)
        return err_set(err, ERR_STORE_UNAVAILABLE, "%s", not_protocol);
    while (!reply) {
        char chunk[16384];
        size_t len;
        if (!redis_socket_read(&redis->socket, chunk, sizeof(chunk), until_us, &len, err))
            return false;
        if (redisReaderFeed(redis->reader, chunk, len) != REDIS_OK ||
            redisReaderGetReply(redis->reader, &reply) != REDIS_OK)
            return err_set(err, ERR_STORE_UNAVAILABLE, "%s", not_protocol);
    }
    *ret = reply;
    return true;
}

/* Sends what is in `out` and keeps `count` replies. A failure in between leaves the connection in an unknown state. */
static bool round_trip(struct redis *redis, size_t count, struct err *err) {
    int64_t until_us = redis_deadline_us(redis->command_timeout_ms);
    replies_free(redis);
    replies_keep(redis, count);
    if (redis_socket_write(&redis->socket, buf_str(&redis->out), until_us, err)) {
        while (redis->reply_count < count && read_reply(redis, until_us, &redis->replies[redis->reply_count], err))
            redis->reply_count++;
        if (redis->reply_count == count)
            return true;
    }
    disconnect(redis);
    return false;
}

/* Errors that pass with time, or with another server behind the same name. */
static bool is_away(struct str text) {
    static const char *const prefixes[] = {"LOADING",    "READONLY",    "OOM",      "MISCONF",    "BUSY ",
                                           "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "UNBLOCKED"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (str_starts_with(text, str_from(prefixes[i])))
            return true;
    return false;
}

static struct str error_text(const redisReply *reply) {
    return reply->type == REDIS_REPLY_ERROR ? (struct str){reply->str, (size_t)reply->len} : STR_NULL;
}

static bool check_replies(struct redis *redis, struct err *err) {
    for (size_t i = 0; i < redis->reply_count; i++) {
        struct str text = error_text(redis->replies[i]);
        if (!text.ptr)
            continue;
        err_set(err, is_away(text) ? ERR_STORE_UNAVAILABLE : ERR_INTERNAL, "Redis: %.*s", STR_ARG(text));
        /* After a failover the name may lead to the new primary. */
        if (is_away(text))
            disconnect(redis);
        return false;
    }
    return true;
}

/* ---- connecting ---- */

static bool greet(struct redis *redis, struct err *err) {
    const struct redis_address *address = &redis->address;
    struct str auth[3] = {STR("AUTH")};
    size_t auth_count = 1, commands = 0;
    char number[16];
    buf_reset(&redis->out);
    if (address->user)
        auth[auth_count++] = str_from(address->user);
    if (address->password) {
        auth[auth_count++] = str_from(address->password);
        format_command(&redis->out, NULL, 0, &(struct redis_command){auth, auth_count});
        commands++;
    }
    if (address->db) {
        snprintf(number, sizeof(number), "%d", address->db);
        const struct str select[] = {STR("SELECT"), str_from(number)};
        format_command(&redis->out, NULL, 0, &(struct redis_command){select, 2});
        commands++;
    }
    if (!commands)
        return true;
    if (!round_trip(redis, commands, err))
        return false;
    if (check_replies(redis, err))
        return true;
    redis->refused = true;
    disconnect(redis);
    return err_wrap(err, "greeting Redis");
}

static bool connect_now(struct redis *redis, struct err *err) {
    if (!redis_socket_connect(&redis->address, redis_deadline_us(redis->connect_timeout_ms), &redis->socket, err))
        return false;
    redis->reader = redisReaderCreate();
    if (!redis->reader)
        abort(); /* no memory */
    return greet(redis, err);
}

static char *password_copy(const struct redis *redis) {
    return redis->address.password ? mem_strdup(str_from(redis->address.password)) : NULL;
}

static void password_free(char **password) {
    if (*password)
        explicit_bzero(*password, strlen(*password));
    free(*password);
}

/* A password that is refused may have been changed since it was asked for. */
static bool connect_if_needed(struct redis *redis, struct err *err) {
    struct err ignored = {0};
    if (redis->socket.fd >= 0)
        return true;
    if (!address_get(redis->url, false, &redis->address, err))
        return false;
    __attribute__((cleanup(password_free))) char *before = password_copy(redis);
    redis->refused = false;
    if (connect_now(redis, err))
        return true;
    if (!redis->refused || !address_get(redis->url, true, &redis->address, &ignored) || !redis->address.password ||
        (before && strcmp(before, redis->address.password) == 0) || !connect_now(redis, &ignored))
        return false;
    if (err)
        *err = (struct err){0};
    return true;
}

/* ---- commands ---- */

static void give(const struct redis *redis, const struct redisReply **ret) {
    for (size_t i = 0; ret && i < redis->reply_count; i++)
        ret[i] = redis->replies[i];
}

static bool run(struct redis *redis, const struct str *head, size_t head_count, const struct redis_command *commands,
                size_t count, struct err *err) {
    if (!connect_if_needed(redis, err))
        return false;
    buf_reset(&redis->out);
    for (size_t i = 0; i < count; i++)
        format_command(&redis->out, head, head_count, &commands[i]);
    return round_trip(redis, count, err);
}

bool redis_pipeline(struct redis *redis, const struct redis_command *commands, size_t count,
                    const struct redisReply **ret, struct err *err) {
    if (!run(redis, NULL, 0, commands, count, err) || !check_replies(redis, err))
        return false;
    give(redis, ret);
    return true;
}

bool redis_call(struct redis *redis, const struct str *args, size_t count, const struct redisReply **ret,
                struct err *err) {
    return redis_pipeline(redis, &(struct redis_command){args, count}, 1, ret, err);
}

/* ---- listening ---- */

bool redis_send(struct redis *redis, const struct redis_command *commands, size_t count, struct err *err) {
    if (!connect_if_needed(redis, err))
        return false;
    buf_reset(&redis->out);
    for (size_t i = 0; i < count; i++)
        format_command(&redis->out, NULL, 0, &commands[i]);
    if (redis_socket_write(&redis->socket, buf_str(&redis->out), redis_deadline_us(redis->command_timeout_ms), err))
        return true;
    disconnect(redis);
    return false;
}

/* Feeds the reader with what has come. */
static bool take_bytes(struct redis *redis, bool *ret_any, struct err *err) {
    char chunk[16384];
    size_t len;
    if (!redis_socket_take(&redis->socket, chunk, sizeof(chunk), &len, err))
        return false;
    *ret_any = len > 0;
    if (len && redisReaderFeed(redis->reader, chunk, len) != REDIS_OK)
        return err_set(err, ERR_STORE_UNAVAILABLE, "%s", not_protocol);
    return true;
}

static bool next_reply(struct redis *redis, redisReply **ret, struct err *err) {
    void *reply = NULL;
    for (bool any = true; any && !reply;) {
        if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK)
            return err_set(err, ERR_STORE_UNAVAILABLE, "%s", not_protocol);
        if (!reply && !take_bytes(redis, &any, err))
            return false;
    }
    *ret = reply;
    return true;
}

bool redis_take(struct redis *redis, const struct redisReply **ret, struct err *err) {
    redisReply *reply = NULL;
    if (redis->socket.fd < 0)
        return err_set(err, ERR_STORE_UNAVAILABLE, "Redis: not connected");
    replies_free(redis);
    if (!next_reply(redis, &reply, err)) {
        disconnect(redis);
        return false;
    }
    *ret = reply;
    if (!reply)
        return true;
    replies_keep(redis, 1);
    redis->replies[redis->reply_count++] = reply;
    if (check_replies(redis, err))
        return true;
    disconnect(redis);
    return false;
}

int redis_fd(const struct redis *redis) {
    return redis->socket.fd;
}

/* ---- scripts ---- */

static void script_hash(struct redis_script *script) {
    unsigned char hash[SHA_DIGEST_LENGTH];
    if (script->sha[0])
        return;
    SHA1((const unsigned char *)script->source, strlen(script->source), hash);
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(&script->sha[2 * i], 3, "%02x", hash[i]);
}

static bool is_unknown_script(const redisReply *reply) {
    return str_starts_with(error_text(reply), STR("NOSCRIPT"));
}

/* Runs again, with the source, what the server did not know the script of; the replies take their places. */
static bool eval_unknown(struct redis *redis, const struct redis_script *script, const struct redis_command *commands,
                         size_t count, struct err *err) {
    struct str head[] = {STR("EVAL"), str_from(script->source)};
    struct redis_command *again = mem_alloc(count * sizeof(again[0]));
    size_t unknown = 0, done = 0;
    for (size_t i = 0; i < count; i++)
        if (is_unknown_script(redis->replies[i]))
            again[unknown++] = commands[i];
    redisReply **first = redis->replies;
    redis->replies = NULL;
    redis->reply_count = redis->reply_cap = 0;
    bool ok = !unknown || run(redis, head, 2, again, unknown, err);
    for (size_t i = 0; ok && i < count; i++)
        if (is_unknown_script(first[i])) {
            redisReply *answer = redis->replies[done];
            redis->replies[done++] = first[i];
            first[i] = answer;
        }
    replies_free(redis);
    free(redis->replies);
    free(again);
    redis->replies = first;
    redis->reply_count = redis->reply_cap = count;
    return ok;
}

bool redis_eval_pipeline(struct redis *redis, struct redis_script *script, const struct redis_command *commands,
                         size_t count, const struct redisReply **ret, struct err *err) {
    script_hash(script);
    struct str head[] = {STR("EVALSHA"), {script->sha, sizeof(script->sha) - 1}};
    if (!count)
        return true;
    if (!run(redis, head, 2, commands, count, err) || !eval_unknown(redis, script, commands, count, err) ||
        !check_replies(redis, err))
        return false;
    give(redis, ret);
    return true;
}

/* ---- replies ---- */

struct str redis_text(const struct redisReply *reply) {
    if (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS)
        return STR_NULL;
    return (struct str){reply->str, (size_t)reply->len};
}

int64_t redis_integer(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

size_t redis_count(const struct redisReply *reply) {
    return reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
}

const struct redisReply *redis_item(const struct redisReply *reply, size_t index) {
    return reply->element[index];
}
