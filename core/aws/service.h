/* A service of AWS's that is called by signed HTTP requests with JSON bodies (DynamoDB, SES).
 *
 * AWS_ENDPOINT_URL_<SERVICE> (or AWS_ENDPOINT_URL) names another place that speaks the same. Credentials and region are
 * the chain's (core/aws/credentials.h). Any thread; a call blocks. */
#ifndef ORDERLOG_AWS_SERVICE_H
#define ORDERLOG_AWS_SERVICE_H

#include "core/aws/sigv4.h"
#include "core/base/err.h"
#include "core/http/http.h"

struct aws_service;

struct aws_service_name {
    const char *signing;  /* as signatures name it: dynamodb, ses */
    const char *host;     /* before .REGION.amazonaws.com: dynamodb, email */
    const char *endpoint; /* the setting: AWS_ENDPOINT_URL_DYNAMODB */
};

/* Asks nobody yet. `name` and what it points to must outlive it. ERR_CONFIG: no region, or an endpoint that is no
 * scheme://host[:port]. */
CHECK_RESULT bool aws_service_open(const struct aws_service_name *name, struct aws_service **ret, struct err *err);
void aws_service_close(struct aws_service *service); /* NULL is fine */

struct aws_service_request {
    const char *path;   /* "/" */
    const char *target; /* X-Amz-Target; NULL: none */
    const char *type;   /* Content-Type */
    struct str body;
    int64_t timeout_ms;
    bool keep; /* see struct http_request */
};

/* One POST; any answer is a success, whatever its status. ERR_CONFIG (no credentials), ERR_IO, ERR_TIMEOUT: there was
 * none. *ret is all-zero at first. */
CHECK_RESULT bool aws_service_call(struct aws_service *service, const struct aws_service_request *request,
                                   struct http_answer *ret, struct err *err);
/* The name of an exception in an answer that is a refusal: "ConditionalCheckFailedException", from its x-amzn-errortype
 * header or its body's __type, without namespaces. In *ret, which it replaces; "" when it says none. */
void aws_service_exception(const struct http_answer *answer, struct buf *ret);

#endif
