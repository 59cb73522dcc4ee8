/* Answers: handlers set one on the request, the server sends it. All strings given are copied, but for answer_static.
 */
#ifndef ORDERLOG_API_ANSWER_H
#define ORDERLOG_API_ANSWER_H

#include "api/internal.h"

/* A JSON answer whose body the caller writes into the buffer returned. */
struct buf *answer_json(struct request *request, int status);
/* `bytes` must live as long as the program. */
void answer_static(struct request *request, int status, const char *content_type, const char *bytes, size_t len);
/* A body of another type (NULL: there is none), written into the buffer returned. */
struct buf *answer_text(struct request *request, int status, const char *content_type);
/* 200 with what the server takes from `response`, which is given away. */
void answer_stream(struct request *request, const char *content_type, struct MHD_Response *response);
/* 202 with the resource's name and id, and the command's id. */
void answer_accepted(struct request *request, const char *name, struct str value);

/* application/problem+json by the error's kind (RFC 9457). For 5xx the text is that of the kind: what went wrong inside
 * goes to the log, by server.c. */
void answer_err(struct request *request, const struct err *err);
void answer_not_found(struct request *request);
/* 404 for a thing of one's own: it may only not have been seen yet. */
void answer_not_found_yet(struct request *request);

void answer_header(struct request *request, const char *name, struct str value);

/* Hands the answer to the server. False: it could not (the connection is to be closed). */
bool answer_send(struct request *request);

#endif
