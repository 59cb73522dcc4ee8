/* URLs of settings, as people, logs and traces may see them. */
#ifndef ORDERLOG_BASE_URL_H
#define ORDERLOG_BASE_URL_H

enum { URL_SHOWN_SIZE = 512 };

struct url_shown {
    char text[URL_SHOWN_SIZE]; /* zero-terminated; what is longer is cut */
};

/* Without what may be secret: "https://REDACTED@host/path" of "https://user:password@host/path?query". Takes any text;
 * of one that is no URL rather too much is left out. printf("%s", url_show(url).text) */
struct url_shown url_show(const char *url);

#endif
