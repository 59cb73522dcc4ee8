/* Settings: flags win over the environment, which wins over the file named by ORDERLOG_CONFIG (lines KEY=value).
 * A setting KEY may also be given as KEY_FILE, a path whose content (less one trailing newline) is the value.
 *
 * A value "secretsmanager:NAME[#field]" stands for what a store of secrets holds under that name (config_secrets_set).
 * What config_get and its kind answer for it is as it was when it was first asked for. Secrets change while the program
 * runs: who opens connections passes on what config_get said, and asks config_fresh at each connect. */
#ifndef ORDERLOG_BASE_CONFIG_H
#define ORDERLOG_BASE_CONFIG_H

#include "core/base/err.h"

/* Flags: call before config_get for each `--flag value` that maps to a setting. Copies both. Main thread only. */
void config_override(const char *key, const char *value);
/* Loads ORDERLOG_CONFIG if set. Main thread, once. */
CHECK_RESULT bool config_load(struct err *err);
/* The value, or `fallback` (may be NULL). Owned by the configuration, lives until exit. Errors of a KEY_FILE that
 * cannot be read are reported by config_require only; config_get then answers the fallback. */
const char *config_get(const char *key, const char *fallback);
CHECK_RESULT bool config_require(const char *key, const char **ret, struct err *err);
/* NULL when it is not set, or empty; false when it is set to what cannot be read. */
CHECK_RESULT bool config_optional(const char *key, const char **ret, struct err *err);
/* An integer in [low, high]; the fallback when unset. */
CHECK_RESULT bool config_int(const char *key, int64_t fallback, int64_t low, int64_t high, int64_t *ret,
                             struct err *err);
/* A secret of at least `min_len` bytes from KEY, and KEY_PREVIOUS when set. */
struct secret_pair;
CHECK_RESULT bool config_secret(const char *key, size_t min_len, struct secret_pair *ret, struct err *err);

/* Gives a secret of the store, the newest that it can; `again`: what it gave last is refused. Any thread; may block. */
typedef bool config_secret_source(void *user, struct str reference, bool again, struct buf *ret, struct err *err);
/* Main thread, before config_get and before there are others. */
void config_secrets_set(config_secret_source *source, void *user);
/* Asks for all secrets that the environment and the file name, so that what is missing is said at the start: but for
 * those that a file names that a setting names (KEY_FILE). They are asked for with their setting. */
CHECK_RESULT bool config_secrets_load(struct err *err);
/* What `given`, a text that this configuration has answered, is now: of a secret the newest value, else itself. Any
 * thread; may block when it is a secret. */
CHECK_RESULT bool config_fresh(const char *given, bool again, struct buf *ret, struct err *err);

#endif
