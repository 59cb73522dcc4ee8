#include "cli/secrets.h"

#include "core/aws/secrets.h"
#include "core/base/config.h"

#include <pthread.h>

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static struct aws_secrets *secrets; /* kept until the process ends: whoever connects asks it */
/* Credentials are needed to read secrets, so they cannot be in one. */
static _Thread_local bool busy;

static bool open_once(struct err *err) {
    pthread_mutex_lock(&opening);
    bool ok = secrets || aws_secrets_open(&secrets, err);
    pthread_mutex_unlock(&opening);
    return ok;
}

static bool secret_get(void *user, struct str reference, bool again, struct buf *ret, struct err *err) {
    (void)user;
    if (busy)
        return err_set(err, ERR_CONFIG, "what is needed to read secrets cannot be a secret itself");
    busy = true;
    bool ok = open_once(err) && aws_secrets_get(secrets, reference, again, ret, err);
    busy = false;
    return ok;
}

bool secrets_init(struct err *err) {
    config_secrets_set(secret_get, NULL);
    return config_secrets_load(err);
}
