/* Amazon SES (API v2): hands over one e-mail. Any thread; blocks. */
#ifndef ORDERLOG_AWS_SES_H
#define ORDERLOG_AWS_SES_H

#include "core/base/err.h"

struct ses;

enum ses_outcome {
    SES_SENT,
    SES_REFUSED, /* this message, for good: another try would be refused, too */
    SES_AGAIN,   /* it may go later: no answer, throttled, or something of ours that must be mended first */
};

struct ses_mail {
    struct str from;
    struct str to;
    struct str subject; /* UTF-8, as are the next two */
    struct str text;
    struct str html;
};

/* `configuration_set` NULL: none; copied. ERR_CONFIG. */
CHECK_RESULT bool ses_open(const char *configuration_set, struct ses **ret, struct err *err);
void ses_close(struct ses *ses); /* NULL is fine */
/* *err says why, but for SES_SENT; it holds no address. */
enum ses_outcome ses_send(struct ses *ses, const struct ses_mail *mail, struct err *err);

#endif
