/* Reading a request strictly: the line, the headers and the body. What is wrong ends up in request->err; nothing is
 * answered here. */
#ifndef ORDERLOG_API_REQUEST_H
#define ORDERLOG_API_REQUEST_H

#include "api/internal.h"

/* When the request line has come; `uri` may be NULL. Freed by request_free. */
struct request *request_new(struct api *api, struct MHD_Connection *connection, const char *uri);
void request_free(struct request *request);

/* When the headers have come: finds route and principal, and checks all that can be without the body. */
void request_begin(struct request *request, const char *method, const char *version);
/* A piece of the body; what is too much is counted and dropped. False: so much that nobody waits for its end. */
CHECK_RESULT bool request_body_add(struct request *request, const char *bytes, size_t len);
/* When the body has come: parses it. False: request->err says what is wrong. */
CHECK_RESULT bool request_body_end(struct request *request);

/* A query parameter of the route's, decoded; ptr NULL when it is not there. */
struct str request_query(const struct request *request, const char *name);
/* The `limit` of a page: 1 to 100, 20 when not given. */
CHECK_RESULT bool request_limit(const struct request *request, int32_t *ret, struct err *err);
/* "shopper", "operator:<name>": the `actor` of a record. */
struct str request_actor(struct request *request);
/* Sets command_id from who asks for what with which key (section 6), so that a retry is the same command wherever and
 * whenever it comes. `resource` is what the path does not name; ptr NULL: nothing. */
void request_name_command(struct request *request, struct str resource);

#endif
