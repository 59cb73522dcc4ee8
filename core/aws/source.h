/* Inside of the credentials' chain: its settings and its sources. */
#ifndef ORDERLOG_AWS_SOURCE_H
#define ORDERLOG_AWS_SOURCE_H

#include "core/aws/credentials.h"
#include "core/http/http.h"

enum {
    SOURCE_CONNECT_MS = 1000,
    SOURCE_TIMEOUT_MS = 2000, /* of an answer nearby; STS's may take STS_TIMEOUT_MS */
    STS_TIMEOUT_MS = 5000,
    SOURCE_TRIES = 3,
};

/* What the environment (or flags, or the configuration's file) said when the chain was opened. NULL: not set. All
 * live until the process ends. */
struct source_settings {
    const char *access_key_id, *secret_access_key, *session_token;
    const char *token_file, *role_arn, *session_name, *sts_url;
    const char *profile, *credentials_file, *config_file, *home;
    const char *container_relative, *container_full, *container_token, *container_token_file;
    const char *metadata_url;
    bool metadata_disabled;
    char *region; /* owned */
};

void source_settings_read(struct source_settings *ret);

enum source_result {
    SOURCE_SERVED,
    SOURCE_NOT_SET_UP, /* err says what it lacks; the next one is tried */
    SOURCE_FAILED,
};

/* Each gives credentials or says why not. Blocks. `source` is left to the caller. */
typedef enum source_result source_fetch(const struct source_settings *settings, struct aws_credentials *ret,
                                        struct err *err);
source_fetch source_environment, source_web_identity, source_profile, source_container, source_instance;

/* Credentials by a role and a token file: an environment's, or a profile's. */
CHECK_RESULT bool source_assume_role(const struct source_settings *settings, const char *role_arn,
                                     const char *session_name, const char *token_file, struct aws_credentials *ret,
                                     struct err *err);
/* The JSON document that containers' and instances' endpoints answer. */
CHECK_RESULT bool source_read_json(struct str text, struct aws_credentials *ret, struct err *err);
/* Once more after a failure to connect, a time-out or a 5xx. The answer's status is in *ret. */
CHECK_RESULT bool source_call(const struct http_request *request, struct http_answer *ret, struct err *err);
/* A small text file without the white space at its end. */
CHECK_RESULT bool source_read_file(const char *path, struct buf *ret, struct err *err);
/* The region of the profile; NULL: none. Owned by the caller. */
char *source_profile_region(const struct source_settings *settings);

#endif
