/* A message as it goes over SMTP: headers (RFC 5322, RFC 2047) and both bodies in base64 (MIME), so that no line of
 * theirs can be too long, begin with a dot or hold anything but ASCII. */
#include "consumers/mailer.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <time.h>

#include "core/base/ids.h"

enum { LINE_BYTES = 57 /* 76 characters of base64 */, WORD_BYTES = 42 /* an encoded word of at most 75 characters */ };

bool mail_address_valid(struct str address) {
    const char *at = address.len ? memrchr(address.ptr, '@', address.len) : NULL;
    if (!at || at == address.ptr || at == address.ptr + address.len - 1 || address.len > 254)
        return false;
    for (size_t i = 0; i < address.len; i++) {
        unsigned char c = (unsigned char)address.ptr[i];
        if (c <= ' ' || c >= 0x7f || strchr("<>()[]\\,;:\"", c))
            return false;
    }
    return memchr(address.ptr, '@', address.len) == at;
}

static void add_base64(struct buf *ret, struct str bytes) {
    buf_reserve(ret, 4 * ((bytes.len + 2) / 3) + 1);
    ret->len +=
        (size_t)EVP_EncodeBlock((unsigned char *)ret->ptr + ret->len, (const unsigned char *)bytes.ptr, (int)bytes.len);
}

static bool is_plain(struct str text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || (unsigned char)text.ptr[i] >= 0x7f)
            return false;
    return true;
}

/* So much of the text that no character is torn. */
static size_t word_length(struct str text) {
    size_t len = text.len < WORD_BYTES ? text.len : WORD_BYTES;
    while (len < text.len && len > 1 && ((unsigned char)text.ptr[len] & 0xC0) == 0x80)
        len--;
    return len;
}

/* Unstructured text; what is not plain ASCII in encoded words. */
static void add_words(struct buf *ret, struct str text) {
    if (is_plain(text)) {
        buf_add_str(ret, text);
        return;
    }
    for (bool first = true; text.len; first = false) {
        size_t len = word_length(text);
        buf_printf(ret, "%s=?UTF-8?B?", first ? "" : "\r\n ");
        add_base64(ret, (struct str){text.ptr, len});
        buf_add_str(ret, STR("?="));
        text = (struct str){text.ptr + len, text.len - len};
    }
}

/* A display name in front of its address. */
static void add_mailbox(struct buf *ret, struct str name, struct str address) {
    if (name.len && is_plain(name)) {
        buf_add_char(ret, '"');
        for (size_t i = 0; i < name.len; i++) {
            if (name.ptr[i] == '"' || name.ptr[i] == '\\')
                buf_add_char(ret, '\\');
            buf_add_char(ret, name.ptr[i]);
        }
        buf_add_str(ret, STR("\" "));
    } else if (name.len) {
        add_words(ret, name);
        buf_add_char(ret, ' ');
    }
    buf_printf(ret, "<%.*s>", STR_ARG(address));
}

static void add_date(struct buf *ret, int64_t time_us) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t time_s = (time_t)(time_us / 1000000);
    struct tm t;
    gmtime_r(&time_s, &t);
    buf_printf(ret, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
               t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}

static void add_part(struct buf *ret, const char *boundary, const char *type, struct str body) {
    buf_printf(ret,
               "--%s\r\nContent-Type: %s; charset=utf-8\r\n"
               "Content-Transfer-Encoding: base64\r\n\r\n",
               boundary, type);
    for (size_t at = 0; at < body.len; at += LINE_BYTES) {
        size_t left = body.len - at;
        add_base64(ret, (struct str){body.ptr + at, left < LINE_BYTES ? left : LINE_BYTES});
        buf_add_str(ret, STR("\r\n"));
    }
}

void mail_format(const struct mail *mail, struct str from, struct str name, struct buf *ret) {
    struct id id = id_derive(&mail->id, 1);
    const char *at = memrchr(from.ptr, '@', from.len);
    struct str domain = at ? (struct str){at + 1, from.len - (size_t)(at + 1 - from.ptr)} : STR("localhost");
    add_date(ret, mail->date_us);
    buf_add_str(ret, STR("From: "));
    add_mailbox(ret, name, from);
    buf_add_str(ret, STR("\r\nTo: "));
    add_mailbox(ret, STR(""), mail->to);
    buf_add_str(ret, STR("\r\nSubject: "));
    add_words(ret, mail->subject);
    buf_printf(ret,
               "\r\nMessage-ID: <%s@%.*s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/alternative; boundary=\"=_%s\"\r\n\r\n",
               id.text, STR_ARG(domain), id.text);
    BUF_AUTO boundary = {0};
    buf_printf(&boundary, "=_%s", id.text);
    add_part(ret, boundary.ptr, "text/plain", mail->text);
    add_part(ret, boundary.ptr, "text/html", mail->html);
    buf_printf(ret, "--%s--\r\n", boundary.ptr);
}
