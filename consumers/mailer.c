#include "consumers/mailer.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/aws/ses.h"

enum { CONNECT_MS = 5000 };

struct mailer {
    struct ses *ses; /* NULL: by SMTP */
    char *url;       /* smtp://HOST:PORT or smtps://…, without a password */
    char *user;      /* NULL: none */
    char *password;
    char *ca_file; /* NULL: the system's */
    bool starttls;
    char *from;
    char *name;
    char *ses_from; /* both together */
};

/* ---- opening ---- */

/* A part of a URL, percent-decoded; owned by the caller. NULL: it is not there. */
static char *url_part(CURLU *url, CURLUPart part) {
    char *found = NULL, *copy = NULL;
    if (curl_url_get(url, part, &found, part == CURLUPART_USER || part == CURLUPART_PASSWORD ? CURLU_URLDECODE : 0) ==
        CURLUE_OK)
        copy = mem_strdup(str_from(found));
    curl_free(found);
    return copy;
}

static bool parse_smtp(struct mailer *mailer, const char *scheme, struct str rest, const char *port, struct err *err) {
    BUF_AUTO text = {0};
    BUF_AUTO bare = {0};
    buf_printf(&text, "%s://%.*s", scheme, STR_ARG(rest));
    CURLU *url = curl_url();
    bool ok = curl_url_set(url, CURLUPART_URL, text.ptr, 0) == CURLUE_OK;
    char *host = url_part(url, CURLUPART_HOST), *given = url_part(url, CURLUPART_PORT);
    mailer->user = url_part(url, CURLUPART_USER);
    mailer->password = url_part(url, CURLUPART_PASSWORD);
    curl_url_cleanup(url);
    ok = ok && host && (!mailer->user || mailer->password);
    if (ok) {
        buf_printf(&bare, "%s://%s:%s", scheme, host, given ? given : port);
        mailer->url = mem_strdup(buf_str(&bare));
    }
    free(host);
    free(given);
    return ok || err_set(err, ERR_CONFIG, "ORDERLOG_MAIL must be %s://[USER:PASSWORD@]HOST[:PORT]", scheme);
}

static bool parse(struct mailer *mailer, struct str url, struct err *err) {
    static const struct {
        struct str prefix;
        const char *scheme, *port;
        bool starttls;
    } schemes[] = {{{"smtp://", 7}, "smtp", "587", true},
                   {{"smtps://", 8}, "smtps", "465", false},
                   {{"smtp+plain://", 13}, "smtp", "25", false}};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (str_starts_with(url, schemes[i].prefix)) {
            mailer->starttls = schemes[i].starttls;
            return parse_smtp(mailer, schemes[i].scheme,
                              (struct str){url.ptr + schemes[i].prefix.len, url.len - schemes[i].prefix.len},
                              schemes[i].port, err);
        }
    if (str_starts_with(url, STR("ses://")))
        return ses_open(url.len > 6 ? url.ptr + 6 : NULL, &mailer->ses, err);
    return err_set(err, ERR_CONFIG, "ORDERLOG_MAIL must begin with smtp://, smtps://, smtp+plain:// or ses://");
}

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *name_and_address(const char *name, const char *from) {
    BUF_AUTO text = {0};
    if (!*name)
        return mem_strdup(str_from(from));
    buf_add_char(&text, '"');
    for (; *name; name++)
        if (*name != '"' && *name != '\\')
            buf_add_char(&text, *name);
    buf_printf(&text, "\" <%s>", from);
    return mem_strdup(buf_str(&text));
}

bool mailer_open(const char *url, const char *ca_file, struct str from, struct str name, struct mailer **ret,
                 struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    if (!mail_address_valid(from))
        return err_set(err, ERR_CONFIG, "ORDERLOG_MAIL_FROM must be an e-mail address");
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < ' ')
            return err_set(err, ERR_CONFIG, "ORDERLOG_SHOP_NAME must be one line");
    if (ca_file && access(ca_file, R_OK) != 0)
        return err_set(err, ERR_CONFIG, "ORDERLOG_MAIL_CA: cannot read %s: %s", ca_file, strerrordesc_np(errno));
    struct mailer *mailer = mem_zalloc(sizeof *mailer);
    mailer->ca_file = ca_file ? mem_strdup(str_from(ca_file)) : NULL;
    mailer->from = mem_strdup(from);
    mailer->name = mem_strdup(name);
    mailer->ses_from = name_and_address(mailer->name, mailer->from);
    if (!parse(mailer, str_from(url), err)) {
        mailer_close(mailer);
        return false;
    }
    *ret = mailer;
    return true;
}

