/* Sends e-mail, by URL:
 *
 *   smtp://[USER:PASSWORD@]HOST[:PORT]       SMTP that must offer STARTTLS (port 587)
 *   smtps://[USER:PASSWORD@]HOST[:PORT]      SMTP in TLS from the start (465)
 *   smtp+plain://[USER:PASSWORD@]HOST[:PORT] SMTP without TLS, for a relay on this machine (25)
 *   ses://[CONFIGURATION-SET]                Amazon SES, by AWS's own settings (core/aws/ses.h)
 *
 * Certificates are checked. Any thread; a send blocks, for MAILER_TIMEOUT_MS at most. */
#ifndef ORDERLOG_CONSUMERS_MAILER_H
#define ORDERLOG_CONSUMERS_MAILER_H

#include "core/base/err.h"

struct mailer;

enum { MAILER_TIMEOUT_MS = 20000 };

enum mail_outcome {
    MAIL_SENT,
    MAIL_REFUSED, /* this message or its address, for good */
    MAIL_AGAIN,   /* it may go later */
    MAIL_UNKNOWN, /* handed over, and no answer came: it may have been taken */
};

struct mail {
    struct str to;
    struct str id;      /* of the message, the same whenever it is sent: makes its Message-ID */
    struct str subject; /* UTF-8, one line */
    struct str text;    /* UTF-8, as is the next */
    struct str html;
    int64_t date_us; /* of its Date */
};

/* `ca_file`: PEM, of who vouches for the mail server; NULL: the system's authorities. `from` is an address; `name`
 * stands before it. All are copied. ERR_CONFIG. */
CHECK_RESULT bool mailer_open(const char *url, const char *ca_file, struct str from, struct str name,
                              struct mailer **ret, struct err *err);
void mailer_close(struct mailer *mailer); /* NULL is fine */
/* *err says why, but for MAIL_SENT; it holds no address. */
enum mail_outcome mailer_send(struct mailer *mailer, const struct mail *mail, struct err *err);
/* Whether somebody could be written to at this address: something@something, without what could break a header or a
 * command. */
bool mail_address_valid(struct str address);
/* The message with its headers, as RFC 5322 and MIME have it, lines ending in CR LF: both bodies as alternatives. */
void mail_format(const struct mail *mail, struct str from, struct str name, struct buf *ret);

#endif