void mailer_close(struct mailer *mailer) {
    if (!mailer)
        return;
    ses_close(mailer->ses);
    if (mailer->password)
        explicit_bzero(mailer->password, strlen(mailer->password));
    free(mailer->password);
    free(mailer->user);
    free(mailer->url);
    free(mailer->ca_file);
    free(mailer->from);
    free(mailer->name);
    free(mailer->ses_from);
    free(mailer);
}

/* ---- SMTP ---- */

struct upload {
    struct str rest;
};

static size_t on_read(char *bytes, size_t size, size_t count, void *user) {
    struct upload *upload = user;
    size_t len = size * count < upload->rest.len ? size * count : upload->rest.len;
    memcpy(bytes, upload->rest.ptr, len);
    upload->rest = (struct str){upload->rest.ptr + len, upload->rest.len - len};
    return len;
}

static void set_server(CURL *handle, const struct mailer *mailer) {
    curl_easy_setopt(handle, CURLOPT_URL, mailer->url);
    curl_easy_setopt(handle, CURLOPT_USE_SSL, (long)(mailer->starttls ? CURLUSESSL_ALL : CURLUSESSL_NONE));
    if (mailer->ca_file)
        curl_easy_setopt(handle, CURLOPT_CAINFO, mailer->ca_file);
    if (mailer->user) {
        curl_easy_setopt(handle, CURLOPT_USERNAME, mailer->user);
        curl_easy_setopt(handle, CURLOPT_PASSWORD, mailer->password);
    }
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, (long)MAILER_TIMEOUT_MS);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
}

/* RFC 5321's replies that say that this mailbox, or this message, is not taken. The others of 5yz are ours to mend, as
 * are those to the greeting and to MAIL FROM: a sender that is not allowed. libcurl tells by its message what was
 * refused; without a message it was what came after the data. */
static bool is_for_good(long reply, const char *message, bool handed_over) {
    bool of_this_mail = strncmp(message, "RCPT failed", 11) == 0 || strncmp(message, "DATA failed", 11) == 0 ||
                        (!*message && handed_over);
    return of_this_mail && reply >= 550 && reply <= 554 && reply != 552; /* 552: a full mailbox, which may be emptied */
}

enum { REPLY_GO_ON = 354 }; /* the last before the data; the next one says whether it was taken */

static enum mail_outcome send_smtp(struct mailer *mailer, const struct mail *mail, struct err *err) {
    BUF_AUTO message = {0};
    BUF_AUTO from = {0};
    BUF_AUTO to = {0};
    char message_of_curl[CURL_ERROR_SIZE] = "";
    long reply = 0;
    CURL *handle = curl_easy_init();
    if (!handle) {
        err_set(err, ERR_IO, "libcurl has no handle");
        return MAIL_AGAIN;
    }
    mail_format(mail, str_from(mailer->from), str_from(mailer->name), &message);
    struct upload upload = {buf_str(&message)};
    buf_printf(&from, "<%s>", mailer->from);
    buf_printf(&to, "<%.*s>", STR_ARG(mail->to));
    struct curl_slist *recipients = curl_slist_append(NULL, to.ptr);
    set_server(handle, mailer);
    curl_easy_setopt(handle, CURLOPT_MAIL_FROM, from.ptr);
    curl_easy_setopt(handle, CURLOPT_MAIL_RCPT, recipients);
    curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, message_of_curl);
    curl_easy_setopt(handle, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(handle, CURLOPT_READDATA, &upload);
    CURLcode code = curl_easy_perform(handle);
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &reply);
    curl_slist_free_all(recipients);
    curl_easy_cleanup(handle);
    if (code == CURLE_OK)
        return MAIL_SENT;
    err_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO, "SMTP: %s (reply %ld)",
            curl_easy_strerror(code), reply);
    bool refused = code == CURLE_SEND_ERROR || code == CURLE_WEIRD_SERVER_REPLY;
    if (refused)
        return is_for_good(reply, message_of_curl, !upload.rest.len) ? MAIL_REFUSED : MAIL_AGAIN;
    return reply == REPLY_GO_ON && !upload.rest.len ? MAIL_UNKNOWN : MAIL_AGAIN;
}

enum mail_outcome mailer_send(struct mailer *mailer, const struct mail *mail, struct err *err) {
    static const enum mail_outcome outcomes[] = {
        [SES_SENT] = MAIL_SENT, [SES_REFUSED] = MAIL_REFUSED, [SES_AGAIN] = MAIL_AGAIN};
    if (!mailer->ses)
        return send_smtp(mailer, mail, err);
    return outcomes[ses_send(mailer->ses,
                             &(struct ses_mail){.from = str_from(mailer->ses_from),
                                                .to = mail->to,
                                                .subject = mail->subject,
                                                .text = mail->text,
                                                .html = mail->html},
                             err)];
}
